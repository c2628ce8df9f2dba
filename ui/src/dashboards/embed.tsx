// A dashboard that stands in its own file: everything it shows is in the page, and nothing is asked of a network.
import { render } from "preact";
import { useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";

import "../shared/tokens.css";
import { Board } from "./board";
import type { FramesAnswer, PanelData, Resolved } from "./contract";
import "./dashboards.css";

interface Stored {
  board: Resolved;
  frames: FramesAnswer;
}

function Page({ stored, alone }: { stored: Stored; alone: boolean }) {
  const { board, frames } = stored;
  const data: ReadonlyMap<string, PanelData> = new Map(frames.panels.map((p) => [p.id, p]));
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set(board.rows.filter((row) => !row.collapsed).map((row) => row.id)));
  const toggle = (row: string) => {
    const next = new Set(open);
    if (!next.delete(row)) next.add(row);
    setOpen(next);
  };
  const day = (ms: number) => new Date(ms).toLocaleString("sv-SE");
  return (
    <div class={alone ? "wt-dash wt-alone" : "wt-dash wt-inside"}>
      <header class="wt-top">
        {alone ? <h1>{board.title}</h1> : <h2>{board.title}</h2>}
        <span>{day(frames.from_ms)} – {day(frames.to_ms)}</span>
        {board.variables.filter((v) => v.hide !== "variable" && v.type !== "datasource").map((v) => <span>{v.label}: <b>{v.text}</b></span>)}
      </header>
      {board.notices.map((notice) => <p class="wt-problem">{notice.text}</p>)}
      <Board board={board} data={data} annotations={frames.annotations} open={open} toggle={toggle} />
    </div>
  );
}

function start(): void {
  const root = document.documentElement;
  // In a report, the report chooses the theme and says when the page is ready.
  const inReport = document.getElementById("report") !== null;
  const prefers = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = () => (root.dataset["theme"] = root.dataset["fixed"] ?? (prefers.matches ? "dark" : "light"));
  if (!inReport) {
    prefers.addEventListener("change", theme);
    theme();
  }
  const all = JSON.parse(document.getElementById("dashboard-data")!.textContent ?? "[]") as Stored[];
  render(<>{all.map((stored) => <Page stored={stored} alone={!inReport} />)}</>, document.getElementById("dashboard")!);
  if (!inReport) requestAnimationFrame(() => requestAnimationFrame(() => (root.dataset["ready"] = String(Math.round(performance.now())))));
}

start();
