// Which page the address names: #/alerts, #/silences, #/silences/new, #/silences/ID, #/silences/ID/edit, #/status.

import { alertsPage } from "./alerts.js";
import { api, h, problem, when } from "./dom.js";
import { silenceForm, silencePage, silencesPage } from "./silences.js";

const REFRESH_MS = 15_000;
const main = document.getElementById("main");
const go = (place) => { location.hash = `#${place}`; };
let refresh;

function statusPage() {
  main.replaceChildren(h("p", { class: "dim" }, "Loading …"));
  return async () => {
    try {
      const { cluster, config, uptime, versionInfo } = await api("status");
      const pairs = { Version: versionInfo.version, Revision: versionInfo.revision, "Up since": when(uptime), Cluster: cluster.status };
      main.replaceChildren(
        h("div", { class: "head" }, h("h1", {}, "Status")),
        h("dl", {}, Object.entries(pairs).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
        h("h2", {}, "Configuration"), h("pre", {}, config.original));
    } catch (error) {
      main.replaceChildren(problem(error));
    }
  };
}

function page(path, query) {
  const [room, id, verb] = path.split("/").filter(Boolean);
  if (room === "status") return statusPage();
  if (room !== "silences") return alertsPage(main, query, go);
  if (id === "new") return void silenceForm(main, query, go);
  if (id && verb === "edit") return void silenceForm(main, query, go, id);
  return id ? silencePage(main, id) : silencesPage(main, query, go);
}

function route() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  for (const link of document.querySelectorAll(".side a")) {
    const place = link.getAttribute("href").slice(1);
    const here = place === path || (place === "/alerts" && ["", "/"].includes(path)) || (place === "/silences" && /^\/silences\/(?!new)/.test(path));
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  refresh = page(path, new URLSearchParams(query));
  refresh?.();
}

window.addEventListener("hashchange", route);
setInterval(() => {
  // What is being looked at closely is not pulled away.
  if (document.visibilityState === "visible" && !main.querySelector("[data-sure]")) refresh?.();
}, REFRESH_MS);
route();
