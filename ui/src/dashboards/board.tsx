// The rows and panels of a dashboard on its grid; knows nothing of servers.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

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

type Watcher = (entry: IntersectionObserverEntry) => void;

const watchers = new WeakMap<Element, Watcher>();
let observer: IntersectionObserver | null = null;

/** Tell when an element comes near the window and when it goes; one observer for however many panels there are. */
function watch(element: Element, tell: Watcher): () => void {
  observer ??= new IntersectionObserver((entries) => entries.forEach((entry) => watchers.get(entry.target)?.(entry)), { rootMargin: "200px" });
  watchers.set(element, tell);
  observer.observe(element);
  return () => (observer?.unobserve(element), watchers.delete(element));
}

function forPanel(annotations: Annotation[], panel: number): Annotation[] {
  return annotations.filter((one) => !one.panels.length || one.panels.includes(panel) !== one.others);
}

function Slot({ panel, props, cursor }: { panel: Panel; props: BoardProps; cursor: string }) {
  const holder = useRef<HTMLDivElement>(null);
  // What was never near the window is a heading alone: 2,000 panels would take seconds to build.
  const [seen, see] = useState(!props.onVisible);
  useEffect(() => {
    const element = holder.current!;
    const stop = watch(element, (entry) => {
      if (entry.isIntersecting) see(true);
      props.onVisible?.(panel.id, entry.isIntersecting, element.clientWidth);
    });
    return () => (stop(), props.onVisible?.(panel.id, false, 0));
  }, [panel.id]);
  const annotations = useMemo(() => forPanel(props.annotations ?? [], panel.panel_id), [props.annotations, panel.panel_id]);
  const data = props.data.get(panel.id);
  const loading = props.loading ?? false;
  const { onZoom } = props;
  // The same node as before is passed over: an answer for some panels leaves all others alone.
  const shown = useMemo(
    () =>
      seen ? (
        <PanelView panel={panel} data={data} annotations={annotations} cursor={cursor} loading={loading} {...(onZoom && { onZoom })} />
      ) : (
        <section class="wt-panel" aria-label={panel.title || panel.source_type} data-state="waiting"><header><h3>{panel.title}</h3></header></section>
      ),
    [seen, panel, data, annotations, cursor, loading, onZoom],
  );
  const { x, y, w, h } = panel.grid;
  return (
    <div ref={holder} class="wt-slot" style={{ gridColumn: `${x + 1} / span ${w}`, gridRow: `${y + 1} / span ${h}`, "--h": `${h * TALL - 8}px` }}>
      {shown}
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
