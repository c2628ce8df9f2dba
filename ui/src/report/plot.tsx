// One chart: uPlot for the drawing, our own heading with live values, the page's shared time axis.

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

import { ticks, type TimeAxis } from "./axis";
import type { Event, LoadStage, Series } from "./model";
import { colour, onThemeChange } from "./theme";

export interface Line {
  label: string;
  values: Series;
  /** Custom property of the style sheet that holds the colour. */
  colour: string;
  fill?: boolean;
  stepped?: boolean;
  dashed?: boolean;
  width?: number;
  /** What the heading shows while the reader points nowhere. */
  summary?: "max" | "min" | "last" | "none";
}

export interface Limit {
  label: string;
  value: number;
  /** Custom property of the colour; that of failure unless given. */
  colour?: string;
}

export interface Chart {
  id: string;
  title: string;
  lines: Line[];
  limits?: Limit[];
  height?: number;
  logarithmic?: boolean;
  /** Ticks at powers of two, for bytes. */
  binary?: boolean;
  format: (value: number | null | undefined) => string;
  /** Bounds of the vertical axis, given those of the data and the limits. */
  bounds?: (min: number, max: number) => [number, number];
}

export interface Marks {
  stages: LoadStage[];
  events: Event[];
}

export const GUTTER = { left: 58, right: 10 };

const MARK_COLOURS: Record<string, string> = { scale: "--mark-scale", rollout: "--mark-rollout", oom: "--bad", restart: "--warn", stage: "--rule-strong" };

export function markColour(event: Event): string {
  return MARK_COLOURS[event.kind] ?? (event.severity === "error" ? "--bad" : "--rule-strong");
}

/** Marked events, without those that would be drawn on top of one of their kind. */
export function marked(events: Event[], position: (at: number) => number, apart: number): Event[] {
  const last = new Map<string, number>();
  return events.filter((event) => {
    if (!(event.kind in MARK_COLOURS)) return false;
    const here = position(event.at_seconds);
    const before = last.get(event.kind);
    if (before !== undefined && Math.abs(here - before) < apart) return false;
    last.set(event.kind, here);
    return true;
  });
}

function shade(u: uPlot, stages: LoadStage[]): void {
  const { left, top, width, height } = u.bbox;
  u.ctx.fillStyle = colour("--band");
  for (const stage of stages.filter((_, i) => i % 2 === 1)) {
    const from = Math.max(left, u.valToPos(stage.start_seconds, "x", true));
    const to = Math.min(left + width, u.valToPos(stage.end_seconds, "x", true));
    if (to > from) u.ctx.fillRect(from, top, to - from, height);
  }
}

function markEvents(u: uPlot, events: Event[]): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.lineWidth = uPlot.pxRatio;
  const position = (at: number) => u.valToPos(at, "x", true);
  for (const event of marked(events, position, 4 * uPlot.pxRatio)) {
    const x = Math.round(position(event.at_seconds)) + 0.5;
    if (x < left || x > left + width) continue;
    ctx.strokeStyle = colour(markColour(event));
    ctx.globalAlpha = event.kind === "stage" ? 0.8 : 0.65;
    ctx.setLineDash(event.kind === "scale" || event.kind === "rollout" ? [] : [2 * uPlot.pxRatio, 2 * uPlot.pxRatio]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
  }
  ctx.restore();
}

