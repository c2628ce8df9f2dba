// The run on one time axis: a strip of load stages and events that stays in view, and the charts under it.

import { useMemo, useRef, useState } from "preact/hooks";

import { ticks, type TimeAxis } from "./axis";
import { clientCharts, columns, generatorCharts, workloadCharts } from "./charts";
import { clock, plain } from "./format";
import type { Event, LoadStage, Report, Workload } from "./model";
import { markColour, marked, Plot, useAxis, type Marks } from "./plot";

export function stageLabel(stage: LoadStage): string {
  const amount = stage.kind === "users" ? `${plain(stage.users)} users` : `${plain(stage.rps)} req/s`;
  return stage.arrivals ? `${amount}, ${stage.arrivals}` : amount;
}

function share(at: number, axis: TimeAxis): number {
  return ((at - axis.range[0]) / (axis.range[1] - axis.range[0])) * 100;
}

const GLYPHS: Record<string, string> = { scale: "M1 7 5 1l4 6z", oom: "M1 1l8 8M9 1 1 9", restart: "M5 1 9 5 5 9 1 5z", rollout: "M1 1h8v8h-8z" };

function Glyph({ event }: { event: Event }) {
  const [, from, to] = /(\d+) to (\d+)/.exec(event.message) ?? [];
  const down = event.kind === "scale" && Number(to) < Number(from);
  const path = GLYPHS[event.kind] ?? "M5 1v8";
  return (
    <svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" style={{ color: `var(${markColour(event)})` }}>
      <path d={path} transform={down ? "rotate(180 5 5)" : undefined} fill={event.kind === "oom" ? "none" : "currentColor"} stroke="currentColor" stroke-width="1.8" />
    </svg>
  );
}

function Strip({ report, axis }: { report: Report; axis: TimeAxis }) {
  useAxis(axis);
  const narrow = window.innerWidth < 640;
  const shown = (at: number) => at >= axis.range[0] && at <= axis.range[1];
  return (
    <div class="strip">
      <div class="strip-inner">
        <div class="ticks" aria-hidden="true">
          {ticks(axis.range, narrow ? 5 : 12).map((at) => (
            <span style={{ left: `${share(at, axis)}%` }}>{clock(at)}</span>
          ))}
        </div>
        <div class="stages">
          {report.stages.map((stage) => {
            const from = Math.max(0, share(stage.start_seconds, axis));
            const to = Math.min(100, share(stage.end_seconds, axis));
            return to <= from ? null : (
              <span style={{ left: `${from}%`, width: `${to - from}%` }} title={`Stage ${stage.index + 1}: ${stageLabel(stage)}`}>
                {stageLabel(stage)}
              </span>
            );
          })}
        </div>
        <div class="marks">
          {marked(report.events, (at) => share(at, axis), 0.5)
            .filter((e) => e.kind !== "stage" && shown(e.at_seconds))
            .map((event) => (
              <button type="button" style={{ left: `${share(event.at_seconds, axis)}%` }} title={`${clock(event.at_seconds, true)} ${event.message}`} aria-label={`At ${clock(event.at_seconds)}: ${event.message}`} onClick={() => axis.pointAt(event.at_seconds)}>
                <Glyph event={event} />
              </button>
            ))}
        </div>
        {axis.at !== null && shown(axis.at) && (
          <div class="now" style={{ left: `${share(axis.at, axis)}%` }}>
            <output>{clock(axis.at, report.timeline.step_seconds < 1)}</output>
          </div>
        )}
      </div>
    </div>
  );
}

function Toolbar({ axis }: { axis: TimeAxis }) {
  useAxis(axis);
  return (
    <p class="hint">
      <span class="screen-only">
        Drag across a chart to zoom, double-click to see all; with the keyboard, arrows move the cursor, + and − zoom.
      </span>
      <button type="button" class="plain" disabled={!axis.zoomed} onClick={() => axis.reset()}>
        Show all
      </button>
    </p>
  );
}

