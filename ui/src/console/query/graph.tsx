// The graph of a query: lines, stacked areas or a heatmap, with a legend that reads the cursor.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

import { colour, onThemeChange } from "../../report/theme";
import { commonLabels, full, labelPairs, seriesName, short, stamp, type Labels } from "../text";
import type { Columns, Heat, Line, Values } from "./results";

export interface Exemplar {
  at: number;
  value: number;
  labels: Labels;
  series: Labels;
}

interface Props {
  data: Columns;
  mode: "lines" | "stacked" | "heatmap";
  heat: Heat | null;
  exemplars: Exemplar[];
  utc: boolean;
  height?: number;
  onZoom: (start: number, end: number) => void;
}

export const HUES = 12;
const LEGEND_SHOWN = 50;

export function hue(i: number): string {
  return `--s${(i % HUES) + 1}`;
}

/** Each line on top of those before it; a gap counts as nothing, a gap in all is a gap. */
export function stack(lines: Line[]): (number | null)[][] {
  const length = lines[0]?.values.length ?? 0;
  const sum = new Array<number>(length).fill(0);
  return lines.map((line) => Array.from(line.values, (value, i) => (value === null && lines.every((l) => l.values[i] === null) ? null : (sum[i] = sum[i]! + (value ?? 0)))));
}

/** Of more lines than this each is one pixel wide: nobody sees a difference, and the canvas draws them twice as fast. */
const BOLD_MAX = 12;

const plain = uPlot.paths.linear!();

/**
 * A line of more points than pixels: of each column of pixels only where the line leaves it, and its lowest and
 * highest point where it turned in between. A canvas draws this in half the time, and one sees the same.
 */
const byPixel: uPlot.Series.PathBuilder = (u, line, from, to) => {
  const [xs, ys] = [u.data[0], u.data[line]! as Values];
  const { left, top, width, height } = u.bbox;
  if (!(ys instanceof Float64Array) || to - from < width) return plain(u, line, from, to);
  const { min: x0, max: x1 } = u.scales["x"]!;
  const { min: y0, max: y1 } = u.scales["y"]!;
  const [byX, byY] = [width / (x1! - x0!), height / (y1! - y0!)];
  const stroke = new Path2D();
  let column = NaN;
  let [entered, low, high, out] = [0, 0, 0, 0];
  const leave = () => {
    if (low < Math.min(entered, out)) stroke.lineTo(column, low);
    if (high > Math.max(entered, out)) stroke.lineTo(column, high);
    stroke.lineTo(column, out);
  };
  for (let i = from; i <= to; i += 1) {
    const x = Math.round(left + (xs[i]! - x0!) * byX);
    const y = Math.round(top + (y1! - ys[i]!) * byY);
    if (x !== column) {
      if (i > from) leave();
      column = x;
      entered = low = high = y;
    } else if (y < low) low = y;
    else if (y > high) high = y;
    out = y;
  }
  leave();
  return { stroke, gaps: [], flags: 1 };
};

function seriesOptions(i: number, stacked: boolean, width: number): uPlot.Series {
  const show = (u: uPlot, line: number) => isSparse(u.data[line] as Values);
  const series: uPlot.Series = { stroke: () => colour(hue(i)), width, points: { show, size: 4 } };
  if (!stacked) series.paths = byPixel;
  else series.fill = () => `${colour(hue(i))}55`;
  return series;
}

/** Whether single points would be invisible, since they have no neighbours to be joined to. */
function isSparse(values: Values): boolean {
  if (values instanceof Float64Array) return values.length === 1;
  let [seen, joined] = [false, false];
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] === null) continue;
    seen = true;
    if (values[i + 1] !== null && i + 1 < values.length) joined = true;
  }
  return seen && !joined;
}

function drawExemplars(u: uPlot, exemplars: Exemplar[]): void {
  const { ctx } = u;
  const size = 4 * uPlot.pxRatio;
  const { min = -Infinity, max = Infinity } = u.scales["y"]!;
  ctx.save();
  ctx.fillStyle = colour("--exemplar");
  for (const { at, value } of exemplars) {
    const x = u.valToPos(at, "x", true);
    const y = u.valToPos(Math.min(Math.max(value, min ?? value), max ?? value), "y", true);
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, y - size);
    ctx.lineTo(x + size, y);
    ctx.lineTo(x, y + size);
    ctx.lineTo(x - size, y);
    ctx.fill();
  }
  ctx.restore();
}

function drawHeat(u: uPlot, heat: Heat, times: number[]): void {
  const { ctx } = u;
  const step = times.length > 1 ? times[1]! - times[0]! : 1;
  const width = Math.max(1, Math.abs(u.valToPos(times[0]! + step, "x", true) - u.valToPos(times[0]!, "x", true)));
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  ctx.fillStyle = colour("--heat");
  heat.cells.forEach((row, r) => {
    const top = u.valToPos(r + 1, "y", true);
    const bottom = u.valToPos(r, "y", true);
    row.forEach((value, i) => {
      if (!value) return;
      ctx.globalAlpha = 0.08 + 0.92 * Math.sqrt(value / heat.most);
      const right = u.valToPos(times[i]!, "x", true) + width / 2;
      ctx.fillRect(right - width, top, Math.ceil(width), Math.max(1, bottom - top - 1));
    });
  });
  ctx.restore();
}

