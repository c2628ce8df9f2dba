// The page: the verdict and its evidence first, then the run, then what one looks up.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import type { TimeAxis } from "./axis";
import { EnvironmentSection } from "./environment";
import { EventList } from "./events";
import { clock, count, duration, milliseconds, percent, rate, seconds, shortName, utc } from "./format";
import type { Report, Series } from "./model";
import { SloTable } from "./slos";
import { PodTable, RequestTables, StageTable } from "./tables";
import { choose, currentChoice, type Choice } from "./theme";
import { TimelineSection } from "./timeline";
import { Waterfall } from "./waterfall";

function ThemeSwitch() {
  const [choice, setChoice] = useState<Choice>(currentChoice());
  const pick = (next: Choice) => (choose(next), setChoice(next));
  return (
    <fieldset class="theme screen-only">
      <legend class="unseen">Colours</legend>
      {(["auto", "light", "dark"] as const).map((value) => (
        <label>
          <input type="radio" name="theme" class="unseen" checked={choice === value} onChange={() => pick(value)} />
          <span>{value}</span>
        </label>
      ))}
    </fieldset>
  );
}

function extreme(values: Series, pick: (...all: number[]) => number): number | null {
  const seen = values.filter((v): v is number => v !== null);
  return seen.length ? seen.reduce((a, b) => pick(a, b)) : null;
}

interface Figure {
  name: string;
  value: string;
  note: string;
  bad?: boolean;
}

function keyFigures(report: Report): Figure[] {
  const { slos, load, timeline, scalings, workloads } = report;
  const figures: Figure[] = [];
  if (slos.length) {
    const kept = slos.filter((s) => s.ok === true).length;
    const others = slos.filter((s) => s.ok !== true).map((s) => (s.ok === null ? `${s.name}: no data` : s.name));
    figures.push({ name: "SLOs kept", value: `${kept} of ${slos.length}`, note: others.join(", "), bad: kept < slos.length });
  }
  if (load) {
    const share = load.failures / Math.max(1, load.requests);
    figures.push({ name: "Requests", value: count(load.requests), note: load.failures ? `${count(load.failures)} failed (${percent(share)})` : "none failed" });
  }
  const peak = extreme(timeline.arrival_rps, Math.max);
  if (peak !== null) figures.push({ name: "Peak arrivals", value: rate(peak), note: `${rate(extreme(timeline.completed_rps, Math.max))} completed` });
  const p99 = load?.total?.p99_ms;
  if (load?.total && p99 !== null && p99 !== undefined) figures.push({ name: "Latency p99", value: milliseconds(p99), note: `median ${milliseconds(load.total.p50_ms)}` });
  const scaled = workloads.find((w) => `${w.kind}/${w.namespace}/${w.name}` === scalings[0]?.workload) ?? workloads[0];
  const [few, most] = scaled ? [extreme(scaled.ready, Math.min), extreme(scaled.ready, Math.max)] : [null, null];
  if (scaled && most !== null) figures.push({ name: "Replicas ready", value: few === most ? count(most) : `${count(few)} – ${count(most)}`, note: scaled.max_replicas === null ? scaled.name : `${scaled.name}, at most ${scaled.max_replicas}` });
  const ups = scalings.filter((s) => s.direction === "up");
  if (ups.length) {
    const slowest = ups.reduce((a, b) => (a.total_seconds >= b.total_seconds ? a : b));
    const longest = slowest.stages.reduce((a, b) => (a && a.seconds >= b.seconds ? a : b), slowest.stages[0]);
    figures.push({ name: "Slowest scale-up", value: seconds(slowest.total_seconds), note: longest ? `most of it: ${longest.name}, ${seconds(longest.seconds)}` : "" });
  }
  return figures;
}

/** Names such as latency-p99, and a number with its unit, stay on one line. */
function unbroken(text: string): ComponentChildren[] {
  const joined = text.replace(/(\d) (?=(?:ms|s|min|h)\b|%)/g, "$1\u00a0");
  return joined.split(/(\S+-\S+)/).map((part, i) => (i % 2 && part.length < 30 ? <span class="together">{part}</span> : part));
}

