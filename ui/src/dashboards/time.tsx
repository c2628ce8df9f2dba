// Time series with uPlot: lines, bars, points, stacks, axes by unit, thresholds, a tooltip that all panels share.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

import type { Annotation, Axis, Exemplar, Series, TimeDrawing } from "./contract";
import { moment, write } from "./format";
import { Legend } from "./legend";
import { stacked } from "./stack";
import { faded, onTheme, token } from "./theme";

export interface TimeProps {
  drawing: TimeDrawing;
  cursor: string; // "" for its own, else the key that panels share
  annotations?: Annotation[];
  onZoom?: ((from: number, to: number) => void) | undefined;
}

const FONT = "11px system-ui, sans-serif";

function scaleOf(axis: Axis): uPlot.Scale {
  const log = axis.scale === "log";
  return {
    distr: log ? 3 : axis.scale === "symlog" ? 4 : 1,
    ...(log && { log: axis.base === 2 ? 2 : 10 }),
    ...(axis.scale === "symlog" && { asinh: axis.base || 1 }),
    range: (_u, low, high) => {
      if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) [low, high] = log ? [1, 10] : [0, 1];
      if (axis.soft_min !== null) low = Math.min(low, axis.soft_min);
      if (axis.soft_max !== null) high = Math.max(high, axis.soft_max);
      if (axis.centred_zero) high = Math.max(Math.abs(low), Math.abs(high)), (low = -high);
      let [from, to]: [number, number] = [low, high];
      if (log) {
        from = axis.min ?? 10 ** Math.floor(Math.log10(Math.max(low, 1e-12)));
        to = axis.max ?? 10 ** Math.ceil(Math.log10(Math.max(high, 1e-11)));
        return [Math.max(from, 1e-12), to > from ? to : from * 10];
      }
      const span = high - low;
      const pad = span ? span * 0.1 : Math.abs(high) * 0.1 || 1;
      if (!axis.centred_zero) {
        from = low >= 0 && low - pad < 0 ? 0 : low < 0 || low - pad > 0 ? low - pad : low;
        to = high <= 0 && high + pad > 0 ? 0 : high + pad;
      }
      return [axis.min ?? from, axis.max ?? (to > (axis.min ?? from) ? to : (axis.min ?? from) + 1)];
    },
  };
}

function pathsOf(s: Series): uPlot.Series.PathBuilder | null {
  const { linear, stepped, spline, bars, points } = uPlot.paths;
  if (s.draw === "bars") return bars!({ size: [s.bar_width, 60], align: s.bar_align as -1 | 0 | 1 });
  if (s.draw === "points") return points ? () => null : null;
  switch (s.interpolation) {
    case "smooth":
      return spline!();
    case "stepBefore":
      return stepped!({ align: -1 });
    case "stepAfter":
      return stepped!({ align: 1 });
    default:
      return linear!();
  }
}

function fillOf(s: Series): uPlot.Series.Fill | null {
  if (s.fill <= 0 || s.draw === "points") return null;
  if (s.gradient === "opacity" || s.gradient === "hue") {
    return (u) => {
      const { top, height } = u.bbox;
      if (!height) return faded(s.colour, s.fill);
      const gradient = u.ctx.createLinearGradient(0, top, 0, top + height);
      gradient.addColorStop(0, faded(s.colour, s.fill));
      gradient.addColorStop(1, faded(s.colour, 0.02));
      return gradient;
    };
  }
  return faded(s.colour, s.fill);
}

function seriesOf(s: Series, index: number, now: () => TimeDrawing, hidden: ReadonlySet<number>): uPlot.Series {
  const spans = s.span_gaps;
  const fill = fillOf(s);
  const paths = pathsOf(s);
  return {
    label: s.label,
    scale: s.axis,
    show: !hidden.has(index) && !s.hide.viz,
    stroke: s.colour,
    width: s.draw === "points" ? 0 : s.width,
    ...(s.dash.length && { dash: s.dash }),
    ...(fill && { fill }),
    ...(paths && { paths }),
    spanGaps: spans === true,
    ...(typeof spans === "number" && { gaps: (u, i, _a, _b, gaps) => gaps.filter(([x0, x1]) => (u.posToVal(x1, "x", true) - u.posToVal(x0, "x", true)) * 1000 > spans && i >= 0) }),
    points: {
      show: () => s.draw === "points" || s.points === "always" || (s.points === "auto" && now().times.length < 60 && s.draw === "line" && lonely(now().series[index]!.values)),
      size: s.point_size,
      fill: s.colour,
    },
  };
}

