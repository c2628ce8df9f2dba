// Groups of alerts, filtered as the address says: #/alerts?filter={a="b"}&receiver=team&silenced=true&...

import { api, counted, equals, h, lasting, matcherText, parseMatchers, problem, when } from "./dom.js";

const SHOWN = { active: "Active", silenced: "Silenced", inhibited: "Inhibited", muted: "Muted" };
const DEFAULTS = { active: "true", silenced: "false", inhibited: "false", muted: "false" };
const closed = new Set();

export function alertsPage(main, query, go) {
  const state = { filter: query.get("filter") ?? "", receiver: query.get("receiver") ?? "", ...DEFAULTS };
  for (const name of Object.keys(SHOWN)) if (query.has(name)) state[name] = query.get(name);
  const change = (changes) => {
    const next = { ...state, ...changes };
    const kept = Object.entries(next).filter(([name, value]) => value && value !== DEFAULTS[name]);
    go(`/alerts?${new URLSearchParams(kept)}`);
  };
  const list = h("div", {}, h("p", { class: "dim" }, "Loading …"));
  const silenceAll = h("a", { class: "plain end", href: `#/silences/new?filter=${encodeURIComponent(state.filter)}` }, "Silence these");
  main.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, "Alerts"), silenceAll),
    controls(state, change),
    list,
  );
  silenceAll.hidden = !state.filter;
  return async () => {
    try {
      const groups = await api(`alerts/groups?${parameters(state)}`);
      list.replaceChildren(...show(groups, state, change));
    } catch (error) {
      list.replaceChildren(problem(error));
    }
  };
}

function parameters(state) {
  const wanted = new URLSearchParams();
  for (const matcher of parseMatchers(state.filter)) wanted.append("filter", matcherText(matcher));
  if (state.receiver) wanted.set("receiver", state.receiver);
  for (const name of Object.keys(SHOWN)) wanted.set(name, state[name]);
  return wanted;
}

function controls(state, change) {
  const input = h("input", {
    type: "text", class: "filter", value: state.filter, placeholder: 'severity="page", instance=~"db.*"', "aria-label": "Matchers",
  });
  const receivers = h("select", { "aria-label": "Receiver", onchange: (event) => change({ receiver: event.target.value }) },
    h("option", { value: "" }, "All receivers"));
  const listed = api("receivers").then((found) => {
    for (const { name } of found) {
      const pattern = name.replace(/[\\.+*?()|[\]{}^$]/g, "\\$&");
      receivers.append(h("option", { value: pattern, selected: state.receiver === pattern }, name));
    }
    if (state.receiver && receivers.value !== state.receiver) {
      receivers.append(h("option", { value: state.receiver, selected: true }, state.receiver));
    }
  });
  listed.catch(() => {}); // the list below says what is wrong
  const submit = (event) => (event.preventDefault(), change({ filter: input.value.trim() }));
  return h("form", { class: "bar", onsubmit: submit }, input, h("button", { class: "plain strong" }, "Filter"),
    state.filter && h("button", { type: "button", class: "plain", onclick: () => change({ filter: "" }) }, "Clear"), receivers,
    Object.entries(SHOWN).map(([name, title]) => h("label", {},
      h("input", { type: "checkbox", checked: state[name] === "true", onchange: (event) => change({ [name]: String(event.target.checked) }) }),
      ` ${title}`)));
}

function show(groups, state, change) {
  if (!groups.length) {
    const hidden = Object.keys(SHOWN).some((name) => state[name] === "false");
    return [h("p", { class: "note" }, state.filter || state.receiver || hidden ? "No alerts of this kind." : "No alerts.")];
  }
  const count = groups.reduce((sum, group) => sum + group.alerts.length, 0);
  const add = (name, value) => () => {
    const known = state.filter ? parseMatchers(state.filter).map(matcherText) : [];
    if (!known.includes(equals(name, value))) known.push(equals(name, value));
    change({ filter: known.join(", ") });
  };
  return [h("p", { class: "dim small" }, `${counted(count, "alert")} in ${counted(groups.length, "group")}`), ...groups.map((group) => section(group, add))];
}

function section(group, add) {
  const key = JSON.stringify([group.receiver.name, group.labels, group.routeLabels]);
  const rows = h("ul", { class: "rows", hidden: closed.has(key) });
  const fill = () => rows.childElementCount || rows.append(...group.alerts.map((alert) => row(alert, add)));
  if (!closed.has(key)) fill();
  const fold = h("button", {
    class: "plain", "aria-expanded": String(!closed.has(key)),
    onclick: () => {
      if (closed.has(key)) closed.delete(key); else closed.add(key);
      fill();
      rows.hidden = closed.has(key);
      fold.setAttribute("aria-expanded", String(!rows.hidden));
      fold.textContent = text();
    },
  });
  const text = () => `${closed.has(key) ? "▸" : "▾"} ${group.alerts.length}`;
  fold.textContent = text();
  const names = Object.keys(group.labels).sort();
  return h("section", {},
    h("h2", {}, fold,
      names.length ? names.map((name) => label(name, group.labels[name], add)) : h("span", { class: "dim" }, "not grouped"),
      h("span", { class: "dim small end" }, `to ${group.receiver.name}`)),
    rows);
}

const label = (name, value, add) =>
  h("button", { class: "label", title: "Filter by this label", onclick: add(name, value) }, `${name}=${value}`);

function row(alert, add) {
  const { state, silencedBy, inhibitedBy, mutedBy } = alert.status;
  const matchers = Object.entries(alert.labels).map(([name, value]) => equals(name, value)).join(", ");
  const why = [
    ...silencedBy.map((id) => h("a", { href: `#/silences/${id}` }, `silence ${id.slice(0, 8)}`)),
    ...inhibitedBy.map((id) => h("span", {}, `inhibited by ${id}`)),
    ...mutedBy.map((name) => h("span", {}, `muted by ${name}`)),
  ];
  return h("li", {},
    h("span", { class: `state ${state}` }, state),
    h("span", { class: "dim small" }, when(alert.startsAt), h("br"), `for ${lasting((Date.now() - Date.parse(alert.startsAt)) / 1000)}`),
    h("div", {},
      Object.keys(alert.labels).sort().map((name) => label(name, alert.labels[name], add)),
      Object.entries(alert.annotations).sort().map(([name, value]) => h("p", { class: "said" }, h("b", {}, `${name}: `), annotation(value))),
      why.length ? h("p", { class: "said dim small" }, why.flatMap((part, i) => (i ? [" · ", part] : [part]))) : null),
    h("span", { class: "acts" },
      h("a", { class: "plain", href: `#/silences/new?filter=${encodeURIComponent(`{${matchers}}`)}` }, "Silence"),
      alert.generatorURL && h("a", { class: "plain", href: alert.generatorURL, rel: "noreferrer" }, "Source")));
}

const annotation = (text) => (/^https?:\/\/\S+$/.test(text) ? h("a", { href: text, rel: "noreferrer" }, text) : text);
