// Bar charts over categories, and histograms, in SVG.
import { useRef, useState } from "preact/hooks";

import { useBox } from "./box";
import type { BarDrawing, Format, HistogramDrawing } from "./contract";
import { write } from "./format";
import { Legend } from "./legend";

interface Bar {
  label: string;
  colour: string;
  fill: number;
  from: number;
  to: number;
  slot: [number, number]; // share of the category's width
  text: string;
}

interface Group {
  name: string;
  bars: Bar[];
}

function niceTicks(low: number, high: number, most: number): number[] {
  const raw = (high - low || 1) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999) ?? raw;
  const ticks: number[] = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6 && ticks.length < 30; v += step) ticks.push(v);
  return ticks;
}

function Chart({ groups, format, horizontal, showText, rotation, names }: { groups: Group[]; format: Format; horizontal: boolean; showText: boolean; rotation: number; names: (index: number) => string | null }) {
  const holder = useRef<HTMLDivElement>(null);
  const box = useBox(holder);
  const bars = groups.flatMap((g) => g.bars);
  const low = Math.min(0, ...bars.map((b) => Math.min(b.from, b.to)));
  const high = Math.max(...bars.map((b) => Math.max(b.from, b.to)), low + 1e-9);
  const longest = Math.max(...groups.map((_, i) => (names(i) ?? "").length), 1);
  const values = niceTicks(low, high, horizontal ? box.width / 90 : box.height / 40);
  const room = Math.max(...values.map((v) => write(format, v).length), 1) * 6.4 + 8;
  const side = horizontal ? Math.min(box.width * 0.4, longest * 6.4 + 10) : room;
  const foot = horizontal ? 20 : rotation ? Math.min(box.height * 0.4, longest * 5) + 8 : 20;
  const [width, height] = [box.width - side - 8, box.height - foot - (showText ? 16 : 6)];
  const slot = (horizontal ? height : width) / Math.max(1, groups.length);
  const at = (v: number) => ((v - low) / (high - low || 1)) * (horizontal ? width : height);
  const top = box.height - foot;
  const every = horizontal ? Math.ceil(14 / slot) : Math.ceil((rotation ? 16 : Math.min(longest, 18) * 6.6) / slot);
  return (
    <div class="wt-plot" ref={holder}>
      {box.width > 0 && height > 5 && (
        <svg width={box.width} height={box.height} role="img" aria-label={`${bars.length} bars`}>
          {values.map((v) => horizontal
            ? <g><line class="wt-gridline" x1={side + at(v)} x2={side + at(v)} y1={4} y2={top} /><text class="wt-tick" x={side + at(v)} y={box.height - 5} text-anchor="middle">{write(format, v)}</text></g>
            : <g><line class="wt-gridline" x1={side} x2={box.width - 8} y1={top - at(v)} y2={top - at(v)} /><text class="wt-tick" x={side - 5} y={top - at(v) + 4} text-anchor="end">{write(format, v)}</text></g>)}
          {groups.map((group, g) => (
            <g>
              {group.bars.map((b) => {
                const [start, end] = [Math.min(b.from, b.to), Math.max(b.from, b.to)];
                const place = (horizontal ? 4 : side) + g * slot + b.slot[0] * slot;
                const thick = Math.max(0.5, (b.slot[1] - b.slot[0]) * slot);
                const long = Math.max(0, at(end) - at(start));
                const rect = horizontal ? { x: side + at(start), y: place, width: long, height: thick } : { x: place, y: top - at(end), width: thick, height: long };
                return (
                  <g>
                    <rect {...rect} fill={b.colour} fill-opacity={b.fill} stroke={b.colour}><title>{`${group.name} ${b.label}: ${b.text}`}</title></rect>
                    {showText && b.text && (horizontal
                      ? <text class="wt-tick" x={Math.min(side + at(end) + 4, box.width - b.text.length * 6)} y={place + thick / 2 + 4}>{b.text}</text>
                      : thick > b.text.length * 5.4 && <text class="wt-tick" x={place + thick / 2} y={top - at(end) - 4} text-anchor="middle">{b.text}</text>)}
                  </g>
                );
              })}
              {g % every === 0 && names(g) !== null && (horizontal
                ? <text class="wt-tick" x={side - 6} y={4 + (g + 0.5) * slot + 4} text-anchor="end">{names(g)!.slice(0, Math.floor(side / 6))}</text>
                : <text class="wt-tick" x={side + (g + 0.5) * slot} y={top + 14} text-anchor={rotation ? "end" : "middle"} {...(rotation && { transform: `rotate(${-Math.abs(rotation)} ${side + (g + 0.5) * slot} ${top + 12})` })}>{names(g)!.slice(0, 30)}</text>)}
            </g>
          ))}
        </svg>
      )}
    </div>
  );
}