/** Whether some value has no neighbour, so that a line alone would not show it. */
function lonely(values: (number | null)[]): boolean {
  return values.some((v, i) => v !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null);
}

function bandsOf(drawing: TimeDrawing, below: number[]): uPlot.Band[] {
  const bands: uPlot.Band[] = [];
  drawing.series.forEach((s, i) => {
    const fill = faded(s.colour, s.fill || 0);
    if (below[i]! >= 0 && s.draw === "line" && s.fill > 0) bands.push({ series: [i + 1, below[i]! + 1], fill });
    const other = s.fill_below_to ? drawing.series.findIndex((o) => o.label === s.fill_below_to) : -1;
    if (other >= 0) bands.push({ series: [i + 1, other + 1], fill: faded(s.colour, s.fill || 0.35) });
  });
  return bands;
}

function drawThresholds(u: uPlot, drawing: TimeDrawing): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const mark of drawing.thresholds) {
    if (!u.scales[mark.axis]) continue;
    const at = (v: number | null, edge: number) => (v === null ? edge : u.valToPos(v, mark.axis, true));
    if (mark.area) {
      const [high, low] = [at(mark.until, bbox.top), at(mark.value, bbox.top + bbox.height)];
      ctx.fillStyle = faded(mark.colour, 0.1);
      ctx.fillRect(bbox.left, high, bbox.width, low - high);
    }
    if (mark.line && mark.value !== null) {
      const y = Math.round(at(mark.value, 0)) + 0.5;
      ctx.strokeStyle = mark.colour;
      ctx.lineWidth = uPlot.pxRatio;
      ctx.setLineDash(mark.dashed ? [8, 6] : []);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
  }
  ctx.restore();
}

const NEAR = 7; // pixels within which the pointer means a mark

function drawAnnotations(u: uPlot, annotations: Annotation[]): void {
  const { ctx, bbox } = u;
  const tip = 5 * uPlot.pxRatio;
  ctx.save();
  ctx.lineWidth = uPlot.pxRatio;
  for (const mark of annotations) {
    const x = Math.round(u.valToPos(mark.time, "x", true)) + 0.5;
    const end = mark.end === null ? x : Math.round(u.valToPos(mark.end, "x", true)) + 0.5;
    const [left, right] = [Math.max(x, bbox.left), Math.min(end, bbox.left + bbox.width)];
    if (right < left) continue;
    const foot = bbox.top + bbox.height;
    ctx.fillStyle = faded(mark.colour, 0.12);
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.strokeStyle = ctx.fillStyle = mark.colour;
    ctx.setLineDash([4 * uPlot.pxRatio, 4 * uPlot.pxRatio]);
    ctx.beginPath();
    for (const at of end > x ? [x, end] : [x]) if (at >= left && at <= right) ctx.moveTo(at, bbox.top), ctx.lineTo(at, foot);
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(left - tip, foot);
    ctx.lineTo(left, foot - tip);
    ctx.lineTo(right, foot - tip);
    ctx.lineTo(right + tip, foot);
    ctx.fill();
  }
  ctx.restore();
}

function place(u: uPlot, drawing: TimeDrawing, one: Exemplar, onCanvas: boolean): [x: number, y: number] | null {
  const axis = drawing.series.find((s) => u.scales[s.axis])?.axis;
  const scale = axis ? u.scales[axis] : undefined;
  if (!axis || scale?.min == null || scale.max == null) return null;
  // What lies outside of the axis stands on its edge, as it may be far off: the slowest of all requests.
  const value = Math.min(Math.max(one.value, scale.min), scale.max);
  return [u.valToPos(one.time, "x", onCanvas), u.valToPos(value, axis, onCanvas)];
}

