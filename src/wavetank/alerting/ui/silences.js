// Silences: the list, one of them, and the form that makes or changes one.

import { api, counted, h, iso, lasting, matcherText, parseMatchers, problem, seconds, when } from "./dom.js";

const STATES = ["active", "pending", "expired"];
const CREATOR = "alertmanager.creator";

export function silencesPage(main, query, go) {
  const filter = query.get("filter") ?? "";
  const state = query.get("state") ?? "active";
  const input = h("input", { type: "text", class: "filter", value: filter, placeholder: 'alertname="Down"', "aria-label": "Matchers" });
  const open = (changes) => go(`/silences?${new URLSearchParams({ state, filter: input.value.trim(), ...changes })}`);
  const list = h("div", {}, h("p", { class: "dim" }, "Loading …"));
  const tabs = h("div", { class: "tabs" });
  main.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, "Silences"), tabs, h("a", { class: "plain strong end", href: "#/silences/new" }, "New silence")),
    h("form", { class: "bar", onsubmit: (event) => (event.preventDefault(), open({})) }, input, h("button", { class: "plain strong" }, "Filter")),
    list,
  );
  const refresh = async () => {
    try {
      const wanted = new URLSearchParams();
      for (const matcher of parseMatchers(filter)) wanted.append("filter", matcherText(matcher));
      const all = await api(`silences?${wanted}`);
      tabs.replaceChildren(...STATES.map((name) => h("button", {
        type: "button", class: "plain", "aria-pressed": String(name === state), onclick: () => open({ state: name }),
      }, `${name} ${all.filter((silence) => silence.status.state === name).length}`)));
      const shown = all.filter((silence) => silence.status.state === state);
      list.replaceChildren(shown.length
        ? h("ul", { class: "rows silences" }, shown.map((silence) => row(silence, refresh)))
        : h("p", { class: "note" }, `No ${state} silences.`));
    } catch (error) {
      list.replaceChildren(problem(error));
    }
  };
  return refresh;
}

const matchers = (silence) => silence.matchers.map((matcher) => h("span", { class: "label" }, matcherText(matcher)));

function expireButton(silence, done) {
  const button = h("button", {
    type: "button", class: "plain danger",
    onclick: async () => {
      if (button.dataset.sure === undefined) { // the second click means it
        button.dataset.sure = "";
        button.textContent = "Really?";
        return;
      }
      try {
        await api(`silence/${silence.id}`, { method: "DELETE" });
        await done();
      } catch (error) {
        button.closest("li, main").append(problem(error));
      }
    },
  }, "Expire");
  return button;
}

function row(silence, refresh) {
  const { state } = silence.status;
  const left = state === "active" ? `${lasting((Date.parse(silence.endsAt) - Date.now()) / 1000)} left` : "";
  return h("li", {},
    h("span", { class: `state ${state}` }, state),
    h("span", { class: "dim small" }, state === "pending" ? "from " : "until ", when(state === "pending" ? silence.startsAt : silence.endsAt), h("br"), left),
    h("div", {}, matchers(silence), h("p", { class: "said" }, silence.comment, h("b", {}, ` ${silence.createdBy}`))),
    h("span", { class: "acts" },
      h("a", { class: "plain", href: `#/silences/${silence.id}` }, "View"),
      h("a", { class: "plain", href: `#/silences/${silence.id}/edit` }, state === "expired" ? "Again" : "Edit"),
      state !== "expired" && expireButton(silence, refresh)));
}

