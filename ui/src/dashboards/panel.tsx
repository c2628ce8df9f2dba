// One panel: its heading, what it shows, and what is to be said about it.
import { useState } from "preact/hooks";

import { BarChart, Histogram } from "./bars";
import type { Annotation, Drawing, ListDrawing, Notice, Panel, PanelData } from "./contract";
import { csvOf } from "./csv";
import { Heatmap } from "./heatmap";
import { BarGauge, Gauge, Pie, Stat } from "./single";
import { States } from "./states";
import { Table } from "./table";
import { Text } from "./text";
import { TimeSeries } from "./time";

export interface PanelProps {
  panel: Panel;
  data: PanelData | undefined;
  annotations?: Annotation[];
  cursor?: string;
  loading?: boolean;
  onZoom?: (from: number, to: number) => void;
}

function List({ drawing }: { drawing: ListDrawing }) {
  return (
    <div class="wt-text">
      {drawing.groups.map((group) => (
        <section>
          <h4>{group.title}</h4>
          <ul>{group.items.map((item) => <li><a href={item.url}>{item.title}</a></li>)}</ul>
        </section>
      ))}
    </div>
  );
}

function Drawn({ drawing, annotations, cursor, onZoom }: { drawing: Drawing; annotations: Annotation[]; cursor: string; onZoom?: PanelProps["onZoom"] }) {
  switch (drawing.draw) {
    case "timeseries":
      return <TimeSeries drawing={drawing} annotations={annotations} cursor={cursor} onZoom={onZoom} />;
    case "stat":
      return <Stat drawing={drawing} />;
    case "gauge":
      return <Gauge drawing={drawing} />;
    case "bargauge":
      return <BarGauge drawing={drawing} />;
    case "table":
      return <Table drawing={drawing} />;
    case "heatmap":
      return <Heatmap drawing={drawing} />;
    case "piechart":
      return <Pie drawing={drawing} />;
    case "barchart":
      return <BarChart drawing={drawing} />;
    case "histogram":
      return <Histogram drawing={drawing} />;
    case "state-timeline":
    case "status-history":
      return <States drawing={drawing} />;
    case "text":
      return <Text drawing={drawing} />;
    case "dashlist":
      return <List drawing={drawing} />;
  }
}

function Notes({ notices }: { notices: Notice[] }) {
  const [open, setOpen] = useState(false);
  if (!notices.length) return null;
  const worst = notices.some((n) => n.severity === "error") ? "error" : notices.some((n) => n.severity === "warning") ? "warning" : "info";
  return (
    <span class="wt-notes">
      <button type="button" class={worst} aria-expanded={open} aria-label={`${notices.length} notes`} onClick={() => setOpen(!open)}>!</button>
      {open && <ul role="note">{notices.map((n) => <li class={n.severity}>{n.text}</li>)}</ul>}
    </span>
  );
}

function save(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `${name || "panel"}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const NONE: Annotation[] = [];

export function PanelView({ panel, data, annotations = NONE, cursor = "", loading = false, onZoom }: PanelProps) {
  const drawing = data?.drawing ?? null;
  const state = panel.type === "unsupported" ? "unsupported" : (data?.state ?? "waiting");
  const csv = drawing ? csvOf(drawing) : null;
  return (
    <section class={`wt-panel ${panel.transparent ? "transparent" : ""}`} aria-label={panel.title || panel.source_type} data-state={state} data-panel={panel.id}>
      {(panel.title || data?.notices.length || panel.description || panel.links.length > 0) && (
        <header>
          <h3 title={panel.title}>{panel.title}</h3>
          {panel.description && <span class="wt-about" title={panel.description} aria-label={panel.description} tabIndex={0}>i</span>}
          {panel.time_note && <small>{panel.time_note}</small>}
          {panel.links.filter((l) => l.url).map((l) => <a href={l.url} title={l.title} {...(l.new_tab && { target: "_blank", rel: "noopener noreferrer" })}>{l.title || "link"}</a>)}
          <Notes notices={data?.notices ?? []} />
          {csv !== null && <button type="button" class="wt-csv" title="Save as CSV" onClick={() => save(panel.title, csv)}>CSV</button>}
        </header>
      )}
      <div class={`wt-body ${loading ? "loading" : ""}`}>
        {state === "unsupported" ? (
          <p class="wt-none"><b>{panel.source_type || "panel"}</b> {panel.reason}</p>
        ) : drawing ? (
          <Drawn drawing={drawing} annotations={annotations} cursor={cursor} {...(onZoom && { onZoom })} />
        ) : state === "error" ? (
          <p class="wt-none error">{data!.notices.find((n) => n.severity === "error")?.text ?? "failed"}</p>
        ) : (
          <p class="wt-none">{state === "empty" ? "No data" : ""}</p>
        )}
      </div>
    </section>
  );
}
