// Panels of single values: stat, gauge, bar gauge, pie chart. Texts and colours are given; only sizes are found here.
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";

import { cells, useBox } from "./box";
import type { BarGaugeDrawing, GaugeDrawing, Link, PieDrawing, StatDrawing, StatItem } from "./contract";
import { Legend } from "./legend";

/** A value, linked where there is exactly one place to go. */
export function Linked({ links, children }: { links: Link[]; children: ComponentChildren }) {
  const link = links[0];
  if (!link) return <>{children}</>;
  return <a class="wt-linked" href={link.url} title={link.title} {...(link.new_tab && { target: "_blank", rel: "noopener noreferrer" })}>{children}</a>;
}

function fontSize(texts: string[], width: number, height: number, most: number): number {
  const longest = Math.max(1, ...texts.map((text) => text.length));
  return Math.max(11, Math.min(most, height, width / (longest * 0.66)));
}

/** Black or white, whichever reads on the colour. */
export function inkOn(colour: string): string {
  const digits = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/i.exec(colour);
  if (!digits) return "inherit";
  const [r, g, b] = digits.slice(1).map((d) => parseInt(d, 16)) as [number, number, number];
  return 0.299 * r + 0.587 * g + 0.114 * b > 150 ? "#17191c" : "#ffffff";
}

function Spark({ item, line, width, height }: { item: StatItem; line: boolean; width: number; height: number }) {
  const spark = item.spark;
  if (!spark || spark.times.length < 2 || width < 20) return null;
  const [t0, t1] = [spark.times[0]!, spark.times.at(-1)!];
  const span = spark.max - spark.min || 1;
  const points: string[] = [];
  spark.values.forEach((v, i) => {
    if (v === null) return;
    const x = ((spark.times[i]! - t0) / (t1 - t0 || 1)) * width;
    const y = height - 1 - Math.min(1, Math.max(0, (v - spark.min) / span)) * (height - 3);
    points.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  });
  if (points.length < 2) return null;
  const colour = item.background ? inkOn(item.colour) : item.colour || "currentColor";
  const [first, last] = [points[0]!.split(",")[0], points.at(-1)!.split(",")[0]];
  return (
    <svg class="wt-spark" viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden="true">
      {!line && <polygon points={`${first},${height} ${points.join(" ")} ${last},${height}`} fill={colour} opacity="0.25" />}
      <polyline points={points.join(" ")} fill="none" stroke={colour} stroke-width="1.3" />
    </svg>
  );
}

export function Stat({ drawing }: { drawing: StatDrawing }) {
  const holder = useRef<HTMLDivElement>(null);
  const box = useBox(holder);
  const { items } = drawing;
  const { columns, rows } = cells(items.length, box, drawing.orientation === "horizontal" ? "auto" : drawing.orientation, 2.2);
  const [width, height] = [box.width / columns, box.height / rows];
  const named = drawing.text_mode === "value_and_name" || drawing.text_mode === "name" || (drawing.text_mode === "auto" && items.length > 1);
  const valued = drawing.text_mode !== "name" && drawing.text_mode !== "none";
  const beside = drawing.wide && width > height * 2.5 && named && height < 90;
  const size = drawing.value_size ?? fontSize(items.map((i) => i.text), (beside ? width * 0.5 : width) - 20, height * (named && !beside ? 0.36 : 0.5), 60);
  const titleSize = drawing.title_size ?? Math.max(10, Math.min(18, height * 0.16));
  return (
    <div class="wt-cells" ref={holder} style={{ gridTemplateColumns: `repeat(${columns}, 1fr)`, gridTemplateRows: `repeat(${rows}, 1fr)` }}>
      {box.width > 0 && items.map((item) => {
        const ink = item.background ? inkOn(item.colour) : "";
        return (
          <div class={`wt-stat ${drawing.justify === "center" || (drawing.justify === "auto" && items.length === 1) ? "centre" : ""} ${beside ? "beside" : ""}`} style={item.background ? { background: item.colour, color: ink } : {}}>
            {drawing.graph !== "none" && <Spark item={item} line={drawing.graph === "line"} width={Math.floor(width)} height={Math.max(14, Math.floor(height * 0.38))} />}
            <Linked links={item.links}>
              {named && <span class="wt-title" style={{ fontSize: `${titleSize}px` }}>{item.title}</span>}
              {valued && <b style={{ fontSize: `${size}px`, ...(item.colour_text && item.colour ? { color: item.colour } : {}) }}>{item.text}</b>}
              {item.change && <small style={item.change_colour ? { color: item.change_colour } : {}}>{item.change}</small>}
            </Linked>
          </div>
        );
      })}
    </div>
  );
}