export function silencePage(main, id) {
  main.replaceChildren(h("p", { class: "dim" }, "Loading …"));
  const refresh = async () => {
    try {
      const silence = await api(`silence/${encodeURIComponent(id)}`);
      const { state } = silence.status;
      const wanted = new URLSearchParams(silence.matchers.map((matcher) => ["filter", matcherText(matcher)]));
      const alerts = await api(`alerts?${wanted}`);
      const pairs = { State: state, Starts: when(silence.startsAt), Ends: when(silence.endsAt), Updated: when(silence.updatedAt),
        "Created by": silence.createdBy, Comment: silence.comment, Matchers: matchers(silence), "Alerts now": `${alerts.length}` };
      main.replaceChildren(
        h("div", { class: "head" }, h("h1", {}, "Silence"), h("code", { class: "dim" }, silence.id),
          h("a", { class: "plain end", href: `#/silences/${silence.id}/edit` }, state === "expired" ? "Make again" : "Edit"),
          state !== "expired" && expireButton(silence, refresh)),
        h("dl", {}, Object.entries(pairs).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
        h("ul", { class: "rows" }, alerts.slice(0, 100).map((alert) => h("li", {},
          h("span", { class: `state ${alert.status.state}` }, alert.status.state), h("span", { class: "dim small" }, when(alert.startsAt)),
          h("div", {}, Object.keys(alert.labels).sort().map((name) => h("span", { class: "label" }, `${name}=${alert.labels[name]}`)))))));
    } catch (error) {
      main.replaceChildren(problem(error));
    }
  };
  return refresh;
}

/** The form; with `id` for the silence that is changed. */
export async function silenceForm(main, query, go, id) {
  const now = new Date();
  const start = { matchers: query.get("filter") ?? "", from: now, until: new Date(now.getTime() + 7200e3), comment: query.get("comment") ?? "" };
  let known;
  if (id) {
    try {
      known = await api(`silence/${encodeURIComponent(id)}`);
    } catch (error) {
      main.replaceChildren(problem(error));
      return;
    }
    const over = known.status.state === "expired";
    const lasts = Date.parse(known.endsAt) - Date.parse(known.startsAt);
    Object.assign(start, { matchers: known.matchers.map(matcherText).join("\n"), comment: known.comment });
    start.from = over ? now : new Date(known.startsAt);
    start.until = over ? new Date(now.getTime() + lasts) : new Date(known.endsAt);
  }
  const lines = parseLines(start.matchers);
  const fields = {
    matchers: h("textarea", { id: "matchers", rows: String(Math.max(3, lines.length + 1)), spellcheck: "false", value: lines.join("\n") }),
    from: h("input", { type: "text", "aria-label": "Starts", value: iso(start.from) }),
    lasts: h("input", { type: "text", id: "lasts", "aria-label": "Duration", value: lasting((start.until - start.from) / 1000) }),
    until: h("input", { type: "text", "aria-label": "Ends", value: iso(start.until) }),
    creator: h("input", { type: "text", id: "creator", value: known?.createdBy ?? localStorage.getItem(CREATOR) ?? "" }),
    comment: h("textarea", { id: "comment", rows: "2", value: start.comment }),
  };
  fields.lasts.addEventListener("input", () => {
    const span = seconds(fields.lasts.value);
    if (span > 0) fields.until.value = iso(new Date(Date.parse(fields.from.value) + span * 1000));
  });
  for (const field of [fields.from, fields.until]) {
    field.addEventListener("input", () => {
      const span = Date.parse(fields.until.value) - Date.parse(fields.from.value);
      if (span > 0) fields.lasts.value = lasting(span / 1000);
    });
  }
  const said = h("div", { role: "status" });
  const read = () => ({
    ...(known ? { id: known.id } : {}),
    matchers: parseMatchers(fields.matchers.value),
    startsAt: isoTime(fields.from.value, "start"),
    endsAt: isoTime(fields.until.value, "end"),
    createdBy: fields.creator.value.trim(),
    comment: fields.comment.value.trim(),
  });
  const preview = async () => {
    try {
      const wanted = new URLSearchParams(parseMatchers(fields.matchers.value).map((matcher) => ["filter", matcherText(matcher)]));
      const alerts = await api(`alerts?${wanted}`);
      said.replaceChildren(h("p", { class: "note" }, `${counted(alerts.length, "alert")} ${alerts.length === 1 ? "matches" : "match"} now.`),
        h("ul", { class: "rows" }, alerts.slice(0, 20).map((alert) => h("li", {}, h("span", { class: `state ${alert.status.state}` }, alert.status.state),
          h("span", { class: "dim small" }, when(alert.startsAt)),
          h("div", {}, Object.keys(alert.labels).sort().map((name) => h("span", { class: "label" }, `${name}=${alert.labels[name]}`)))))));
    } catch (error) {
      said.replaceChildren(problem(error));
    }
  };
  const create = async (event) => {
    event.preventDefault();
    try {
      const silence = read();
      if (!silence.createdBy) throw new Error("Say who creates it.");
      if (!silence.comment) throw new Error("Say why, in a comment.");
      localStorage.setItem(CREATOR, silence.createdBy);
      const made = await api("silences", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(silence) });
      go(`/silences/${made.silenceID}`);
    } catch (error) {
      said.replaceChildren(problem(error));
    }
  };
  main.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, known ? "Change a silence" : "New silence")),
    h("form", { class: "silence", onsubmit: create },
      h("label", { for: "matchers" }, "Matchers", h("br"), h("span", { class: "small" }, "one a line")), fields.matchers,
      h("label", { for: "lasts" }, "Start, for, end"), h("div", { class: "times" }, fields.from, fields.lasts, fields.until),
      h("label", { for: "creator" }, "Created by"), fields.creator,
      h("label", { for: "comment" }, "Comment"), fields.comment,
      h("span", {}), h("div", { class: "bar" },
        h("button", { class: "plain strong" }, known ? "Save" : "Create"), h("button", { type: "button", class: "plain", onclick: preview }, "Preview alerts"))),
    said,
  );
}

function parseLines(text) {
  try {
    return parseMatchers(text).map(matcherText);
  } catch {
    return [text];
  }
}

function isoTime(text, which) {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new Error(`The ${which} is no time: ${text}`);
  return new Date(at).toISOString();
}
