// Everything needed to judge the result and to get it again: machine, versions, seed, what was modelled.

import type { ComponentChildren } from "preact";

import { bytes, count, milliseconds, plain, seconds, utc } from "./format";
import type { Report } from "./model";

function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  return (
    <dl>
      {rows.map(([name, value]) => (
        <div>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function figures({ figures: f }: Report): [string, string][] {
  const rows: [string, string, number | null][] = [
    ["First request after", seconds(f.time_to_first_request_seconds), f.time_to_first_request_seconds],
    ["Endpoint change to Envoy, p50", milliseconds(f.endpoint_ack_p50_ms), f.endpoint_ack_p50_ms],
    ["Endpoint change to Envoy, p99", milliseconds(f.endpoint_ack_p99_ms), f.endpoint_ack_p99_ms],
    ["Control plane memory", bytes(f.control_plane_rss_bytes), f.control_plane_rss_bytes],
    ["Control plane CPU", `${plain(f.control_plane_cpu_cores)} cores`, f.control_plane_cpu_cores],
    ["Monitoring memory", bytes(f.monitoring_rss_bytes), f.monitoring_rss_bytes],
    ["Samples stored", count(f.samples), f.samples],
    ["Series", count(f.series), f.series],
  ];
  return rows.filter(([, , value]) => value !== null).map(([name, text]) => [name, text]);
}

function saveJson(report: Report): void {
  const url = URL.createObjectURL(new Blob([JSON.stringify(report)], { type: "application/json" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: `${report.name}.json` });
  link.click();
  URL.revokeObjectURL(url);
}

export function EnvironmentSection({ report }: { report: Report }) {
  const { environment: e } = report;
  const run: [string, ComponentChildren][] = [
    ["Started", utc(report.started_at)],
    ["Ended", utc(report.ended_at)],
    ["Seed", <code>{e.seed}</code>],
    ["Pod runtime", e.runtime],
    ["Limits enforced by", e.enforcer],
  ];
  const machine: [string, ComponentChildren][] = [
    ["CPU", `${e.machine.cpu_count} × ${e.machine.cpu_model}`],
    ["Memory", bytes(e.machine.memory_bytes)],
    ["Kernel", `${e.machine.kernel} ${e.machine.architecture}`.trim()],
    ["Python", e.python],
  ];
  const versions = Object.entries(e.versions);
  const own = figures(report);
  return (
    <>
      <div class="columns">
        <section><h3>Run</h3><Facts rows={run} /></section>
        <section><h3>Machine</h3><Facts rows={machine} /></section>
        {versions.length > 0 && <section><h3>Versions</h3><Facts rows={versions} /></section>}
        {own.length > 0 && <section><h3>The tank itself</h3><Facts rows={own} /></section>}
      </div>
      <h3>What was modelled</h3>
      {report.modelled.length ? (
        <ul class="modelled-list">
          {report.modelled.map((m) => <li><b>{m.what}</b> {m.how}</li>)}
        </ul>
      ) : (
        <p>Nothing: all of it was done for real.</p>
      )}
      {report.notes.length > 0 && <><h3>Notes</h3><ul>{report.notes.map((n) => <li>{n}</li>)}</ul></>}
      {e.command && <><h3>To run it again</h3><pre><code>{e.command}</code></pre></>}
      {Object.keys(report.files).length > 0 && (
        <><h3>Files beside this report</h3><Facts rows={Object.entries(report.files).map(([name, path]) => [name, <code>{path}</code>])} /></>
      )}
      <p class="screen-only"><button type="button" class="plain" onClick={() => saveJson(report)}>Save this report as JSON</button></p>
    </>
  );
}
