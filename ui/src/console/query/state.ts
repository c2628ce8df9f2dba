// The panels of the query page, as the address holds them: Prometheus' own parameters, so links work both ways.

import { duration, parseDuration } from "../text";

export type Tab = "graph" | "table" | "tree";
export type Mode = "lines" | "stacked" | "heatmap";

export interface Panel {
  expr: string;
  tab: Tab;
  rangeSeconds: number;
  /** Unix milliseconds; null is now. */
  end: number | null;
  /** Seconds; null lets the width of the graph decide. */
  step: number | null;
  mode: Mode;
  exemplars: boolean;
}

export const FRESH: Panel = { expr: "", tab: "graph", rangeSeconds: 3600, end: null, step: null, mode: "lines", exemplars: false };
const PANELS_MAX = 20;
// Prometheus 2 numbered its tabs; 3 calls the tree "explain".
const TABS: Record<string, Tab> = { "0": "graph", graph: "graph", "1": "table", table: "table", tree: "tree", explain: "tree" };

export function panelsOf(search: URLSearchParams): Panel[] {
  const found: Panel[] = [];
  for (let i = 0; i < PANELS_MAX && search.has(`g${i}.expr`); i += 1) {
    const read = (name: string) => search.get(`g${i}.${name}`) ?? "";
    const end = read("end_input") || read("moment_input");
    const mode = read("display_mode") || (read("stacked") === "1" ? "stacked" : "lines");
    found.push({
      expr: read("expr"),
      tab: TABS[read("tab")] ?? "graph",
      rangeSeconds: parseDuration(read("range_input")) || FRESH.rangeSeconds,
      end: end ? Date.parse(end.replace(" ", "T") + (end.endsWith("Z") ? "" : "Z")) || null : null,
      step: parseDuration(read("step_input")) || null,
      mode: mode === "stacked" || mode === "heatmap" ? mode : "lines",
      exemplars: read("show_exemplars") === "1",
    });
  }
  return found.length ? found : [FRESH];
}

export function addressOf(panels: Panel[]): string {
  const search = new URLSearchParams();
  panels.forEach((panel, i) => {
    const write = (name: string, value: string | null) => value && search.set(`g${i}.${name}`, value);
    search.set(`g${i}.expr`, panel.expr);
    write("tab", panel.tab);
    write("range_input", panel.rangeSeconds === FRESH.rangeSeconds ? null : duration(panel.rangeSeconds));
    write("end_input", panel.end === null ? null : new Date(panel.end).toISOString().slice(0, 19).replace("T", " "));
    write("step_input", panel.step === null ? null : String(panel.step));
    write("display_mode", panel.mode === "lines" ? null : panel.mode);
    write("show_exemplars", panel.exemplars ? "1" : null);
  });
  return `#/query?${search}`;
}

/** Wider and narrower ranges, as Prometheus steps through them; seconds. */
export const RANGES = [60, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 1209600, 2419200, 4838400, 15724800, 31536000];

export function nextRange(seconds: number, direction: 1 | -1): number {
  return direction > 0 ? (RANGES.find((range) => range > seconds) ?? seconds) : (RANGES.findLast((range) => range < seconds) ?? seconds);
}

/** A step that gives about a point for every three pixels, at least a second; seconds. */
export function autoStep(rangeSeconds: number, width: number): number {
  return Math.max(1, Math.floor(rangeSeconds / Math.max(60, Math.min(480, width / 3))));
}
