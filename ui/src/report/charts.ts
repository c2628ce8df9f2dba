// Which charts a report gets, from what it holds: a chart without a single value is left out.

import { bytes, count, milliseconds, percent, plain, rate } from "./format";
import type { Report, Series, Slo, Workload } from "./model";
import type { Chart, Limit, Line } from "./plot";

const MS_PER_UNIT: Record<string, number> = { seconds: 1000, s: 1000, milliseconds: 1, ms: 1 };

function known(values: Series): number[] {
  return values.filter((v): v is number => v !== null && Number.isFinite(v));
}

function drawn(chart: Chart): boolean {
  return chart.lines.length > 0;
}

function lines(...all: Line[]): Line[] {
  return all.filter((line) => known(line.values).length > 0);
}

/** The limits in time that SLOs set: they belong on the latency chart. */
function latencyLimits(slos: Slo[]): Limit[] {
  return slos.flatMap((slo) => {
    const factor = MS_PER_UNIT[slo.unit];
    return slo.max === null || factor === undefined
      ? []
      : [{ label: `${slo.name} max ${milliseconds(slo.max * factor)}`, value: slo.max * factor }];
  });
}

function objectives(slos: Slo[]): Limit[] {
  return slos.flatMap((slo) =>
    slo.kind === "ratio" && slo.objective !== null
      ? [{ label: `${slo.name} ${percent(slo.objective)}`, value: slo.objective }]
      : [],
  );
}

/** Queueing stretches p99 a hundredfold over p50; on a linear axis one of the two is then a flat line. */
function spreadsWide(p50: Series, p99: Series): boolean {
  const low = known(p50).filter((v) => v > 0);
  const high = known(p99);
  return low.length > 0 && high.length > 0 && Math.max(...high) / Math.min(...low) > 40;
}

export function clientCharts({ timeline: t, slos }: Report): Chart[] {
  const logarithmic = spreadsWide(t.p50_ms, t.p99_ms);
  const charts: Chart[] = [
    {
      id: "rate", title: "Requests per second", format: plain, height: 140,
      lines: lines(
        { label: "completed", values: t.completed_rps, colour: "--blue", fill: true },
        { label: "arrivals", values: t.arrival_rps, colour: "--ink", width: 1 },
        { label: "failed", values: t.failed_rps, colour: "--bad" },
      ),
    },
    {
      id: "latency", title: "Latency", format: milliseconds, height: 156, logarithmic,
      limits: latencyLimits(slos),
      ...(logarithmic && { bounds: (min: number, max: number): [number, number] => [Math.max(min, 0.01) * 0.8, max * 1.3] }),
      lines: lines(
        { label: "p99", values: t.p99_ms, colour: "--blue-3", width: 2 },
        { label: "p95", values: t.p95_ms, colour: "--blue-2" },
        { label: "p50", values: t.p50_ms, colour: "--blue-1" },
      ),
    },
    {
      id: "success", title: "Success rate", format: percent, height: 96,
      limits: objectives(slos),
      bounds: (min) => [Math.max(0, min - Math.max(0.0005, (1 - min) * 0.25)), 1 + Math.max(0.0002, (1 - min) * 0.06)],
      lines: lines({ label: "successful", values: t.success_ratio, colour: "--good", summary: "min" }),
    },
  ];
  return charts.filter(drawn);
}

export function workloadCharts(w: Workload): Chart[] {
  const key = `${w.kind}-${w.namespace}-${w.name}`;
  const target: Limit[] =
    w.cpu_target_ratio === null ? [] : [{ label: `target ${percent(w.cpu_target_ratio)}`, value: w.cpu_target_ratio, colour: "--muted" }];
  const memoryLimit: Limit[] =
    w.memory_limit_bytes === null ? [] : [{ label: `limit ${bytes(w.memory_limit_bytes)}`, value: w.memory_limit_bytes }];
  const charts: Chart[] = [
    {
      id: `replicas-${key}`, title: `Replicas of ${w.name}`, height: 110,
      format: (v) => (v !== null && v !== undefined && !Number.isInteger(v) ? "" : count(v)),
      bounds: (_, max) => [0, Math.max(max, 1) * 1.15],
      lines: lines(
        { label: "ready", values: w.ready, colour: "--teal", fill: true, stepped: true, width: 2 },
        { label: "desired", values: w.desired, colour: "--ink", stepped: true, dashed: true },
      ),
    },
    {
      id: `cpu-${key}`, title: `CPU of ${w.name}`, format: percent, height: 116, limits: target,
      lines: lines(
        { label: "of request", values: w.cpu_utilization_ratio, colour: "--amber", width: 2 },
        { label: "periods throttled", values: w.throttled_ratio, colour: "--rose", width: 1 },
      ),
    },
    {
      id: `memory-${key}`, title: `Memory of ${w.name}, largest pod`, format: bytes, height: 84, binary: true, limits: memoryLimit,
      lines: lines({ label: "working set", values: w.memory_bytes, colour: "--violet" }),
    },
  ];
  return charts.filter(drawn);
}

export function generatorCharts({ timeline: { generator: g, users } }: Report): Chart[] {
  const charts: Chart[] = [
    {
      id: "generator", title: "Load generator: CPU", format: percent, height: 84,
      bounds: () => [0, 1.05],
      lines: lines(
        { label: "generator, of a core", values: g.cpu_ratio, colour: "--slate", width: 2 },
        { label: "whole machine", values: g.machine_cpu_ratio, colour: "--slate-2" },
      ),
    },
    {
      id: "lateness", title: "Load generator: lateness of arrivals, p99", format: (v) => (v === 0 ? "0 ms" : milliseconds(v)), height: 76,
      lines: lines({ label: "late by", values: g.lateness_ms, colour: "--slate" }),
    },
    {
      id: "users", title: "Load generator: users", format: plain, height: 76,
      lines: lines(
        { label: "users", values: users, colour: "--slate", stepped: true },
        { label: "requests in flight", values: g.in_flight, colour: "--slate-2" },
      ),
    },
  ];
  return charts.filter(drawn);
}

export interface Column {
  label: string;
  values: Series;
  format: (value: number | null | undefined) => string;
}

/** The timeline as a table, for those who read rather than look. */
export function columns(report: Report): Column[] {
  const t = report.timeline;
  const all: Column[] = [
    { label: "arrivals", values: t.arrival_rps, format: rate },
    { label: "completed", values: t.completed_rps, format: rate },
    { label: "successful", values: t.success_ratio, format: percent },
    { label: "p50", values: t.p50_ms, format: milliseconds },
    { label: "p95", values: t.p95_ms, format: milliseconds },
    { label: "p99", values: t.p99_ms, format: milliseconds },
    ...report.workloads.flatMap((w) => [
      { label: `${w.name} desired`, values: w.desired, format: count },
      { label: `${w.name} ready`, values: w.ready, format: count },
      { label: `${w.name} CPU`, values: w.cpu_utilization_ratio, format: percent },
    ]),
  ];
  return all.filter((column) => known(column.values).length > 0);
}

