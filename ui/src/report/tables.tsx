// Stages, requests, failures, pods: the run in rows.

import type { TimeAxis } from "./axis";
import { clock, count, DASH, milliseconds, percent, rate, shortName } from "./format";
import type { Load, LoadRow, LoadStage, Pod } from "./model";
import { stageLabel } from "./timeline";

function failedShare(failures: number, requests: number): string {
  return failures ? `${count(failures)} (${percent(failures / Math.max(1, requests))})` : "0";
}

export function StageTable({ stages }: { stages: LoadStage[] }) {
  if (!stages.some((s) => s.requests !== null)) return null;
  return (
    <div class="scroll by-stage" tabIndex={0} role="region" aria-label="Load stages">
      <table class="numbers">
        <thead>
          <tr>
            <th scope="col" class="text">stage</th>
            <th scope="col">from</th>
            <th scope="col">to</th>
            <th scope="col">requests</th>
            <th scope="col">failed</th>
            <th scope="col">p99</th>
          </tr>
        </thead>
        <tbody>
          {stages.map((s) => (
            <tr>
              <th scope="row" class="text">{s.index + 1}. {stageLabel(s)}</th>
              <td>{clock(s.start_seconds)}</td>
              <td>{clock(s.end_seconds)}</td>
              <td>{count(s.requests)}</td>
              <td class={s.failures ? "bad" : ""}>{s.failures === null ? DASH : failedShare(s.failures, s.requests ?? 0)}</td>
              <td>{milliseconds(s.p99_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function RequestRow({ row, total = false }: { row: LoadRow; total?: boolean }) {
  return (
    <tr class={total ? "total" : ""}>
      <th scope="row" class="text">{row.method && <span class="method">{row.method}</span>} {row.name}</th>
      <td>{count(row.requests)}</td>
      <td>{rate(row.rps)}</td>
      <td class={row.failures ? "bad" : ""}>{failedShare(row.failures, row.requests)}</td>
      <td>{milliseconds(row.p50_ms)}</td>
      <td>{milliseconds(row.p95_ms)}</td>
      <td>{milliseconds(row.p99_ms)}</td>
      <td>{milliseconds(row.max_ms)}</td>
    </tr>
  );
}

export function RequestTables({ load }: { load: Load | null }) {
  if (!load) return <p class="empty">No request was sent.</p>;
  return (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label="Requests by name">
        <table class="numbers">
          <thead>
            <tr>
              <th scope="col" class="text">request</th>
              {["count", "rate", "failed", "p50", "p95", "p99", "max"].map((h) => <th scope="col">{h}</th>)}
            </tr>
          </thead>
          <tbody>{load.rows.map((row) => <RequestRow row={row} />)}</tbody>
          {load.total && <tfoot><RequestRow row={load.total} total /></tfoot>}
        </table>
      </div>
      {load.errors.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Failures by kind">
          <table class="numbers">
            <thead>
              <tr>
                <th scope="col">failures</th>
                <th scope="col" class="text">request</th>
                <th scope="col" class="text">error</th>
              </tr>
            </thead>
            <tbody>
              {load.errors.map((e) => (
                <tr>
                  <td class="bad">{count(e.count)}</td>
                  <td class="text">{e.method && <span class="method">{e.method}</span>} {e.name}</td>
                  <td class="text wrap">{e.error}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p class="sub">
        Arrivals due but never sent: {count(load.dropped)}.
        {load.lateness_p99_ms !== null && <> Arrivals were at most {milliseconds(load.lateness_p99_ms)} late (p99).</>}
      </p>
    </>
  );
}

function Life({ pod, axis }: { pod: Pod; axis: TimeAxis }) {
  const [, end] = axis.full;
  const x = (at: number) => Math.min(100, Math.max(0, (at / end) * 100));
  const created = pod.created_at_seconds;
  if (created === null) return <>{DASH}</>;
  const ended = pod.ended_at_seconds ?? end;
  const ready = pod.ready_at_seconds;
  const label = `created ${clock(created, true)}, ready ${clock(ready, true)}, ended ${clock(pod.ended_at_seconds, true)}`;
  return (
    <span class="life" role="img" aria-label={label} title={label}>
      <i class="starting" style={{ left: `${x(created)}%`, width: `${x(ready ?? ended) - x(created)}%` }} />
      {ready !== null && <i class="ready" style={{ left: `${x(ready)}%`, width: `${x(ended) - x(ready)}%` }} />}
    </span>
  );
}

function startUp(pod: Pod): number | null {
  const [from, to] = [pod.created_at_seconds, pod.ready_at_seconds];
  return from === null || to === null ? null : to - from;
}

export function PodTable({ pods, axis }: { pods: Pod[]; axis: TimeAxis }) {
  if (!pods.length) return <p class="empty">No pod ran.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Pods">
      <table class="numbers pods">
        <thead>
          <tr>
            <th scope="col" class="text">pod</th>
            <th scope="col" class="text">node</th>
            <th scope="col">created</th>
            <th scope="col">to ready</th>
            <th scope="col">ended</th>
            <th scope="col">restarts</th>
            <th scope="col">requests</th>
            <th scope="col" class="text">reason</th>
            <th scope="col" class="text wide">life</th>
          </tr>
        </thead>
        <tbody>
          {pods.map((pod) => (
            <tr>
              <th scope="row" class="text" title={`${pod.name}, ${pod.workload}`}>{shortName(pod.name)}</th>
              <td class="text">{pod.node || DASH}</td>
              <td>{clock(pod.created_at_seconds, true)}</td>
              <td>{startUp(pod) === null ? DASH : `${startUp(pod)!.toFixed(1)} s`}</td>
              <td>{clock(pod.ended_at_seconds, true)}</td>
              <td class={pod.restarts ? "bad" : ""}>{count(pod.restarts)}</td>
              <td>{count(pod.requests)}</td>
              <td class="text">{pod.reason || DASH}</td>
              <td class="text wide"><Life pod={pod} axis={axis} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
