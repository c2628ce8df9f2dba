// The SLO table: objective, measured, budget, the worst moment, and how the value went.

import type { TimeAxis } from "./axis";
import { clock, DASH, inUnit, percent } from "./format";
import type { Slo } from "./model";

function objective(slo: Slo): string {
  if (slo.kind === "ratio") return `≥ ${percent(slo.objective)}`;
  const parts = [slo.min === null ? "" : `≥ ${inUnit(slo.min, slo.unit)}`, slo.max === null ? "" : `≤ ${inUnit(slo.max, slo.unit)}`];
  return parts.filter(Boolean).join(" and ") || DASH;
}

export function Verdict({ ok }: { ok: boolean | null }) {
  const [kind, word] = ok === null ? ["unknown", "no data"] : ok ? ["held", "held"] : ["failed", "failed"];
  return <span class={`badge ${kind}`}>{word}</span>;
}

const [WIDTH, HEIGHT] = [150, 30];

function Sparkline({ slo }: { slo: Slo }) {
  const limits = [slo.objective, slo.max, slo.min].filter((v): v is number => v !== null);
  const seen = slo.series.filter((v): v is number => v !== null);
  if (seen.length < 2) return <>{DASH}</>;
  const low = Math.min(...seen, ...limits);
  const high = Math.max(...seen, ...limits);
  const y = (v: number) => HEIGHT - 3 - ((v - low) / (high - low || 1)) * (HEIGHT - 6);
  const x = (i: number) => (i / (slo.series.length - 1)) * WIDTH;
  let pen = "M";
  let path = "";
  slo.series.forEach((v, i) => {
    if (v === null) pen = "M";
    else (path += `${pen}${x(i).toFixed(1)} ${y(v).toFixed(1)}`), (pen = "L");
  });
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} role="img" aria-label={`from ${inUnit(Math.min(...seen), slo.unit)} to ${inUnit(Math.max(...seen), slo.unit)}`}>
      {limits.map((v) => <line x1="0" x2={WIDTH} y1={y(v)} y2={y(v)} />)}
      <path d={path} />
    </svg>
  );
}

function Burn({ value }: { value: number | null }) {
  if (value === null) return <>{DASH}</>;
  return (
    <span class={value > 1 ? "burn over" : "burn"}>
      <i aria-hidden="true"><i style={{ width: `${Math.min(100, value * 100)}%` }} /></i>
      {percent(value)}
    </span>
  );
}

function Worst({ slo, axis }: { slo: Slo; axis: TimeAxis }) {
  const at = slo.worst_at_seconds;
  if (slo.worst_value === null) return <>{DASH}</>;
  return (
    <>
      {inUnit(slo.worst_value, slo.unit)}
      {at !== null && (
        <>
          {" "}
          <a href="#timeline" onClick={() => axis.pointAt(at)}>at {clock(at)}</a>
        </>
      )}
    </>
  );
}

export function SloTable({ slos, axis }: { slos: Slo[]; axis: TimeAxis }) {
  if (!slos.length) return <p class="empty">No SLO was evaluated.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="SLOs">
      <table class="slos">
        <thead>
          <tr>
            <th scope="col">SLO</th>
            <th scope="col">Result</th>
            <th scope="col" class="number">Objective</th>
            <th scope="col" class="number">Measured</th>
            <th scope="col">Budget used</th>
            <th scope="col">Worst</th>
            <th scope="col">Course</th>
          </tr>
        </thead>
        {slos.map((slo) => (
          <tbody>
            <tr>
              <th scope="row">{slo.name}</th>
              <td><Verdict ok={slo.ok} /></td>
              <td class="number">{objective(slo)}</td>
              <td class="number"><b>{inUnit(slo.value, slo.unit)}</b></td>
              <td><Burn value={slo.budget_burn} /></td>
              <td><Worst slo={slo} axis={axis} /></td>
              <td><Sparkline slo={slo} /></td>
            </tr>
            <tr class="expr">
              <td colSpan={7}><code>{slo.expr}</code></td>
            </tr>
          </tbody>
        ))}
      </table>
    </div>
  );
}
