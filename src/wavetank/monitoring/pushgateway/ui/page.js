// The groups that were pushed, with a button that deletes one; build and flags. Everything goes through text nodes.

const REFRESH_MS = 15_000;
const main = document.getElementById("main");
const opened = new Set();
let sought = "";

function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

async function ask(path, method = "GET") {
  const response = await fetch(path, { method });
  if (!response.ok) throw new Error((await response.text()) || `${response.status} ${response.statusText}`);
  return method === "GET" ? (await response.json()).data : undefined;
}

const problem = (error) => h("p", { class: "note bad", role: "alert" }, error.message);
const when = (seconds) => (Number(seconds) ? new Date(Number(seconds) * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" }) : "never");
const labels = (pairs) => Object.keys(pairs).sort().map((name) => h("span", { class: "label" }, `${name}="${pairs[name]}"`));

/** URL-safe base64 of UTF-8: any value can stand in a path this way. "=" stands for the empty one. */
const base64 = (text) =>
  text ? btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "") : "=";

function groupPath({ job, ...others }) {
  const rest = Object.entries(others).map(([name, value]) => `/${encodeURIComponent(name)}@base64/${base64(value)}`);
  return `metrics/job@base64/${base64(job)}${rest.join("")}`;
}

function sure(title, act) {
  const button = h("button", {
    type: "button", class: "plain danger",
    onclick: async () => {
      if (button.dataset.sure === undefined) { // the second click means it
        button.dataset.sure = "";
        button.textContent = "Really?";
        return;
      }
      try {
        await act();
        await show();
      } catch (error) {
        main.append(problem(error));
      }
    },
  }, title);
  return button;
}

const OWN = ["labels", "last_push_successful"];

function series(metric) {
  const rows = [];
  if ("value" in metric) rows.push([null, metric.value]);
  for (const [kind, name] of [["buckets", "le"], ["quantiles", "quantile"]]) {
    for (const [bound, value] of Object.entries(metric[kind] ?? {})) rows.push([`${name}="${bound}"`, value]);
  }
  for (const name of ["sum", "count"]) if (name in metric) rows.push([name, metric[name]]);
  return rows.map(([part, value]) => h("tr", {}, h("td", {}, labels(metric.labels), part && h("span", { class: "label" }, part)), h("td", { class: "value" }, value)));
}

function section(group) {
  const path = groupPath(group.labels);
  const names = Object.keys(group).filter((name) => !OWN.includes(name)).sort();
  const time = (name) => group[name]?.metrics?.[0]?.value ?? 0;
  const body = h("table");
  const fill = () => body.childElementCount || body.append(...names.flatMap((name) => [
    h("tr", { class: "family" }, h("th", { colspan: "2" }, name, h("span", { class: "dim small" }, ` ${group[name].type.toLowerCase()} `, h("span", {}, group[name].help ?? "")))),
    ...group[name].metrics.flatMap(series),
  ]));
  const details = h("details", { open: opened.has(path), ontoggle: (event) => {
    if (event.target.open) opened.add(path); else opened.delete(path);
    fill();
  } }, h("summary", {}, `${names.length} metrics`), body);
  if (opened.has(path)) fill();
  return h("section", { class: "group" },
    h("span", {}, labels(group.labels)),
    h("span", { class: group.last_push_successful ? "dim small" : "bad small" },
      group.last_push_successful ? `pushed ${when(time("push_time_seconds"))}` : `push failed ${when(time("push_failure_time_seconds"))}`),
    sure("Delete group", () => ask(path, "DELETE")), details);
}

async function groups() {
  const [found, { flags }] = await Promise.all([ask("api/v1/metrics"), ask("api/v1/status")]);
  const list = h("div");
  const fill = () => {
    const shown = found.filter((group) => JSON.stringify(group.labels).includes(sought) || Object.keys(group).some((name) => name.includes(sought)));
    list.replaceChildren(...(shown.length ? shown.map(section) : [h("p", { class: "note" }, found.length ? "No group of this kind." : "Nothing was pushed yet.")]));
  };
  const input = h("input", { type: "search", value: sought, placeholder: "label or metric", "aria-label": "Filter", oninput: () => { sought = input.value; fill(); } });
  fill();
  const wipe = flags["web.enable-admin-api"] === "true";
  return [h("div", { class: "head" }, h("h1", {}, "Groups"), h("span", { class: "dim" }, `${found.length}`), input,
    wipe && found.length ? h("span", { class: "end" }, sure("Delete all groups", () => ask("api/v1/admin/wipe", "PUT"))) : null), list];
}

async function status() {
  const { flags, start_time, build_information } = await ask("api/v1/status");
  const list = (pairs) => h("dl", {}, Object.entries(pairs).map(([name, value]) => [h("dt", {}, name), h("dd", {}, `${value}`)]));
  return [h("div", { class: "head" }, h("h1", {}, "Status")), list({ ...build_information, "started": new Date(start_time).toLocaleString() }),
    h("h1", {}, "Flags"), list(flags)];
}

async function show() {
  const page = location.hash === "#/status" ? status : groups;
  for (const link of document.querySelectorAll(".side a")) {
    const here = link.getAttribute("href") === (page === status ? "#/status" : "#/groups");
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  try {
    main.replaceChildren(...(await page()));
  } catch (error) {
    main.replaceChildren(problem(error));
  }
}

window.addEventListener("hashchange", show);
setInterval(() => {
  // What is being typed or decided is not pulled away.
  if (document.visibilityState === "visible" && !main.querySelector("[data-sure]") && document.activeElement?.tagName !== "INPUT") show();
}, REFRESH_MS);
show();