function drawLimits(u: uPlot, limits: Limit[]): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.lineWidth = 1.25 * uPlot.pxRatio;
  ctx.font = `${11 * uPlot.pxRatio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "alphabetic";
  const labels: { y: number; end: number }[] = [];
  for (const limit of limits) {
    const y = u.valToPos(limit.value, "y", true);
    ctx.strokeStyle = ctx.fillStyle = colour(limit.colour ?? "--bad");
    if (y < top - 1 || y > top + height + 1) continue;
    ctx.setLineDash([6 * uPlot.pxRatio, 4 * uPlot.pxRatio]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    const below = y - top < 16 * uPlot.pxRatio;
    const neighbour = labels.findLast((label) => Math.abs(label.y - y) < 14 * uPlot.pxRatio);
    const end = neighbour?.end ?? left + width - 4 * uPlot.pxRatio;
    ctx.fillText(limit.label, end, below ? y + 13 * uPlot.pxRatio : y - 5 * uPlot.pxRatio);
    labels.push({ y, end: end - ctx.measureText(limit.label).width - 14 * uPlot.pxRatio });
  }
  ctx.restore();
}

/** 1, 2, 5, 10, 20, ... within the bounds; powers of ten alone where these are many. */
function decades(min: number, max: number): number[] {
  const exponents = Array.from({ length: 24 }, (_, i) => i - 9);
  const all = exponents.flatMap((e) => [1, 2, 5].map((n) => n * 10 ** e)).filter((v) => v >= min && v <= max);
  return all.length > 6 ? all.filter((v) => Number.isInteger(Math.round(Math.log10(v) * 1e6) / 1e6)) : all;
}

function toSeries(line: Line): uPlot.Series {
  const series: uPlot.Series = {
    label: line.label,
    stroke: () => colour(line.colour),
    width: line.width ?? 1.5,
    points: { show: false },
  };
  if (line.fill) series.fill = () => `${colour(line.colour)}22`;
  if (line.dashed) series.dash = [5, 4];
  const steps = uPlot.paths.stepped;
  if (line.stepped && steps) series.paths = steps({ align: 1 });
  return series;
}

/** As long as the axis, whatever the report held. */
function fitted(values: Series, length: number): Series {
  return values.length === length ? values : Array.from({ length }, (_, i) => values[i] ?? null);
}

function options(chart: Chart, marks: Marks, axis: TimeAxis, width: number): uPlot.Options {
  const limits = chart.limits ?? [];
  const ink = () => colour("--muted");
  const grid = { stroke: () => colour("--grid"), width: 1 };
  const bounds = chart.bounds ?? ((_, max) => [0, max * 1.08 || 1]);
  const [firstTime, lastTime] = [axis.times[0] ?? 0, axis.times.at(-1) ?? 0];
  return {
    width,
    height: chart.height ?? 124,
    legend: { show: false },
    padding: [7, GUTTER.right, 6, 0],
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      bind: { dblclick: () => () => (axis.reset(), null) },
    },
    scales: {
      x: { time: false, range: () => [axis.range[0], axis.range[1]] },
      y: {
        distr: chart.logarithmic ? 3 : 1,
        range: (_u, min, max) => {
          const seen = [min, max, ...limits.map((l) => l.value)].filter((v) => v !== null && Number.isFinite(v));
          if (!seen.length) return chart.logarithmic ? [1, 10] : [0, 1];
          return bounds(Math.min(...seen), Math.max(...seen));
        },
      },
    },
    axes: [
      {
        stroke: ink, grid, ticks: { show: false }, size: 0,
        splits: (u) => ticks(axis.range, u.width / 80),
        values: (_u, at) => at.map(() => ""),
      },
      {
        stroke: ink, grid, ticks: { show: false }, size: GUTTER.left, gap: 6,
        font: "11px system-ui, sans-serif",
        space: 26,
        ...(chart.logarithmic && { splits: (_u: uPlot, _axis: number, min: number, max: number) => decades(min, max) }),
        ...(chart.binary && { incrs: Array.from({ length: 50 }, (_, i) => 2 ** i) }),
        values: (_u, at) => at.map((v) => (v === null ? null : chart.format(v))),
      },
    ],
    series: [{}, ...chart.lines.map(toSeries)],
    hooks: {
      drawClear: [(u) => shade(u, marks.stages)],
      draw: [(u) => (drawLimits(u, limits), markEvents(u, marks.events))],
      setCursor: [
        (u) => {
          const left = u.cursor.left ?? -1;
          const inside = left >= 0 && u.posToVal(left, "x") >= firstTime - 1 && u.posToVal(left, "x") <= lastTime + 1;
          axis.point(inside ? (u.cursor.idx ?? null) : null);
        },
      ],
      setSelect: [
        (u) => {
          const { left, width: span } = u.select;
          if (span > 4) axis.zoom(u.posToVal(left, "x"), u.posToVal(left + span, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

function summarise(line: Line, format: Chart["format"]): string {
  const known = line.values.filter((v): v is number => v !== null);
  if (!known.length || line.summary === "none") return "";
  if (line.summary === "last") return format(known.at(-1));
  const least = line.summary === "min";
  const extreme = known.reduce((a, b) => (least ? Math.min(a, b) : Math.max(a, b)));
  return `${least ? "min" : "max"} ${format(extreme)}`;
}

export function useAxis(axis: TimeAxis): void {
  const [, redraw] = useState(0);
  useEffect(() => axis.subscribe(() => redraw((n) => n + 1)), [axis]);
}

function Heading(props: { chart: Chart; axis: TimeAxis; hidden: ReadonlySet<number>; toggle: (i: number) => void }) {
  const { chart, axis, hidden } = props;
  useAxis(axis);
  return (
    <figcaption>
      <b>{chart.title}</b>
      {chart.logarithmic && <small>log scale</small>}
      <span class="legend">
        {chart.lines.map((line, i) => (
          <button type="button" aria-pressed={!hidden.has(i)} onClick={() => props.toggle(i)} title="Show or hide">
            <i class={line.dashed ? "swatch dashed" : "swatch"} style={{ color: `var(${line.colour})` }} />
            {line.label}{" "}
            <output>{axis.index === null ? summarise(line, chart.format) : chart.format(line.values[axis.index])}</output>
          </button>
        ))}
      </span>
    </figcaption>
  );
}

export function Plot({ chart, marks, axis }: { chart: Chart; marks: Marks; axis: TimeAxis }) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());

  useEffect(() => {
    const element = holder.current!;
    const data = [axis.times, ...chart.lines.map((l) => fitted(l.values, axis.times.length))] as uPlot.AlignedData;
    const u = new uPlot(options(chart, marks, axis, element.clientWidth || 600), data, element);
    plot.current = u;
    let range = axis.range;
    const follow = axis.subscribe(() => {
      if (axis.range !== range) {
        range = axis.range;
        u.setScale("x", { min: range[0], max: range[1] });
      }
      const at = axis.at;
      const left = at === null ? -10 : u.valToPos(at, "x");
      if (!element.matches(":hover")) u.setCursor({ left, top: at === null ? -10 : 1 }, false);
    });
    const fit = () => {
      const width = element.clientWidth;
      if (width && width !== u.width) u.setSize({ width, height: chart.height ?? 124 });
    };
    const resize = new ResizeObserver(fit);
    resize.observe(element);
    const repaint = onThemeChange(() => (fit(), u.redraw(false, true)));
    return () => {
      follow();
      repaint();
      resize.disconnect();
      u.destroy();
    };
  }, [chart, marks, axis]);

  const toggle = (i: number) => {
    const next = new Set(hidden);
    if (!next.delete(i)) next.add(i);
    setHidden(next);
    plot.current?.setSeries(i + 1, { show: !next.has(i) });
  };
  return (
    <figure class="chart" id={`chart-${chart.id}`}>
      <Heading chart={chart} axis={axis} hidden={hidden} toggle={toggle} />
      <div class="canvas" ref={holder} role="img" aria-label={describe(chart)} />
    </figure>
  );
}

function describe(chart: Chart): string {
  const lines = chart.lines.map((line) => `${line.label} ${summarise(line, chart.format)}`.trim());
  return [`${chart.title} over time`, ...lines, ...(chart.limits ?? []).map((l) => l.label)].join(", ");
}
