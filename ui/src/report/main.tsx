// Reads the report out of the page and draws it. The page sets `data-ready` when it is done.

import { render } from "preact";
import "uplot/dist/uPlot.min.css";

import { TimeAxis } from "./axis";
import type { Report } from "./model";
import { Page } from "./page";
import "./report.css";
import { startTheme } from "./theme";

function start(): void {
  const root = document.getElementById("report")!;
  const source = document.getElementById("report-data")!;
  const report = JSON.parse(source.textContent ?? "") as Report;
  report.events.sort((a, b) => a.at_seconds - b.at_seconds);
  const axis = new TimeAxis(report.timeline.at_seconds, report.duration_seconds);
  const { verdict = "", detail = "" } = root.dataset;
  startTheme();
  root.replaceChildren();
  render(<Page report={report} verdict={verdict} detail={detail} axis={axis} />, root);
  requestAnimationFrame(() => (document.documentElement.dataset["ready"] = String(Math.round(performance.now()))));
}

start();
