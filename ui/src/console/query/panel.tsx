// One query: its text, how it is shown, what it cost.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { count, seconds as secondsText } from "../../report/format";
import { ask, askBlock, connection, get, message } from "../api";
import { duration, parseDuration, parseStamp, span, stamp } from "../text";
import { Check, Empty, Failure, Segmented, Tabs, Warnings } from "../ui";
import { MetricBrowser } from "./browser";
import { Graph, type Exemplar } from "./graph";
import { QueryInput } from "./input";
import { columns, columnsOfBlock, heat, type Columns, type QueryResult, type Told } from "./results";
import { autoStep, nextRange, type Mode, type Panel, type Tab } from "./state";
import { ResultTable } from "./table";
import { Tree } from "./tree";

/** More lines than this are not told apart by anyone; more rows are not read. */
const LINES_MAX = 500;
const ROWS_MAX = 10_000;

interface Shown {
  result: QueryResult;
  /** Of a graph: the result on one time axis. */
  columns: Columns | null;
  start: number;
  end: number;
  step: number;
  warnings: string[];
  infos: string[];
  seconds: number;
  bytes: number;
  cut: number | null;
}

interface Props {
  panel: Panel;
  utc: boolean;
  change: (part: Partial<Panel>) => void;
  remove?: (() => void) | undefined;
  number: number;
}

async function load(panel: Panel, tab: Tab, width: number, signal: AbortSignal): Promise<Shown> {
  const end = (panel.end ?? Date.now()) / 1000;
  const began = performance.now();
  if (tab === "table") {
    const params = { query: panel.expr, time: end, stats: "all", limit: ROWS_MAX };
    const answer = await ask<QueryResult>("api/v1/query", { params, signal, post: true });
    return { ...told(answer, began), columns: null, start: end, end, step: 1, cut: null };
  }
  const step = panel.step ?? autoStep(panel.rangeSeconds, width);
  // Ends on a multiple of the step, so that a graph which is asked again stands still.
  const last = Math.floor(end / step) * step;
  const start = last - Math.floor(panel.rangeSeconds / step) * step;
  const params = { query: panel.expr, start, end: last, step, limit: LINES_MAX };
  performance.mark("query-asked");
  const { told: found, block, bytes } = await askBlock<Told>("api/wavetank/query_range", { params, signal, post: true });
  performance.mark("query-answered");
  const data = found.columns ? columnsOfBlock(found, block) : columns(found.result ?? [], start, last, step);
  performance.mark("query-decoded");
  const { warnings, infos, stats } = found;
  const result: QueryResult = { resultType: "matrix", result: found.result ?? [], ...(stats && { stats }) };
  const cut = found.columns && found.total > found.columns.length ? found.total : null;
  return { result, columns: data, warnings, infos, bytes, seconds: since(began), start, end: last, step, cut };
}

function since(began: number): number {
  return (performance.now() - began) / 1000;
}

function told(answer: { data: QueryResult; warnings: string[]; infos: string[]; bytes: number }, began: number) {
  const { data: result, infos, bytes } = answer;
  const warnings = answer.warnings.filter((text) => !text.includes("truncated due to limit"));
  return { result, warnings, infos, bytes, seconds: since(began) };
}

async function loadExemplars(shown: Shown, expr: string): Promise<Exemplar[]> {
  interface Found { seriesLabels: Record<string, string>; exemplars: { labels: Record<string, string>; value: string; timestamp: number }[] }
  const found = await get<Found[]>("api/v1/query_exemplars", { query: expr, start: shown.start, end: shown.end });
  const all = found.flatMap((one) => one.exemplars.map((e) => ({ at: e.timestamp, value: Number(e.value), labels: e.labels, series: one.seriesLabels })));
  return all.filter((e) => Number.isFinite(e.value)).slice(-1000);
}

const NO_EXEMPLARS: Exemplar[] = [];

