// Where the seconds of a scaling went: its stages one under the other on a time axis of their own. What no
// stage accounts for stands there as a bar too, in its own colour.

import { clock, DASH, seconds, shortName } from "./format";
import type { LagStage, Phase, Scaling } from "./model";

const PHASES: Record<Phase, string> = {
  metrics: "metrics",
  autoscaler: "autoscaler",
  pod: "pod",
  traffic: "traffic",
  other: "other",
};

export interface Bar {
  name: string;
  start: number;
  length: number;
  phase: Phase | "unexplained";
  modelled: boolean;
  note: string;
  source: string;
}

function toBar(stage: LagStage): Bar {
  const { name, start_seconds: start, seconds: length, phase, modelled, note, source } = stage;
  return { name, start, length, phase, modelled, note, source };
}

function gap(start: number, length: number): Bar {
  return { name: "unexplained", start, length, phase: "unexplained", modelled: false, note: "no record covers this", source: "" };
}

// Clocks of several processes agree to a few milliseconds; smaller gaps are not worth a row.
const SMALLEST_GAP_SECONDS = 0.005;

/** Stages in order, with a bar for every gap between them. */
export function bars(scaling: Scaling): Bar[] {
  const found: Bar[] = [];
  let now = scaling.start_seconds;
  for (const stage of [...scaling.stages].sort((a, b) => a.start_seconds - b.start_seconds)) {
    if (stage.start_seconds - now > SMALLEST_GAP_SECONDS) found.push(gap(now, stage.start_seconds - now));
    found.push(toBar(stage));
    now = Math.max(now, stage.end_seconds);
  }
  const rest = scaling.start_seconds + scaling.total_seconds - now;
  if (rest > SMALLEST_GAP_SECONDS) found.push(gap(now, rest));
  return found;
}

function byPhase(scaling: Scaling): [Bar["phase"], number][] {
  const sums = new Map<Bar["phase"], number>();
  for (const stage of scaling.stages) sums.set(stage.phase, (sums.get(stage.phase) ?? 0) + stage.seconds);
  if (scaling.unexplained_seconds > 0) sums.set("unexplained", scaling.unexplained_seconds);
  return [...sums];
}

/** The note stands beside its bar where there is more room, or within a long bar that is drawn solid. */
function placeNote(left: number, width: number, solid: boolean): Record<string, string> {
  const right = left + width;
  if (solid && width > Math.max(left, 100 - right)) return { left: `${left}%`, width: `${width}%`, color: "var(--paper)" };
  return 100 - right >= left ? { left: `${right}%`, right: "0" } : { right: `${100 - left}%`, left: "0", textAlign: "right" };
}

function Row({ bar, origin, total }: { bar: Bar; origin: number; total: number }) {
  const left = ((bar.start - origin) / total) * 100;
  const width = (bar.length / total) * 100;
  const detail = [bar.note, bar.source && bar.source !== "model" ? `from ${bar.source}` : ""].filter(Boolean).join("; ");
  return (
    <li class={`phase-${bar.phase}${bar.modelled ? " modelled" : ""}`} title={detail || undefined}>
      <span class="stage">
        {bar.name}
        {bar.modelled && <em>modelled</em>}
      </span>
      <span class="bar" aria-hidden="true">
        <i style={{ left: `${Math.max(0, left)}%`, width: `${width}%` }} />
        {bar.note && <small style={placeNote(left, width, !bar.modelled)}>{bar.note}</small>}
      </span>
      <span class="length">{seconds(bar.length)}</span>
    </li>
  );
}

function Strip({ scaling }: { scaling: Scaling }) {
  const parts = byPhase(scaling);
  return (
    <ul class="phases">
      {parts.map(([phase, sum]) => (
        <li class={`phase-${phase}`}>
          <i aria-hidden="true" /> {phase === "unexplained" ? phase : PHASES[phase]} <b>{seconds(sum)}</b>{" "}
          <span>{Math.round((sum / scaling.total_seconds) * 100)} %</span>
        </li>
      ))}
    </ul>
  );
}

function Pods({ scaling }: { scaling: Scaling }) {
  if (!scaling.pods.length) return null;
  const names = [...new Set(scaling.pods.flatMap((p) => p.stages.map((s) => s.name)))];
  return (
    <details>
      <summary>Pod by pod ({scaling.pods.length})</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label="Stages of each pod">
        <table class="numbers">
          <thead>
            <tr>
              <th scope="col" class="text">pod</th>
              <th scope="col" class="text">node</th>
              {names.map((name) => <th scope="col">{name}</th>)}
            </tr>
          </thead>
          <tbody>
            {scaling.pods.map((pod) => (
              <tr>
                <th scope="row" class="text" title={pod.pod}>{shortName(pod.pod)}</th>
                <td class="text">{pod.node || DASH}</td>
                {names.map((name) => {
                  const stage = pod.stages.find((s) => s.name === name);
                  return <td class={stage?.modelled ? "modelled" : ""}>{seconds(stage?.seconds)}</td>;
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

export function Waterfall({ scaling }: { scaling: Scaling }) {
  const total = Math.max(scaling.total_seconds, 0.001);
  const until = scaling.direction === "up" ? "from the load's change until the last new pod served" : "from the load's change until the last pod was gone";
  return (
    <article class="waterfall">
      <h3>
        {shortName(scaling.workload)} {scaling.from_replicas} → {scaling.to_replicas}
        <b>{seconds(scaling.total_seconds)}</b>
      </h3>
      <p class="sub">
        Scaled {scaling.direction}, decided at {clock(scaling.decided_at_seconds, true)}; {until}.
        {scaling.cause && <> {scaling.cause}.</>}
      </p>
      <Strip scaling={scaling} />
      <ol class="rows" aria-label="Stages">
        {bars(scaling).map((bar) => <Row bar={bar} origin={scaling.start_seconds} total={total} />)}
        <li class="sum">
          <span class="stage">total</span>
          <span class="bar scale" aria-hidden="true">
            <span>{clock(scaling.start_seconds)}</span>
            <span>{clock(scaling.start_seconds + scaling.total_seconds)}</span>
          </span>
          <span class="length">{seconds(scaling.total_seconds)}</span>
        </li>
      </ol>
      <Pods scaling={scaling} />
    </article>
  );
}