function DataTable({ report, axis }: { report: Report; axis: TimeAxis }) {
  const [open, setOpen] = useState(false);
  const cells = columns(report);
  return (
    <details class="screen-only" onToggle={(e) => setOpen((e.target as HTMLDetailsElement).open)}>
      <summary>The same as a table</summary>
      {open && (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="Timeline as a table">
          <table class="numbers">
            <thead>
              <tr>
                <th scope="col">time</th>
                {cells.map((c) => <th scope="col">{c.label}</th>)}
              </tr>
            </thead>
            <tbody>
              {axis.times.map((at, i) => (
                <tr>
                  <th scope="row">{clock(at, report.timeline.step_seconds < 1)}</th>
                  {cells.map((c) => <td>{c.format(c.values[i])}</td>)}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

function workloadLabel(w: Workload): string {
  return `${w.kind} ${w.namespace}/${w.name}`;
}

/** The workload whose charts are shown first: the one that scaled, else the first. */
function firstShown(report: Report): number {
  const scaled = report.scalings[0]?.workload;
  const index = report.workloads.findIndex((w) => `${w.kind}/${w.namespace}/${w.name}` === scaled);
  return Math.max(0, index);
}

/** Rate, latency, success and users alone: what Locust draws. */
export function LoadCharts({ report, axis }: { report: Report; axis: TimeAxis }) {
  const marks: Marks = useMemo(() => ({ stages: report.stages, events: [] }), [report]);
  const charts = useMemo(() => [...clientCharts(report), ...generatorCharts(report).filter((chart) => chart.id === "users")], [report]);
  const onKey = (e: KeyboardEvent) => {
    if (e.target === e.currentTarget && !e.ctrlKey && !e.metaKey && !e.altKey && axis.key(e.key)) e.preventDefault();
  };
  return (
    <div class="timeline" tabIndex={0} role="group" aria-label="Load charts on one time axis; arrow keys move the cursor" onKeyDown={onKey}>
      {charts.map((chart) => <Plot key={chart.id} chart={chart} marks={marks} axis={axis} />)}
    </div>
  );
}

export function TimelineSection({ report, axis }: { report: Report; axis: TimeAxis }) {
  const [chosen, setChosen] = useState(firstShown(report));
  const section = useRef<HTMLDivElement>(null);
  const marks: Marks = useMemo(() => ({ stages: report.stages, events: report.events }), [report]);
  const fixed = useMemo(() => ({ client: clientCharts(report), generator: generatorCharts(report) }), [report]);
  const workload = report.workloads[chosen];
  const scaled = useMemo(() => (workload ? workloadCharts(workload) : []), [workload]);
  if (!axis.times.length) return <p class="empty">No timeline was recorded.</p>;
  const onKey = (e: KeyboardEvent) => {
    if (e.target === section.current && !e.ctrlKey && !e.metaKey && !e.altKey && axis.key(e.key)) e.preventDefault();
  };
  return (
    <div class="timeline" ref={section} tabIndex={0} role="group" aria-label="Charts on one time axis; arrow keys move the cursor" onKeyDown={onKey}>
      <Toolbar axis={axis} />
      <Strip report={report} axis={axis} />
      {fixed.client.map((chart) => <Plot key={chart.id} chart={chart} marks={marks} axis={axis} />)}
      {report.workloads.length > 1 && (
        <label class="choose">
          Workload{" "}
          <select value={chosen} onChange={(e) => setChosen(Number(e.currentTarget.value))}>
            {report.workloads.map((w, i) => <option value={i}>{workloadLabel(w)}</option>)}
          </select>
        </label>
      )}
      {scaled.map((chart) => <Plot key={chart.id} chart={chart} marks={marks} axis={axis} />)}
      {fixed.generator.map((chart) => <Plot key={chart.id} chart={chart} marks={marks} axis={axis} />)}
      <DataTable report={report} axis={axis} />
    </div>
  );
}