function arc(cx: number, cy: number, r: number, from: number, to: number): string {
  const at = (share: number) => {
    const angle = share * 2 * Math.PI;
    return `${(cx + r * Math.cos(angle)).toFixed(2)} ${(cy + r * Math.sin(angle)).toFixed(2)}`;
  };
  return `M ${at(from)} A ${r} ${r} 0 ${to - from > 0.5 ? 1 : 0} 1 ${at(to)}`;
}

export function Gauge({ drawing }: { drawing: GaugeDrawing }) {
  const holder = useRef<HTMLDivElement>(null);
  const box = useBox(holder);
  const { items } = drawing;
  const { columns, rows } = cells(items.length, box, drawing.orientation === "auto" ? "auto" : drawing.orientation === "vertical" ? "horizontal" : "vertical", 1.25);
  // Shares of a turn, clockwise from the right: a circle begins at the top, a gauge leaves its bottom open.
  const [start, sweep] = drawing.shape === "circle" ? [0.75, 0.9999] : [0.35, 0.8];
  const [width, height] = [box.width / columns, box.height / rows];
  const titled = items.length > 1;
  const size = Math.max(30, Math.min(width, (height - (titled ? 20 : 0)) * 1.12) - 8);
  const centre = size / 2;
  const outer = centre * 0.94;
  const thick = outer * 0.22;
  const at = (share: number) => start + share * sweep;
  return (
    <div class="wt-cells" ref={holder} style={{ gridTemplateColumns: `repeat(${columns}, 1fr)`, gridTemplateRows: `repeat(${rows}, 1fr)` }}>
      {box.width > 0 && items.map((item) => (
        <div class="wt-gauge">
          <Linked links={item.links}>
            <svg width={size} height={size * (drawing.shape === "circle" ? 1 : 0.86)} viewBox={`0 0 ${size} ${size * (drawing.shape === "circle" ? 1 : 0.86)}`} role="img" aria-label={`${item.title} ${item.text}`}>
              {drawing.markers && item.steps.map((s) => <path d={arc(centre, centre, outer, at(s.from), at(s.to))} fill="none" stroke={s.colour} stroke-width={Math.max(2, thick * 0.16)} />)}
              <path d={arc(centre, centre, outer - thick * 0.72, at(0), at(1))} fill="none" class="wt-track" stroke-width={thick} />
              {item.percent > 0 && <path d={arc(centre, centre, outer - thick * 0.72, at(0), at(item.percent))} fill="none" stroke={item.colour || "currentColor"} stroke-width={thick} />}
              {drawing.labels && item.steps.filter((s) => s.label).map((s) => {
                const angle = at(s.from) * 2 * Math.PI;
                const r = outer - thick * 1.65;
                return <text x={centre + r * Math.cos(angle)} y={centre + r * Math.sin(angle)} class="wt-tick" text-anchor="middle">{s.label}</text>;
              })}
              <text x={centre} y={centre + size * 0.05} text-anchor="middle" font-size={fontSize([item.text], size * 0.58, size * 0.24, 44)} font-weight="600" fill={item.colour || "currentColor"}>{item.text}</text>
            </svg>
            {titled && <span class="wt-title">{item.title}</span>}
          </Linked>
        </div>
      ))}
    </div>
  );
}

