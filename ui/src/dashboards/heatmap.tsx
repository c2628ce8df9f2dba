// Heatmaps on a canvas of their own: cells of time and bucket, a scale below.
import { useEffect, useRef, useState } from "preact/hooks";

import { useBox } from "./box";
import type { HeatmapDrawing } from "./contract";
import { moment, write } from "./format";
import { onTheme, token } from "./theme";

const AXIS = { left: 62, bottom: 22, top: 6, right: 8 };

function colourOf(drawing: HeatmapDrawing, value: number): string {
  const share = Math.min(1, Math.max(0, (value - drawing.low) / (drawing.high - drawing.low || 1)));
  return drawing.colours[Math.min(drawing.colours.length - 1, Math.floor(share ** drawing.exponent * drawing.colours.length))]!;
}

export function Heatmap({ drawing }: { drawing: HeatmapDrawing }) {
  const holder = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useBox(holder);
  const [tip, setTip] = useState<{ x: number; y: number; t: number; b: number } | null>(null);
  const [themed, retheme] = useState(0);
  useEffect(() => onTheme(() => retheme((n) => n + 1)), []);
  const [width, height] = [box.width - AXIS.left - AXIS.right, box.height - AXIS.top - AXIS.bottom];
  const span = drawing.to - drawing.from || 1;
  const step = drawing.step || (drawing.times.length > 1 ? drawing.times[1]! - drawing.times[0]! : span);
  const xOf = (time: number) => AXIS.left + ((time - drawing.from) / span) * width;
  const cell = height / Math.max(1, drawing.labels.length);

  useEffect(() => {
    const element = canvas.current!;
    const ratio = window.devicePixelRatio || 1;
    element.width = box.width * ratio;
    element.height = box.height * ratio;
    const ctx = element.getContext("2d");
    if (!ctx || width < 10 || height < 10) return;
    ctx.scale(ratio, ratio);
    ctx.clearRect(0, 0, box.width, box.height);
    const gap = Math.min(drawing.gap, cell / 3);
    ctx.save();
    ctx.beginPath();
    ctx.rect(AXIS.left, AXIS.top, width, height);
    ctx.clip();
    drawing.counts.forEach((row, b) => {
      const y = AXIS.top + height - (b + 1) * cell;
      row.forEach((value, t) => {
        if (value === null) return;
        ctx.fillStyle = colourOf(drawing, value);
        const right = xOf(drawing.times[t]!);
        const left = xOf(drawing.times[t]! - step);
        ctx.fillRect(left, y + gap / 2, Math.max(1, right - left - gap), Math.max(1, cell - gap));
      });
    });
    ctx.restore();
    ctx.fillStyle = token("--muted", element);
    ctx.font = "11px system-ui, sans-serif";
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    const every = Math.max(1, Math.ceil(16 / cell));
    drawing.labels.forEach((label, b) => {
      if (b % every === 0) ctx.fillText(label, AXIS.left - 6, AXIS.top + height - (b + 0.5) * cell, AXIS.left - 8);
    });
    ctx.textAlign = "center";
    const ticks = Math.max(2, Math.floor(width / 90));
    for (let i = 0; i <= ticks; i++) {
      const at = drawing.from + (span * i) / ticks;
      ctx.fillText(moment(at, span), Math.min(box.width - 20, Math.max(AXIS.left, xOf(at))), box.height - 10);
    }
  }, [drawing, box.width, box.height, themed]);

  const point = (event: MouseEvent) => {
    const place = canvas.current!.getBoundingClientRect();
    const [x, y] = [event.clientX - place.left, event.clientY - place.top];
    const at = drawing.from + ((x - AXIS.left) / width) * span;
    const t = drawing.times.findIndex((time) => at <= time && at > time - step);
    const b = Math.floor((AXIS.top + height - y) / cell);
    setTip(t >= 0 && b >= 0 && b < drawing.labels.length && drawing.counts[b]![t] !== null ? { x, y, t, b } : null);
  };
  return (
    <div class="wt-chart wt-bottom">
      <div class="wt-plot" ref={holder}>
        <canvas ref={canvas} class="wt-canvas" onMouseMove={point} onMouseLeave={() => setTip(null)} role="img" aria-label={`Heatmap of ${drawing.labels.length} buckets`} />
        {tip && (
          <div class="wt-tip" style={{ top: `${tip.y}px`, ...(tip.x > box.width / 2 ? { right: `${box.width - tip.x + 12}px` } : { left: `${tip.x + 12}px` }) }}>
            <b>{new Date(drawing.times[tip.t]! * 1000).toLocaleString("sv-SE")}</b>
            <div><i style={{ background: colourOf(drawing, drawing.counts[tip.b]![tip.t]!) }} /><span>{drawing.labels[tip.b]}</span><output>{write(drawing.format, drawing.counts[tip.b]![tip.t])}</output></div>
          </div>
        )}
      </div>
      {drawing.legend && (
        <div class="wt-scale">
          <span>{write(drawing.format, drawing.low)}</span>
          <i style={{ backgroundImage: `linear-gradient(90deg, ${drawing.colours.join(", ")})` }} />
          <span>{write(drawing.format, drawing.high)}</span>
        </div>
      )}
    </div>
  );
}