/** `latest` gives what is shown now: the plot outlives an answer and is given the next one. */
function options(latest: () => Props, width: number, point: (index: number | null) => void): uPlot.Options {
  const { data, heat, mode, utc, height } = latest();
  const heated = mode === "heatmap" && heat !== null;
  const bold = data.lines.length > BOLD_MAX ? 1 : 1.4;
  const stacked = mode === "stacked";
  const ink = () => colour("--muted");
  const grid = { stroke: () => colour("--grid"), width: 1 };
  const font = "11px system-ui, sans-serif";
  return {
    width,
    height: height ?? 320,
    legend: { show: false },
    padding: [8, 10, 0, 0],
    cursor: { y: heated, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, focus: { prox: -1 } },
    ...(utc && { tzDate: (seconds: number) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") }),
    scales: {
      x: { time: true, range: () => [latest().data.times[0]!, latest().data.times.at(-1)!] },
      y: heated ? { range: () => [0, latest().heat!.rows.length] } : { range: (_u, min, max) => padded(min, max, stacked) },
    },
    axes: [
      { stroke: ink, grid, ticks: { show: false }, font, size: 36, space: 76, values: (_u, at, _i, _s, step) => clockTexts(at, step, utc) },
      heated
        ? {
            stroke: ink, grid: { show: false }, ticks: { show: false }, font, size: 66,
            splits: () => spread(latest().heat!.rows.length),
            values: (_u, at) => at.map((row) => latest().heat!.rows[Math.round(row) - 1] ?? ""),
          }
        : { stroke: ink, grid, ticks: { show: false }, font, size: 66, space: 30, values: (_u, at) => at.map((v) => (v === null ? "" : short(v))) },
    ],
    series: [{}, ...(heated ? [{ show: false }] : data.lines.map((_, i) => seriesOptions(i, stacked, bold)))],
    ...(stacked && { bands: data.lines.slice(1).map((_, i) => ({ series: [i + 2, i + 1] as [number, number] })) }),
    hooks: {
      drawClear: heated ? [(u) => drawHeat(u, latest().heat!, latest().data.times)] : [],
      draw: [(u) => (drawExemplars(u, latest().exemplars), (u.root.dataset["drawn"] = ""), performance.mark("graph-drawn"))],
      setCursor: [(u) => point((u.cursor.left ?? -1) >= 0 ? (u.cursor.idx ?? null) : null)],
      setSelect: [
        (u) => {
          const { left, width: span } = u.select;
          if (span > 4) latest().onZoom(u.posToVal(left, "x"), u.posToVal(left + span, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

/** 24-hour times; the first of each day carries its date below. */
export function clockTexts(at: number[], step: number, utc: boolean): string[] {
  let day = "";
  return at.map((seconds) => {
    const [date, time] = stamp(seconds * 1000, utc).split(" ") as [string, string];
    const first = date !== day;
    day = date;
    if (step >= 86400) return date.slice(5);
    return `${step < 60 ? time : time.slice(0, 5)}${first ? `\n${date}` : ""}`;
  });
}

/** Row borders that get a label: all of few, some of many. */
function spread(rows: number): number[] {
  const every = Math.max(1, Math.ceil(rows / 12));
  return Array.from({ length: rows }, (_, i) => i + 1).filter((row) => (rows - row) % every === 0);
}

function padded(min: number | null, max: number | null, fromZero: boolean): [number, number] {
  if (min === null || max === null) return [0, 1];
  if (min === max) return min === 0 ? [0, 1] : [Math.min(0, min * 1.2), Math.max(0, max * 1.2)];
  // Zero belongs on the axis unless the values stay far from it.
  const low = fromZero || (min > 0 && min < 0.5 * max) ? 0 : min;
  const space = (max - low) * 0.06;
  return [low === 0 ? 0 : low - space, max + space];
}

function dataOf({ data, mode, heat }: Props): uPlot.AlignedData {
  if (mode === "heatmap" && heat) return [data.times, data.times.map(() => null)];
  return [data.times, ...(mode === "stacked" ? stack(data.lines) : data.lines.map((line) => line.values))] as uPlot.AlignedData;
}

export function Graph(props: Props) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [index, point] = useState<number | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const latest = useRef(props);
  latest.current = props;
  const heated = props.mode === "heatmap" && props.heat !== null;
  const names = useMemo(() => JSON.stringify(props.data.lines.map((line) => line.labels)), [props.data]);
  // What a plot cannot change once it is made; anything else is only its next data.
  const shape = [props.mode, heated, props.utc, props.height, names].join(" ");

  useLayoutEffect(() => {
    const element = holder.current!;
    const u = new uPlot(options(() => latest.current, element.clientWidth || 600, point), dataOf(props), element);
    plot.current = u;
    setHidden(new Set());
    const resize = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width && width !== u.width) u.setSize({ width, height: latest.current.height ?? 320 });
    });
    resize.observe(element);
    const repaint = onThemeChange(() => u.redraw(false, true));
    return () => {
      repaint();
      resize.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [shape]);
  const shown = useRef({ shape: "", data: props.data, exemplars: props.exemplars });
  useLayoutEffect(() => {
    const before = shown.current;
    shown.current = { shape, data: props.data, exemplars: props.exemplars };
    if (before.shape !== shape) return; // made just now, with this data
    if (before.data !== props.data) plot.current?.setData(dataOf(props));
    else if (before.exemplars !== props.exemplars) plot.current?.redraw(false);
  }, [shape, props.data, props.heat, props.exemplars]);

  const toggle = (i: number, alone: boolean) => {
    const all = props.data.lines.map((_, line) => line);
    let next = new Set(hidden);
    if (alone) next = hidden.size === all.length - 1 && !hidden.has(i) ? new Set() : new Set(all.filter((line) => line !== i));
    else if (!next.delete(i)) next.add(i);
    setHidden(next);
    plot.current?.batch(() => all.forEach((line) => plot.current?.setSeries(line + 1, { show: !next.has(line) })));
  };
  return (
    <div class="graph">
      <div class="canvas" ref={holder} role="img" aria-label={describe(props)} />
      {heated ? <HeatLegend heat={props.heat!} index={index} /> : <Legend {...props} index={index} hidden={hidden} toggle={toggle} />}
    </div>
  );
}

function describe({ data, heat, mode }: Props): string {
  if (mode === "heatmap" && heat) return `Heatmap of ${heat.rows.length} buckets over time`;
  return `Graph of ${data.lines.length} series over time; their values are listed below`;
}

function HeatLegend({ heat, index }: { heat: Heat; index: number | null }) {
  return (
    <p class="legend-note">
      {index === null
        ? `${heat.rows.length} buckets by upper bound; the strongest cell is ${short(heat.most)}. Point at the graph to read a moment.`
        : heat.rows.map((row, r) => [row, heat.cells[r]![index]] as const).filter(([, value]) => value).map(([row, value]) => `≤ ${row}: ${short(value!)}`).join("   ")}
    </p>
  );
}

function Legend(props: Props & { index: number | null; hidden: ReadonlySet<number>; toggle: (i: number, alone: boolean) => void }) {
  const { data, index, hidden, toggle } = props;
  const [all, showAll] = useState(false);
  const common = useMemo(() => commonLabels(data.lines.map((line) => line.labels)), [data]);
  const without = useMemo(() => new Set(Object.keys(common)), [common]);
  const bare = data.lines.length > 1 && data.lines.some((line) => Object.keys(line.labels).length > without.size);
  const texts = useMemo(() => data.lines.map(({ labels }) => ({ whole: seriesName(labels), own: bare ? seriesName(labels, without) : seriesName(labels) })), [data]);
  // The same nodes as before are passed over when only something else on the page changes.
  const rows = useMemo(() => {
    const lines = all ? data.lines : data.lines.slice(0, LEGEND_SHOWN);
    return lines.map((line, i) => (
      <li>
        <button
          type="button" aria-pressed={!hidden.has(i)} title={`${texts[i]!.whole}\nClick to show only this, Ctrl-click to hide it`}
          onClick={(event) => toggle(i, !(event.ctrlKey || event.metaKey || event.shiftKey))}
        >
          <i class="swatch" style={{ background: `var(${hue(i)})` }} />
          <code>{texts[i]!.own}</code>
          <output>{valueAt(line, index)}</output>
        </button>
      </li>
    ));
  }, [data, index, hidden, all]);
  return (
    <div class="legend-block">
      {bare && without.size > 0 && <p class="common">All: <code>{seriesName(common)}</code></p>}
      <ul class="series">
        {rows}
      </ul>
      {data.lines.length > LEGEND_SHOWN && (
        <button type="button" class="plain" onClick={() => showAll(!all)}>{all ? "Fewer" : `All ${data.lines.length} series`}</button>
      )}
      {props.exemplars.length > 0 && <Exemplars exemplars={props.exemplars} />}
    </div>
  );
}

function last(values: Values): number | null {
  for (let i = values.length - 1; i >= 0; i -= 1) if (values[i] !== null) return values[i]!;
  return null;
}

function valueAt(line: Line, index: number | null): string {
  const value = index === null ? last(line.values) : line.values[index];
  return value === null || value === undefined ? "–" : full(Number(value.toPrecision(6)));
}

function Exemplars({ exemplars }: { exemplars: Exemplar[] }) {
  return (
    <details>
      <summary>{exemplars.length} exemplars</summary>
      <table>
        <thead><tr><th>time</th><th class="number">value</th><th>labels</th></tr></thead>
        <tbody>
          {exemplars.slice(0, 100).map((one) => (
            <tr>
              <td>{new Date(one.at * 1000).toISOString().slice(11, 23)}</td>
              <td class="number">{full(one.value)}</td>
              <td class="wrap">{labelPairs(one.labels).map(([name, value]) => `${name}=${value}`).join(" ")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