export function QueryPanel({ panel, utc, change, remove, number }: Props) {
  const [text, setText] = useState(panel.expr);
  const [shown, setShown] = useState<Shown | null>(null);
  const [error, setError] = useState("");
  const [running, setRunning] = useState<AbortController | null>(null);
  const [turn, setTurn] = useState(0);
  const [browsing, browse] = useState(false);
  const [inserting, insert] = useState<{ text: string; turn: number }>();
  const [exemplars, setExemplars] = useState(NO_EXEMPLARS);
  const body = useRef<HTMLDivElement>(null);

  const [given, give] = useState({ text: panel.expr });
  const write = (next: string) => (setText(next), give({ text: next }));
  useEffect(() => write(panel.expr), [panel.expr]);
  const run = () => (text.trim() === panel.expr ? setTurn((n) => n + 1) : change({ expr: text.trim() }));

  useEffect(() => connection.subscribe(() => connection.online && setTurn((n) => n + 1)), []);
  useEffect(() => {
    if (!panel.expr || panel.tab === "tree") return;
    const controller = new AbortController();
    setRunning(controller);
    load(panel, panel.tab, body.current?.clientWidth ?? 800, controller.signal)
      .then((next) => (setShown(next), setError("")))
      .catch((reason: unknown) => !controller.signal.aborted && setError(message(reason)))
      .finally(() => setRunning((now) => (now === controller ? null : now)));
    return () => controller.abort();
  }, [panel.expr, panel.tab, panel.rangeSeconds, panel.end, panel.step, turn]);
  useEffect(() => {
    if (!panel.exemplars || !shown || panel.tab !== "graph") return setExemplars(NO_EXEMPLARS);
    void loadExemplars(shown, panel.expr).then(setExemplars, () => setExemplars(NO_EXEMPLARS));
  }, [panel.exemplars, shown]);

  const format = () =>
    void get<string>("api/v1/format_query", { query: text }).then((pretty) => (write(pretty), setError("")), (reason: unknown) => setError(message(reason)));
  const graph = panel.tab === "graph" ? shown?.columns : null;
  return (
    <section class="query" aria-label={`Query ${number}`}>
      <div class="ask">
        <QueryInput value={text} given={given} label={`Expression ${number}`} onChange={setText} onRun={run} inserting={inserting} />
        {running ? (
          <button type="button" class="primary stop" onClick={() => (running.abort(), setRunning(null))}>Cancel</button>
        ) : (
          <button type="button" class="primary" onClick={run}>Run</button>
        )}
      </div>
      <div class="bar">
        <Tabs label="View" value={panel.tab} onChange={(tab) => change({ tab: tab as Tab })} choices={[["graph", "Graph"], ["table", "Table"], ["tree", "Tree"]]} />
        <span class="tools">
          <button type="button" class="plain" aria-pressed={browsing} onClick={() => browse(!browsing)}>Metrics</button>
          <button type="button" class="plain" onClick={format} disabled={!text.trim()}>Format</button>
          <Share />
          {remove && <button type="button" class="plain" onClick={remove}>Remove</button>}
        </span>
      </div>
      {browsing && <MetricBrowser insert={(chosen) => insert({ text: chosen, turn: (inserting?.turn ?? 0) + 1 })} close={() => browse(false)} />}
      {panel.tab !== "tree" && <TimeControls panel={panel} utc={utc} change={change} />}
      <Failure text={error} />
      {shown && panel.tab !== "tree" && <Warnings texts={shown.warnings} />}
      {shown && panel.tab !== "tree" && <Warnings texts={shown.infos} kind="info" />}
      <div class={running ? "answer running" : "answer"} ref={body}>
        {!panel.expr && <Hints />}
        {panel.expr && panel.tab === "tree" && <Tree expr={panel.expr} at={panel.end ?? Date.now()} turn={turn} choose={(expr) => change({ expr })} />}
        {shown && graph && <GraphAnswer shown={shown} data={graph} panel={panel} utc={utc} exemplars={exemplars} change={change} />}
        {shown && panel.tab === "table" && shown.result.resultType && <ResultTable result={shown.result} utc={utc} />}
      </div>
      {shown && !error && panel.tab !== "tree" && <Cost shown={shown} />}
    </section>
  );
}

function Hints() {
  return <Empty>Write an expression, or look through the metrics. Completion opens as you type or with Ctrl-Space.</Empty>;
}

function GraphAnswer(props: { shown: Shown; data: Columns; panel: Panel; utc: boolean; exemplars: Exemplar[]; change: (part: Partial<Panel>) => void }) {
  const { shown, data, panel, change } = props;
  const isHeat = panel.mode === "heatmap" || (!data.lines.length && data.histograms.length > 0);
  const rows = useMemo(() => (isHeat ? heat(data) : null), [data, isHeat]);
  if (!data.lines.length && !data.histograms.length) return <Empty>No series matches in this range.</Empty>;
  return (
    <>
      {shown.cut !== null && (
        <p class="note warn">
          The first {LINES_MAX} of {count(shown.cut)} series are drawn. <button type="button" class="link" onClick={() => change({ expr: `topk(20, ${panel.expr})` })}>Draw the largest 20 instead</button>
        </p>
      )}
      {panel.mode === "heatmap" && !rows && <p class="note info">A heatmap needs buckets: series with the label le, or native histograms. Lines are drawn instead.</p>}
      <Graph
        data={data} mode={rows ? "heatmap" : panel.mode === "stacked" ? "stacked" : "lines"} heat={rows} exemplars={props.exemplars} utc={props.utc}
        onZoom={(start, end) => change({ end: Math.round(end * 1000), rangeSeconds: Math.max(10, Math.round(end - start)) })}
      />
    </>
  );
}

