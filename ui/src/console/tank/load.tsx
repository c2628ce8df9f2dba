// The load: starting, changing and stopping it, and what Locust's own page shows of it.

import { useMemo, useState } from "preact/hooks";

import { TimeAxis } from "../../report/axis";
import { count, milliseconds, percent, plain, rate } from "../../report/format";
import type { Load, Report } from "../../report/model";
import { LoadCharts } from "../../report/timeline";
import { ask, get, message } from "../api";
import { usePoll } from "../hooks";
import type { PageProps } from "../main";
import { Check, Empty, Failure, Page, Scroll, Segmented, Warnings } from "../ui";

export type Mode = "stages" | "rps" | "users";

export interface LoadState {
  state: "absent" | "idle" | "starting" | "running" | "stopping";
  mode: Mode;
  rps: number;
  users: number;
  error: string;
  locustfile?: string;
  locust_ui?: string; // the address of Locust's own page, "" where it does not run
  now?: { users: number; rps: number; failure_ratio: number; workers: number; task_exceptions: number; warnings: string[] };
  totals?: Load;
}

const MODES: [Mode, string][] = [["stages", "Stages of the file"], ["rps", "Rate"], ["users", "Users"]];

export function LoadControls({ state, refresh }: { state: LoadState; refresh: () => void }) {
  const running = state.state === "running";
  const [mode, setMode] = useState<Mode>(running ? state.mode : "rps");
  const [rps, setRps] = useState(state.rps || 20);
  const [users, setUsers] = useState(state.users || 10);
  const [ui, setUi] = useState(false);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const act = async (what: string, body: unknown = {}) => {
    setBusy(true);
    setError("");
    try {
      await ask(`api/wavetank/load/${what}`, { action: body });
    } catch (reason) {
      setError(message(reason));
    }
    setBusy(false);
    refresh();
  };
  const wish = mode === "rps" ? { mode, rps } : mode === "users" ? { mode, users } : { mode };
  const changeable = running && state.mode !== "stages";
  return (
    <form class="load-controls" aria-label="Load" onSubmit={(event) => (event.preventDefault(), void act(running ? "change" : "start", running ? wish : { ...wish, locust_ui: ui }))}>
      <Segmented label="Kind of load" value={mode} onChange={(value) => setMode(value as Mode)} choices={running ? MODES.filter(([value]) => (state.mode === "stages") === (value === "stages")) : MODES} />
      {mode === "rps" && <Amount label="Requests per second" unit="req/s" value={rps} max={500} step={0.5} set={setRps} />}
      {mode === "users" && <Amount label="Users" unit="users" value={users} max={500} step={1} set={setUsers} />}
      {!running && <Check checked={ui} onChange={setUi}>Locust's own page too</Check>}
      {running && state.locust_ui && <a href={state.locust_ui} target="_blank" rel="noopener noreferrer">Locust's own page</a>}
      {!running && <button class="primary" disabled={busy || state.state !== "idle"}>{state.state === "starting" || busy ? "Starting…" : "Start load"}</button>}
      {changeable && <button class="primary" disabled={busy}>Apply</button>}
      {running && <button type="button" class="primary stop" disabled={busy} onClick={() => void act("stop")}>Stop</button>}
      {state.state === "stopping" && <span class="dim">stopping: running requests end first</span>}
      <Failure text={error || state.error} />
    </form>
  );
}

function Amount(props: { label: string; unit: string; value: number; max: number; step: number; set: (value: number) => void }) {
  const set = (text: string) => Number(text) > 0 && props.set(Number(text));
  return (
    <span class="amount">
      <input type="range" aria-label={`${props.label}, slider`} min={props.step} max={Math.max(props.max, props.value)} step={props.step} value={props.value} onInput={(event) => set(event.currentTarget.value)} />
      <input type="number" aria-label={props.label} min={props.step} step="any" value={props.value} onInput={(event) => set(event.currentTarget.value)} />
      <span class="dim">{props.unit}</span>
    </span>
  );
}

export function Requests({ load }: { load: Load }) {
  const rows = [...load.rows, ...(load.total ? [load.total] : [])];
  return (
    <Scroll label="Requests">
      <table>
        <thead>
          <tr>
            <th scope="col">request</th><th scope="col" class="number">requests</th><th scope="col" class="number">failures</th><th scope="col" class="number">median</th>
            <th scope="col" class="number">p95</th><th scope="col" class="number">p99</th><th scope="col" class="number">max</th><th scope="col" class="number">mean rate</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr class={i === load.rows.length ? "total" : ""}>
              <td><span class="method">{row.method}</span> {row.name}</td>
              <td class="number">{count(row.requests)}</td>
              <td class={row.failures ? "number error" : "number"}>{count(row.failures)}</td>
              <td class="number">{milliseconds(row.p50_ms)}</td><td class="number">{milliseconds(row.p95_ms)}</td>
              <td class="number">{milliseconds(row.p99_ms)}</td><td class="number">{milliseconds(row.max_ms)}</td><td class="number">{rate(row.rps)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Errors({ load }: { load: Load }) {
  if (!load.errors.length) return null;
  return (
    <section>
      <h2>Failures</h2>
      <table>
        <thead><tr><th scope="col">request</th><th scope="col">error</th><th scope="col" class="number">times</th></tr></thead>
        <tbody>
          {load.errors.slice(0, 200).map((one) => (
            <tr><td><span class="method">{one.method}</span> {one.name}</td><td class="wrap error">{one.error}</td><td class="number">{count(one.count)}</td></tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The load of the last five minutes, whoever drives it: measured at the clients, or at the gateway. */
function Charts({ running }: { running: boolean }) {
  const { data } = usePoll<Report>((signal) => get("api/wavetank/rehearsal", { window: "5m" }, signal), running ? 3 : 10, [running]);
  const axis = useMemo(() => data && new TimeAxis(data.timeline.at_seconds, data.duration_seconds), [data]);
  return data && axis?.times.length ? <LoadCharts key={data.ended_at} report={data} axis={axis} /> : null;
}

export function LoadPage({ info }: PageProps) {
  const { data, error, refresh } = usePoll<LoadState>((signal) => get("api/wavetank/load", {}, signal), 1);
  const { now, totals } = data ?? {};
  return (
    <Page title="Load">
      <Failure text={error} />
      {data && data.state !== "absent" && <LoadControls key={data.state} state={data} refresh={refresh} />}
      {data?.state === "absent" && <Empty>{info.kind === "rehearsal" ? "The rehearsal drives this load; its figures are on the page Rehearsal." : "This tank was started without a rehearsal directory, so it has no locustfile: wavetank up DIR."}</Empty>}
      {now && (
        <dl class="figures">
          <div><dt>State</dt><dd>{data!.state}</dd></div>
          <div><dt>Users</dt><dd>{count(now.users)}</dd></div>
          <div><dt>Rate, last 5 s</dt><dd>{plain(now.rps)} <small>req/s</small></dd></div>
          <div class={now.failure_ratio > 0 ? "bad" : ""}><dt>Failing</dt><dd>{percent(now.failure_ratio)}</dd></div>
          <div><dt>p95</dt><dd>{milliseconds(totals?.total?.p95_ms)}</dd></div>
          <div class={now.task_exceptions ? "bad" : ""}><dt>Exceptions in tasks</dt><dd>{count(now.task_exceptions)}</dd></div>
          <div><dt>Locust processes</dt><dd>{count(now.workers)}</dd></div>
        </dl>
      )}
      {now && <Warnings texts={now.warnings} />}
      <Charts running={data?.state === "running"} />
      {totals && <Requests load={totals} />}
      {totals && <Errors load={totals} />}
    </Page>
  );
}