function drawExemplars(u: uPlot, drawing: TimeDrawing, colour: string): void {
  const { ctx } = u;
  const size = 4 * uPlot.pxRatio;
  ctx.save();
  ctx.fillStyle = colour;
  for (const one of drawing.exemplars) {
    const at = place(u, drawing, one, true);
    if (!at || at[0] < u.bbox.left || at[0] > u.bbox.left + u.bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(at[0], at[1] - size);
    ctx.lineTo(at[0] + size, at[1]);
    ctx.lineTo(at[0], at[1] + size);
    ctx.lineTo(at[0] - size, at[1]);
    ctx.fill();
  }
  ctx.restore();
}

function exemplarAt(u: uPlot, drawing: TimeDrawing, left: number, top: number): Exemplar | null {
  let [best, distance]: [Exemplar | null, number] = [null, NEAR];
  for (const one of drawing.exemplars) {
    const at = place(u, drawing, one, false);
    const away = at ? Math.hypot(at[0] - left, at[1] - top) : Infinity;
    if (away < distance) [best, distance] = [one, away];
  }
  return best;
}

function annotationsAt(u: uPlot, annotations: Annotation[], left: number): Annotation[] {
  const at = (seconds: number) => u.valToPos(seconds, "x");
  return annotations.filter((mark) => left >= at(mark.time) - NEAR && left <= at(mark.end ?? mark.time) + NEAR);
}

/** What lies after the newest whole step may still change. */
function shadeIncomplete(u: uPlot, drawing: TimeDrawing, colour: string): void {
  if (drawing.incomplete_from === null) return;
  const { left, top, width, height } = u.bbox;
  const from = Math.max(left, u.valToPos(drawing.incomplete_from, "x", true));
  if (from >= left + width) return;
  u.ctx.save();
  u.ctx.fillStyle = faded(colour, 0.12);
  u.ctx.fillRect(from, top, left + width - from, height);
  u.ctx.restore();
}

/** `now` gives what is shown: the plot outlives a refresh and is given the next data. */
function optionsOf(now: () => TimeProps, hidden: ReadonlySet<number>, below: number[], size: { width: number; height: number }, root: Element, onCursor: (u: uPlot) => void): uPlot.Options {
  const { drawing, cursor } = now();
  const ink = token("--muted", root);
  const grid = { stroke: token("--grid", root), width: 1 };
  const used = drawing.axes.filter((axis) => drawing.series.some((s) => s.axis === axis.key));
  let lefts = 0;
  const axes: uPlot.Axis[] = used.map((axis) => {
    const right = axis.side === "right";
    const first = !right && axis.side !== "hidden" && lefts++ === 0;
    return {
      scale: axis.key,
      side: right ? 1 : 3,
      show: axis.side !== "hidden",
      stroke: ink,
      font: FONT,
      size: (_u, values) => Math.ceil(Math.max(...(values ?? [""]).map((v) => (v ?? "").length)) * 6.2) + 14,
      gap: 4,
      grid: first || lefts === 0 ? grid : { show: false },
      ticks: { show: false },
      space: 28,
      ...(binary(axis) && { incrs: Array.from({ length: 61 }, (_, i) => 2 ** i) }),
      ...(axis.label && { label: axis.label, labelFont: FONT, labelSize: 16 }),
      values: (_u: uPlot, splits: number[]) => ticks(axis, splits),
    };
  });
  return {
    ...size,
    legend: { show: false },
    padding: [8, 22, 0, 4],
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      ...(cursor && { sync: { key: cursor, setSeries: false } }),
    },
    scales: {
      x: { time: true, range: () => [now().drawing.from, now().drawing.to] },
      ...Object.fromEntries(used.map((axis) => [axis.key, scaleOf(axis)])),
    },
    axes: [
      {
        stroke: ink, font: FONT, grid, ticks: { show: false }, size: 26, gap: 7, space: 76,
        values: (_u, splits) => splits.map((at) => moment(at, now().drawing.to - now().drawing.from)),
      },
      ...axes,
    ],
    series: [{}, ...drawing.series.map((s, i) => seriesOf(s, i, () => now().drawing, hidden))],
    bands: bandsOf(drawing, below),
    hooks: {
      drawClear: [(u) => (shadeIncomplete(u, now().drawing, ink), drawThresholds(u, now().drawing))],
      draw: [(u) => (drawAnnotations(u, now().annotations ?? []), drawExemplars(u, now().drawing, token("--exemplar", root)), performance.mark("panel-drawn"))],
      setCursor: [onCursor],
      setSelect: [
        (u) => {
          if (u.select.width > 6) now().onZoom?.(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

/** Whether ticks should stand at powers of two. */
function binary(axis: Axis): boolean {
  return axis.scale === "linear" && axis.format.kind === "scaled" && axis.format.factor === 1024;
}

/** Tick labels with as many decimals as tell neighbours apart. */
function ticks(axis: Axis, splits: number[]): string[] {
  const { format } = axis;
  if (axis.scale === "linear" && format.kind === "fixed" && format.decimals === null && splits.length > 1) {
    const step = Math.abs(splits[1]! - splits[0]!) * format.factor;
    const decimals = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
    return splits.map((v) => (v === null ? "" : write(format, v, decimals)));
  }
  return splits.map((v) => (v === null ? "" : write(format, v)));
}

interface Tip {
  left: number;
  top: number;
  index: number;
  focus: number;
  exemplar: Exemplar | null;
  marks: Annotation[];
}

function day(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString("sv-SE");
}

function Observation({ exemplar, format }: { exemplar: Exemplar; format: Series["format"] | undefined }) {
  const shown = { ...exemplar.labels, ...exemplar.series };
  return (
    <p class="wt-mark" style={{ borderColor: "var(--exemplar)" }}>
      <b>{format ? write(format, exemplar.value) : exemplar.value}</b> at {day(exemplar.time)}
      {Object.entries(shown).slice(0, 12).map(([name, value]) => <small>{name}: {value}</small>)}
    </p>
  );
}

function Tooltip({ tip, drawing, hidden, width }: { tip: Tip; drawing: TimeDrawing; hidden: ReadonlySet<number>; width: number }) {
  const rows = drawing.series
    .map((s, i) => ({ s, i, v: s.values[tip.index] ?? null }))
    .filter(({ s, i, v }) => !hidden.has(i) && !s.hide.tooltip && !s.hide.viz && v !== null && !(drawing.tooltip.hide_zeros && v === 0));
  const chosen = drawing.tooltip.mode === "single" ? rows.filter((r) => r.i === tip.focus) : rows;
  if (drawing.tooltip.sort !== "none") chosen.sort((a, b) => (drawing.tooltip.sort === "asc" ? 1 : -1) * (a.v! - b.v!));
  const at = drawing.times[tip.index];
  const { exemplar, marks } = tip;
  if (at === undefined || (!chosen.length && !exemplar && !marks.length)) return null;
  const leftward = tip.left > width / 2;
  return (
    <div class="wt-tip" style={{ top: `${Math.max(0, tip.top - 10)}px`, ...(leftward ? { right: `${width - tip.left + 14}px` } : { left: `${tip.left + 14}px` }) }}>
      {marks.slice(0, 5).map((mark) => (
        <p class="wt-mark" style={{ borderColor: mark.colour }}>
          <b>{mark.title}</b> {mark.text} {mark.tags.filter((tag) => !mark.title.startsWith(tag)).map((tag) => <code>{tag}</code>)}
          <small>{day(mark.time)}{mark.end !== null && ` – ${day(mark.end)}`}</small>
        </p>
      ))}
      {exemplar && <Observation exemplar={exemplar} format={drawing.series[0]?.format} />}
      <b>{day(at)}</b>
      {chosen.slice(0, 30).map(({ s, v, i }) => (
        <div key={i} class={i === tip.focus ? "focus" : ""}>
          <i style={{ background: s.colour }} />
          <span>{s.label}</span>
          <output>{s.mappings.find((m) => m.value === v)?.text ?? write(s.format, v)}</output>
        </div>
      ))}
      {chosen.length > 30 && <small>and {chosen.length - 30} more</small>}
    </div>
  );
}

function nearest(u: uPlot, drawing: TimeDrawing, drawn: (number | null)[][], index: number, top: number, hidden: ReadonlySet<number>): number {
  let [best, distance] = [-1, Infinity];
  drawing.series.forEach((s, i) => {
    const v = drawn[i]?.[index];
    if (v === null || v === undefined || hidden.has(i) || s.hide.viz || !u.scales[s.axis]) return;
    const away = Math.abs(u.valToPos(v, s.axis) - top);
    if (away < distance) [best, distance] = [i, away];
  });
  return best;
}

export function TimeSeries(props: TimeProps) {
  const { drawing } = props;
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const [tip, setTip] = useState<Tip | null>(null);
  const stack = useMemo(() => stacked(drawing.series, hidden), [drawing, hidden]);
  const shape = useRef("");
  const latest = useRef({ props, stack, hidden });
  latest.current = { props, stack, hidden };

  useLayoutEffect(() => {
    const element = holder.current!;
    const data = [drawing.times, ...stack.values] as uPlot.AlignedData;
    const now = JSON.stringify([drawing.axes, [...hidden], drawing.series.map((s) => [s.label, s.colour, s.axis, s.draw, s.fill, s.stack])]);
    if (plot.current && shape.current === now) {
      plot.current.setData(data);
      return;
    }
    shape.current = now;
    const size = () => ({ width: Math.max(40, element.clientWidth), height: Math.max(40, element.clientHeight) });
    const onCursor = (u: uPlot) => {
      const { props: { drawing: d, annotations = [] }, stack: s, hidden: h } = latest.current;
      const { left = -1, top = -1, idx } = u.cursor;
      if (left < 0 || idx === null || idx === undefined || d.tooltip.mode === "none" || !element.matches(":hover")) return setTip(null);
      setTip({ left: left + u.bbox.left / uPlot.pxRatio, top, index: idx, focus: nearest(u, d, s.values, idx, top, h), exemplar: exemplarAt(u, d, left, top), marks: annotationsAt(u, annotations, left) });
    };
    plot.current?.destroy();
    plot.current = new uPlot(optionsOf(() => latest.current.props, hidden, stack.below, size(), element, onCursor), data, element);
  }, [drawing, hidden, stack]);

  const marked = useRef(props.annotations);
  useLayoutEffect(() => {
    if (marked.current !== props.annotations) plot.current?.redraw(false);
    marked.current = props.annotations;
  }, [props.annotations]);

  useEffect(() => {
    const element = holder.current!;
    const fit = () => {
      const u = plot.current;
      const [width, height] = [element.clientWidth, element.clientHeight];
      if (u && width > 0 && height > 0 && (u.width !== width || u.height !== height)) u.setSize({ width, height });
    };
    const resize = new ResizeObserver(fit);
    resize.observe(element);
    const forget = onTheme(() => {
      const u = plot.current;
      if (!u) return;
      const ink = token("--muted", element);
      const grid = token("--grid", element);
      for (const axis of u.axes) (axis.stroke = () => ink), axis.grid && (axis.grid.stroke = () => grid);
      u.redraw(false, true);
    });
    return () => {
      resize.disconnect();
      forget();
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);

  const toggle = (index: number, alone: boolean) => {
    const all = drawing.series.map((_, i) => i);
    if (!alone) {
      const next = new Set(hidden);
      if (!next.delete(index)) next.add(index);
      return setHidden(next);
    }
    const only = all.filter((i) => i !== index);
    const already = only.every((i) => hidden.has(i)) && !hidden.has(index);
    setHidden(already ? new Set() : new Set(only));
  };
  const entries = drawing.series.map((s, index) => ({ index, label: s.label, colour: s.colour, calcs: s.calcs })).filter((e) => !drawing.series[e.index]!.hide.legend);
  return (
    <div class={`wt-chart wt-${drawing.legend.side}`}>
      <div class="wt-plot" ref={holder} role="img" aria-label={`${drawing.series.length} series: ${drawing.series.slice(0, 8).map((s) => s.label).join(", ")}`}>
        {tip && <Tooltip tip={tip} drawing={drawing} hidden={hidden} width={holder.current?.clientWidth ?? 400} />}
      </div>
      <Legend setting={drawing.legend} entries={entries} hidden={hidden} toggle={toggle} />
    </div>
  );
}