export function BarChart({ drawing }: { drawing: BarDrawing }) {
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const shown = drawing.series.map((series, index) => ({ series, index })).filter((s) => !hidden.has(s.index));
  const group = (category: string, c: number): Group => {
    const total = shown.reduce((sum, s) => sum + Math.abs(s.series.values[c] ?? 0), 0) || 1;
    let floor = 0;
    const edge = (1 - drawing.group_width) / 2;
    const each = drawing.group_width / Math.max(1, shown.length);
    const bars = shown.flatMap(({ series }, place): Bar[] => {
      const value = series.values[c] ?? null;
      if (value === null) return [];
      const own = drawing.stack === "percent" ? value / total : value;
      const from = drawing.stack ? floor : 0;
      floor += drawing.stack ? own : 0;
      const width = each * drawing.bar_width;
      const slot: [number, number] = drawing.stack ? [edge, 1 - edge] : [edge + place * each, edge + place * each + width];
      return [{ label: series.label, colour: series.colour, fill: series.fill, from, to: from + own, slot, text: series.texts[c] ?? "" }];
    });
    return { name: category, bars };
  };
  const format: Format = drawing.stack === "percent" ? { kind: "fixed", factor: 100, prefix: "", suffix: "%", decimals: null } : drawing.axis.format;
  const toggle = (index: number) => {
    const next = new Set(hidden);
    if (!next.delete(index)) next.add(index);
    setHidden(next);
  };
  return (
    <div class={`wt-chart wt-${drawing.legend.side}`}>
      <Chart groups={drawing.categories.map(group)} format={format} horizontal={drawing.horizontal} showText={drawing.show_values !== "never"} rotation={drawing.rotation} names={(i) => drawing.categories[i] ?? null} />
      <Legend setting={drawing.legend} hidden={hidden} toggle={toggle} entries={drawing.series.map((s, index) => ({ index, label: s.label, colour: s.colour, calcs: s.calcs }))} />
    </div>
  );
}

const COUNT: Format = { kind: "number", style: "locale", decimals: null };

export function Histogram({ drawing }: { drawing: HistogramDrawing }) {
  const buckets = drawing.edges.length - 1;
  const groups = Array.from({ length: buckets }, (_, b): Group => ({
    name: `${write(drawing.format, drawing.edges[b])} – ${write(drawing.format, drawing.edges[b + 1])}`,
    bars: drawing.series.filter((s) => s.counts[b]).map((s) => ({ label: s.label, colour: s.colour, fill: s.fill / Math.sqrt(drawing.series.length), from: 0, to: s.counts[b]!, slot: [0.02, 0.98], text: String(s.counts[b]) })),
  }));
  return (
    <div class={`wt-chart wt-${drawing.legend.side}`}>
      <Chart groups={groups} format={COUNT} horizontal={false} showText={false} rotation={0} names={(i) => write(drawing.format, drawing.edges[i])} />
      <Legend setting={{ ...drawing.legend, calcs: [] }} hidden={new Set()} entries={drawing.series.map((s, index) => ({ index, label: s.label, colour: s.colour, calcs: [] }))} />
    </div>
  );
}
