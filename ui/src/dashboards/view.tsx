// A dashboard of a server: opens it, asks for the frames of what is in sight in one request a refresh, and goes on
// by itself when the server was away.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";

import { Board } from "./board";
import type { Annotation, FramesAnswer, FramesRequest, PanelData, Resolved } from "./contract";
import { choicesOf, Controls, searchOf, type Choices } from "./controls";
import "./dashboards.css";

export interface DashboardProps {
  api: string; // URL prefix, "" at the root
  uid: string;
  search: string;
  onSearch: (search: string) => void;
  theme?: "light" | "dark";
  kiosk?: boolean;
}

async function ask<T>(url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const answer = await fetch(url, { ...init, ...(signal && { signal }) });
  const found = (await answer.json().catch(() => ({ message: `${answer.status} ${answer.statusText}` }))) as T & { message?: string };
  if (!answer.ok) throw new Error(found.message ?? String(answer.status));
  return found;
}

function seconds(refresh: string): number {
  const found = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(refresh);
  return found ? Number(found[1]) * { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 }[found[2] as "s"]! : 0;
}

export function DashboardView({ api, uid, search, onSearch, kiosk = false }: DashboardProps) {
  const [board, setBoard] = useState<Resolved | null>(null);
  const [data, setData] = useState<ReadonlyMap<string, PanelData>>(new Map());
  const [marks, setMarks] = useState<ReadonlySet<string> | null>(null); // null: as the file has them
  const [notes, setNotes] = useState<{ annotations: Annotation[]; notices: FramesAnswer["notices"] }>({ annotations: [], notices: [] });
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [problem, setProblem] = useState("");
  const [loading, setLoading] = useState(false);
  const visible = useRef(new Map<string, number>());
  const asked = useRef(new Set<string>());
  const request = useRef<AbortController | null>(null);
  const soon = useRef(0);
  const choices = choicesOf(search);
  const base = `${api}/api/wavetank/dashboards/${encodeURIComponent(uid)}`;

  useEffect(() => {
    const controller = new AbortController();
    setLoading(true);
    ask<Resolved>(`${base}?${search}`, undefined, controller.signal).then(
      (found) => {
        setBoard((old) => {
          if (old?.uid !== found.uid) setOpen(new Set(found.rows.filter((row) => !row.collapsed).map((row) => row.id)));
          return found;
        });
        asked.current.clear();
        setProblem("");
      },
      (error: Error) => controller.signal.aborted || (setProblem(error.message), setLoading(false)),
    );
    return () => controller.abort();
  }, [base, search]);

  const refresh = useCallback(
    (only: (id: string) => boolean) => {
      if (!board) return;
      const panels = [...visible.current].filter(([id]) => only(id)).map(([id, width]) => ({ id, width }));
      if (!panels.length) return setLoading(false);
      for (const panel of panels) asked.current.add(panel.id);
      const controller = (request.current = new AbortController());
      const variables = Object.fromEntries(board.variables.map((v) => [v.name, v.value]));
      const body: FramesRequest = { from: board.time.from, to: board.time.to, variables, panels, ...(marks && { annotations: [...marks] }) };
      ask<FramesAnswer>(`${base}/frames`, body, controller.signal).then(
        (answer) => {
          setData((old) => new Map([...old, ...answer.panels.map((p) => [p.id, p] as const)]));
          // The marks of one answer stand for all panels; equal ones are not drawn again.
          const next = { annotations: answer.annotations, notices: answer.notices };
          setNotes((old) => (JSON.stringify(old) === JSON.stringify(next) ? old : next));
          setProblem("");
          setLoading(false);
          document.documentElement.dataset["ready"] = String(Math.round(performance.now()));
        },
        (error: Error) => {
          for (const panel of panels) asked.current.delete(panel.id);
          if (!controller.signal.aborted) setProblem(error.message), setLoading(false);
        },
      );
    },
    [base, board, marks],
  );

  // What newly comes in sight is asked for together, a moment later.
  const onVisible = useCallback((id: string, now: boolean, width: number) => {
    if (now) visible.current.set(id, width);
    else visible.current.delete(id);
    clearTimeout(soon.current);
    soon.current = window.setTimeout(() => latest.current((panel) => !asked.current.has(panel)), asked.current.size ? 40 : 0);
  }, []);
  const latest = useRef(refresh);
  latest.current = refresh;

  useEffect(() => {
    if (!board) return;
    refresh(() => true);
    const period = seconds(choices.refresh || board.refresh);
    if (!period) return () => request.current?.abort();
    const timer = setInterval(() => document.visibilityState === "visible" && refresh(() => true), period * 1000);
    return () => (clearInterval(timer), request.current?.abort());
  }, [board, refresh, choices.refresh]);

  // A server that was away is asked again until it answers.
  useEffect(() => {
    if (!problem) return;
    const timer = setTimeout(() => (board ? refresh(() => true) : onSearch(search)), 3000);
    return () => clearTimeout(timer);
  }, [problem, board, refresh]);

  const change = (next: Choices) => onSearch(searchOf(next));
  const toggle = (row: string) =>
    setOpen((old) => {
      const next = new Set(old);
      if (!next.delete(row)) next.add(row);
      return next;
    });
  const zooming = useRef((_from: number, _to: number): void => undefined);
  zooming.current = (from, to) => change({ ...choices, from: String(Math.round(from * 1000)), to: String(Math.round(to * 1000)) });
  const zoom = useCallback((from: number, to: number) => zooming.current(from, to), []);
  if (!board) return <div class="wt-dash"><p class="wt-none">{problem || "Loading…"}</p></div>;
  return (
    <div class="wt-dash">
      {!kiosk && <Controls board={board} choices={choices} change={change} again={() => refresh(() => true)} marks={marks ?? new Set(board.annotations.filter((a) => a.enabled).map((a) => a.name))} setMarks={setMarks} />}
      {problem && <p class="wt-problem" role="alert">{problem}</p>}
      {[...board.notices, ...notes.notices].map((notice) => <p class="wt-problem">{notice.text}</p>)}
      {board.variables.filter((v) => v.error).map((v) => <p class="wt-problem">{`$${v.name}: ${v.error}`}</p>)}
      <Board board={board} data={data} annotations={notes.annotations} open={open} toggle={toggle} loading={loading} onVisible={onVisible} onZoom={zoom} />
    </div>
  );
}