export function BarGauge({ drawing }: { drawing: BarGaugeDrawing }) {
  const holder = useRef<HTMLDivElement>(null);
  const box = useBox(holder);
  const upright = drawing.orientation === "vertical";
  const bar = (item: BarGaugeDrawing["items"][number]) => {
    const share = `${item.percent * 100}%`;
    const stops = item.steps.map((s) => `${s.colour} ${s.from * 100}%, ${s.colour} ${s.to * 100}%`).join(", ");
    const full = upright ? { height: share } : { width: share };
    const paint = drawing.mode === "gradient" && item.steps.length > 1
      ? { backgroundImage: `linear-gradient(${upright ? "0deg" : "90deg"}, ${stops})`, backgroundSize: upright ? `100% ${100 / Math.max(0.01, item.percent)}%` : `${100 / Math.max(0.01, item.percent)}% 100%`, backgroundPosition: upright ? "bottom" : "left" }
      : { background: item.colour || "currentColor" };
    return <span class={`wt-bar ${drawing.mode} ${drawing.unfilled ? "" : "bare"}`}><i style={{ ...full, ...paint }} /></span>;
  };
  return (
    <div class={`wt-bars ${upright ? "upright" : ""} ${drawing.names === "left" || (drawing.names === "auto" && box.height / drawing.items.length < 42) ? "inline" : ""}`} ref={holder}>
      {drawing.items.map((item) => (
        <div>
          <Linked links={item.links}>
            {drawing.names !== "hidden" && (drawing.items.length > 1 || drawing.names !== "auto") && <span class="wt-title" title={item.title}>{item.title}</span>}
            {bar(item)}
            {drawing.values !== "hidden" && <b style={drawing.values === "color" && item.colour ? { color: item.colour } : {}}>{item.text}</b>}
          </Linked>
        </div>
      ))}
    </div>
  );
}

export function Pie({ drawing }: { drawing: PieDrawing }) {
  const holder = useRef<HTMLDivElement>(null);
  const box = useBox(holder);
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const size = Math.max(40, Math.min(box.width, box.height) - 8);
  const r = size / 2;
  const total = drawing.items.reduce((sum, item, i) => (hidden.has(i) ? sum : sum + item.share), 0) || 1;
  let before = -0.25;
  const slices = drawing.items.map((item, index) => {
    const share = hidden.has(index) ? 0 : item.share / total;
    const slice = { item, index, from: before, to: before + share, share };
    before += share;
    return slice;
  });
  const path = (from: number, to: number) => {
    if (to - from > 0.9999) to = from + 0.9999;
    const inner = drawing.donut ? r * 0.6 : 0;
    const point = (radius: number, share: number) => `${(r + radius * Math.cos(share * 2 * Math.PI)).toFixed(2)} ${(r + radius * Math.sin(share * 2 * Math.PI)).toFixed(2)}`;
    const large = to - from > 0.5 ? 1 : 0;
    return `M ${point(r, from)} A ${r} ${r} 0 ${large} 1 ${point(r, to)} L ${point(inner, to)} ${inner ? `A ${inner} ${inner} 0 ${large} 0 ${point(inner, from)}` : ""} Z`;
  };
  const words = (item: PieDrawing["items"][number]) => drawing.labels.map((l) => (l === "name" ? item.title : l === "value" ? item.text : item.percent_text)).join(" ");
  const toggle = (index: number, alone: boolean) => {
    const others = drawing.items.map((_, i) => i).filter((i) => i !== index);
    if (!alone) {
      const next = new Set(hidden);
      if (!next.delete(index)) next.add(index);
      return setHidden(next);
    }
    setHidden(others.every((i) => hidden.has(i)) ? new Set() : new Set(others));
  };
  const entries = drawing.items.map((item, index) => ({
    index, label: item.title, colour: item.colour, calcs: [],
    extra: drawing.legend_values.map((v) => (v === "value" ? item.text : item.percent_text)),
  }));
  return (
    <div class={`wt-chart wt-${drawing.legend.side}`}>
      <div class="wt-plot wt-pie" ref={holder}>
        {box.width > 0 && (
          <svg width={size} height={size} viewBox={`0 0 ${size} ${size}`} role="img" aria-label={drawing.items.map((i) => `${i.title} ${i.percent_text}`).join(", ")}>
            {slices.filter((s) => s.share > 0).map((s) => (
              <path d={path(s.from, s.to)} fill={s.item.colour} stroke="var(--paper)" stroke-width="1"><title>{`${s.item.title}: ${s.item.text} (${s.item.percent_text})`}</title></path>
            ))}
            {drawing.labels.length > 0 && slices.filter((s) => s.share > 0.04).map((s) => {
              const angle = (s.from + s.to) * Math.PI;
              const away = r * (drawing.donut ? 0.8 : 0.66);
              return <text x={r + away * Math.cos(angle)} y={r + away * Math.sin(angle)} text-anchor="middle" class="wt-slice" fill={inkOn(s.item.colour)}>{words(s.item)}</text>;
            })}
          </svg>
        )}
      </div>
      <Legend setting={{ ...drawing.legend, calcs: [], table: false }} entries={entries} hidden={hidden} toggle={toggle} />
    </div>
  );
}
