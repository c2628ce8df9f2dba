// The rows and panels of a dashboard on its grid; knows nothing of servers.
import { useEffect, useMemo, useRef } from "preact/hooks";

import type { Annotation, Panel, PanelData, Resolved, Row } from "./contract";
import { PanelView } from "./panel";

export interface BoardProps {
  board: Resolved;
  data: ReadonlyMap<string, PanelData>;
  annotations?: Annotation[];
  open: ReadonlySet<string>; // ids of rows that are open
  toggle: (row: string) => void;
  loading?: boolean;
  onVisible?: (panel: string, visible: boolean, width: number) => void;
  onZoom?: (from: number, to: number) => void;
}

const TALL = 38; // a unit of the grid with its gap

function forPanel(annotations: Annotation[], panel: number): Annotation[] {
  return annotations.filter((one) => !one.panels.length || one.panels.includes(panel) !== one.others);
}

function Slot({ panel, props, cursor }: { panel: Panel; props: BoardProps; cursor: string }) {
  const holder = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = holder.current!;
    const watch = new IntersectionObserver(
      (entries) => props.onVisible?.(panel.id, entries.at(-1)!.isIntersecting, element.clientWidth),
      { rootMargin: "200px" },
    );
    watch.observe(element);
    return () => (watch.disconnect(), props.onVisible?.(panel.id, false, 0));
  }, [panel.id]);
  const annotations = useMemo(() => forPanel(props.annotations ?? [], panel.panel_id), [props.annotations, panel.panel_id]);
  const { x, y, w, h } = panel.grid;
  return (
    <div ref={holder} class="wt-slot" style={{ gridColumn: `${x + 1} / span ${w}`, gridRow: `${y + 1} / span ${h}`, "--h": `${h * TALL - 8}px` }}>
      <PanelView panel={panel} data={props.data.get(panel.id)} annotations={annotations} cursor={cursor} loading={props.loading ?? false} {...(props.onZoom && { onZoom: props.onZoom })} />
    </div>
  );
}

function Section({ row, props }: { row: Row; props: BoardProps }) {
  const open = !row.id || props.open.has(row.id);
  const cursor = props.board.cursor === "off" ? "" : `wt-${props.board.uid}`;
  return (
    <section class="wt-row" data-row={row.id}>
      {row.id && (
        <h2>
          <button type="button" aria-expanded={open} onClick={() => props.toggle(row.id)}>
            <span class="wt-fold">{open ? "▾" : "▸"}</span> {row.title} {!open && <small>({row.panels.length} panels)</small>}
          </button>
        </h2>
      )}
      {open && (
        <div class="wt-grid">
          {row.panels.map((panel) => <Slot key={panel.id} panel={panel} props={props} cursor={cursor} />)}
        </div>
      )}
    </section>
  );
}

export function Board(props: BoardProps) {
  return <>{props.board.rows.map((row, i) => <Section key={row.id || i} row={row} props={props} />)}</>;
}