function Header({ report, verdict, detail }: { report: Report; verdict: string; detail: string }) {
  const figures = keyFigures(report);
  return (
    <header class={`top ${report.outcome}`}>
      <div class="kicker">
        <span><b>{report.name}</b></span>
        <span>Wavetank {report.kind}</span>
        <span>{utc(report.started_at)}</span>
        <span>{duration(report.duration_seconds)}</span>
        <ThemeSwitch />
      </div>
      <h1>{unbroken(verdict)}</h1>
      {detail && <p class="detail">{unbroken(detail)}</p>}
      <dl class="figures">
        {figures.map((f) => (
          <div class={f.bad ? "bad" : ""}>
            <dt>{f.name}</dt>
            <dd>{f.value}</dd>
            <dd class="note">{f.note || " "}</dd>
          </div>
        ))}
      </dl>
    </header>
  );
}

function BottleneckBox({ report, axis }: { report: Report; axis: TimeAxis }) {
  const b = report.bottleneck;
  return (
    <section class="first" aria-labelledby="first-title">
      <h2 id="first-title">What gave out first</h2>
      {b ? (
        <>
          <p class="what">
            {b.what}
            {b.at_seconds !== null && <>, <a class="together" href="#timeline" onClick={() => axis.pointAt(b.at_seconds!)}>at {clock(b.at_seconds)}</a></>}
          </p>
          <ul>{b.evidence.map((line) => <li>{line}</li>)}</ul>
        </>
      ) : (
        <p>No resource was seen to reach its limit.</p>
      )}
    </section>
  );
}

function Section({ id, title, note, children }: { id: string; title: string; note?: string; children: ComponentChildren }) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title} {note && <small>{note}</small>}</h2>
      {children}
    </section>
  );
}

const SECTIONS: [string, string][] = [
  ["slos", "SLOs"], ["timeline", "Timeline"], ["scaling", "Scaling"], ["requests", "Requests"],
  ["pods", "Pods"], ["events", "Events"], ["environment", "Environment"],
];

export function Page(props: { report: Report; verdict: string; detail: string; axis: TimeAxis }) {
  const { report, axis } = props;
  const workloads = new Set(report.scalings.map((s) => shortName(s.workload)));
  return (
    <>
      <Header {...props} />
      <nav class="screen-only" aria-label="Sections">
        {SECTIONS.map(([id, title]) => <a href={`#${id}`}>{title}</a>)}
      </nav>
      <main>
        <div class="evidence">
          <div>
            <Section id="slos" title="SLOs"><SloTable slos={report.slos} axis={axis} /></Section>
            <StageTable stages={report.stages} />
          </div>
          <div class="side">
            <BottleneckBox report={report} axis={axis} />
            {report.recommendations.length > 0 && (
              <section aria-labelledby="change-title">
                <h2 id="change-title">What to change</h2>
                <ol>{report.recommendations.map((line) => <li>{line}</li>)}</ol>
              </section>
            )}
          </div>
        </div>
        <Section id="timeline" title="Timeline"><TimelineSection report={report} axis={axis} /></Section>
        <Section id="scaling" title="Where the seconds went" note={[...workloads].join(", ")}>
          {report.scalings.length ? (
            <div class="waterfalls">{report.scalings.map((s) => <Waterfall scaling={s} />)}</div>
          ) : (
            <p class="empty">Nothing was scaled during the run.</p>
          )}
        </Section>
        <Section id="requests" title="Requests"><RequestTables load={report.load} /></Section>
        <Section id="pods" title="Pods"><PodTable pods={report.pods} axis={axis} /></Section>
        <Section id="events" title="Events"><EventList events={report.events} axis={axis} /></Section>
        <Section id="environment" title="Environment"><EnvironmentSection report={report} /></Section>
      </main>
    </>
  );
}
