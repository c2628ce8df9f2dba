// State timelines and status histories in SVG.
import { useRef } from "preact/hooks";

import { useBox } from "./box";
import type { StatesDrawing } from "./contract";
import { moment } from "./format";
import { inkOn } from "./single";

export function States({ drawing }: { drawing: StatesDrawing }) {
  const holder = useRef<HTMLDivElement>(null);
  const box = useBox(holder);
  const longest = Math.max(...drawing.rows.map((row) => row.label.length), 1);
  const left = Math.min(box.width * 0.35, longest * 6.4 + 12);
  const [width, height] = [box.width - left - 8, box.height - 22];
  const slot = Math.max(10, height / Math.max(1, drawing.rows.length));
  const span = drawing.to - drawing.from || 1;
  const x = (at: number) => left + Math.min(1, Math.max(0, (at - drawing.from) / span)) * width;
  const cells = drawing.draw === "status-history";
  const ticks = Math.max(1, Math.floor(width / 100));
  return (
    <div class="wt-chart wt-bottom">
      <div class="wt-plot wt-scrolls" ref={holder}>
        {box.width > 0 && (
          <svg width={box.width} height={Math.max(box.height, slot * drawing.rows.length + 22)} role="img" aria-label={`States of ${drawing.rows.length} series`}>
            {drawing.rows.map((row, r) => {
              const top = r * slot + (slot * (1 - drawing.row_height)) / 2;
              return (
                <g>
                  <text class="wt-tick" x={left - 6} y={r * slot + slot / 2 + 4} text-anchor="end">{row.label.slice(0, Math.floor(left / 6))}</text>
                  {row.spans.map((s) => {
                    const full = x(s.end) - x(s.start);
                    const wide = Math.max(0.5, cells ? full * drawing.cell_width : full);
                    return (
                      <g>
                        <rect x={x(s.start)} y={top} width={wide} height={slot * drawing.row_height} fill={s.colour || "var(--slate)"} fill-opacity="0.85"><title>{`${row.label}: ${s.text}\n${new Date(s.start * 1000).toLocaleString("sv-SE")}`}</title></rect>
                        {drawing.show_value !== "never" && wide > s.text.length * 6.6 + 6 && <text class="wt-state" x={x(s.start) + 4} y={r * slot + slot / 2 + 4} fill={inkOn(s.colour)}>{s.text}</text>}
                      </g>
                    );
                  })}
                </g>
              );
            })}
            {Array.from({ length: ticks + 1 }, (_, i) => drawing.from + (span * i) / ticks).map((at) => (
              <text class="wt-tick" x={Math.min(box.width - 22, Math.max(left + 14, x(at)))} y={slot * drawing.rows.length + 16} text-anchor="middle">{moment(at, span)}</text>
            ))}
          </svg>
        )}
      </div>
      <div class="wt-legend">{drawing.legend.map((entry) => <span><i style={{ background: entry.colour || "var(--slate)" }} />{entry.text}</span>)}</div>
    </div>
  );
}