function Cost({ shown }: { shown: Shown }) {
  const samples = shown.result.stats?.samples;
  const timings = shown.result.stats?.timings;
  const drawn = shown.columns ? shown.columns.lines.length + shown.columns.histograms.length : null;
  const series = drawn !== null ? drawn : Array.isArray(shown.result.result) && shown.result.resultType !== "scalar" && shown.result.resultType !== "string" ? shown.result.result.length : 1;
  return (
    <dl class="cost" aria-label="What the query cost">
      <div><dt>series</dt><dd>{count(shown.cut ?? series)}</dd></div>
      {timings && <div><dt>evaluation</dt><dd>{secondsText(timings.evalTotalTime)}</dd></div>}
      <div><dt>round trip</dt><dd>{secondsText(shown.seconds)}</dd></div>
      {samples && <div><dt>samples read</dt><dd>{count(samples.totalQueryableSamples)}</dd></div>}
      {samples && <div><dt>most at once</dt><dd>{count(samples.peakSamples)}</dd></div>}
      <div><dt>answer</dt><dd>{shown.bytes < 1e4 ? `${shown.bytes} B` : `${count(Math.round(shown.bytes / 1024))} KiB`}</dd></div>
      {shown.step > 0 && shown.result.resultType === "matrix" && <div><dt>step</dt><dd>{span(shown.step)}</dd></div>}
    </dl>
  );
}

function Share() {
  const [done, setDone] = useState(false);
  const copy = () => {
    const show = () => (setDone(true), setTimeout(() => setDone(false), 1500));
    // Browsers keep the clipboard from pages that are not on a secure or loopback address.
    navigator.clipboard?.writeText(location.href).then(show, () => undefined) ?? prompt("Copy this link", location.href);
  };
  return <button type="button" class="plain" onClick={copy}><span aria-live="polite">{done ? "Link copied" : "Share"}</span></button>;
}

function TimeControls({ panel, utc, change }: { panel: Panel; utc: boolean; change: (part: Partial<Panel>) => void }) {
  const graph = panel.tab === "graph";
  const shift = (direction: number) => change({ end: Math.round((panel.end ?? Date.now()) + (direction * (graph ? panel.rangeSeconds : 60) * 1000) / 2) });
  return (
    <div class="controls">
      {graph && (
        <span class="group" role="group" aria-label="Range">
          <button type="button" aria-label="Narrower range" onClick={() => change({ rangeSeconds: nextRange(panel.rangeSeconds, -1) })}>−</button>
          <Field label="Range" value={duration(panel.rangeSeconds)} size={5} parse={parseDuration} onSet={(rangeSeconds) => rangeSeconds > 0 && change({ rangeSeconds })} />
          <button type="button" aria-label="Wider range" onClick={() => change({ rangeSeconds: nextRange(panel.rangeSeconds, 1) })}>+</button>
        </span>
      )}
      <span class="group" role="group" aria-label={graph ? "End" : "Moment"}>
        <button type="button" aria-label="Earlier" onClick={() => shift(-1)}>‹</button>
        <Field
          label={graph ? "End time" : "Evaluation time"} value={panel.end === null ? "" : stamp(panel.end, utc)} hint="now" size={18}
          parse={(text) => (text.trim() ? parseStamp(text, utc) : 0)} onSet={(end) => change({ end: end || null })}
        />
        <button type="button" aria-label="Later" onClick={() => shift(1)}>›</button>
        {panel.end !== null && <button type="button" onClick={() => change({ end: null })}>now</button>}
      </span>
      {graph && (
        <>
          <span class="group">
            <Field label="Resolution" value={panel.step === null ? "" : duration(panel.step)} hint="auto step" size={8} parse={(text) => (text.trim() ? parseDuration(text) : 0)} onSet={(step) => change({ step: step || null })} />
          </span>
          <Segmented label="Drawing" value={panel.mode} onChange={(mode) => change({ mode: mode as Mode })} choices={[["lines", "Lines"], ["stacked", "Stacked"], ["heatmap", "Heatmap"]]} />
          <Check checked={panel.exemplars} onChange={(on) => change({ exemplars: on })}>Exemplars</Check>
        </>
      )}
    </div>
  );
}

interface FieldProps { label: string; value: string; size: number; hint?: string; parse: (text: string) => number; onSet: (value: number) => void }

function Field({ label, value, size, hint, parse, onSet }: FieldProps) {
  const [bad, setBad] = useState(false);
  const set = (input: HTMLInputElement) => {
    const parsed = parse(input.value);
    setBad(Number.isNaN(parsed));
    if (!Number.isNaN(parsed) && input.value !== value) onSet(parsed);
  };
  return (
    <input
      aria-label={label} aria-invalid={bad} title={label} size={size} placeholder={hint} value={value} spellcheck={false}
      onChange={(event) => set(event.currentTarget)} onKeyDown={(event) => event.key === "Enter" && set(event.currentTarget)}
    />
  );
}
