// The run while it lasts: what the report will show, up to now.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { TimeAxis } from "../../report/axis";
import { EventList } from "../../report/events";
import { clock, count, milliseconds, percent, plain, seconds, shortName } from "../../report/format";
import type { Report, Series } from "../../report/model";
import { SloTable } from "../../report/slos";
import { TimelineSection } from "../../report/timeline";
import { Waterfall } from "../../report/waterfall";
import { get } from "../api";
import { usePoll } from "../hooks";
import type { PageProps } from "../main";
import { href, useParameter } from "../router";
import { useRecords } from "../stream";
import { Empty, Failure, Page, Segmented } from "../ui";
import { LoadControls, type LoadState } from "./load";

const WINDOWS: [string, string][] = [["2m", "2 min"], ["5m", "5 min"], ["15m", "15 min"], ["1h", "1 h"], ["6h", "6 h"]];
const WATERFALLS = 4;

function last(values: Series): number | null {
  return values.findLast((value) => value !== null) ?? null;
}

function Figures({ report }: { report: Report }) {
  const { timeline: t, workloads, slos } = report;
  const kept = slos.filter((slo) => slo.ok === true).length;
  const broken = slos.some((slo) => slo.ok === false);
  return (
    <dl class="figures">
      <div><dt>Requests</dt><dd>{plain(last(t.completed_rps))} <small>per second</small></dd></div>
      <div><dt>Latency p99</dt><dd>{milliseconds(last(t.p99_ms))}</dd></div>
      <div><dt>Success</dt><dd>{percent(last(t.success_ratio))}</dd></div>
      {workloads.slice(0, 2).map((w) => (
        <div>
          <dt>{w.name}</dt>
          <dd>{count(last(w.ready))} <small>of {count(last(w.desired))} ready</small></dd>
          <dd class="aside">CPU {percent(last(w.cpu_utilization_ratio))}{w.cpu_target_ratio !== null && ` against ${percent(w.cpu_target_ratio)}`}</dd>
        </div>
      ))}
      {slos.length > 0 && (
        <div class={broken ? "bad" : ""}>
          <dt>SLOs kept</dt>
          <dd>{kept} <small>of {slos.length}</small></dd>
          <dd class="aside">{slos.filter((slo) => slo.ok === null).length ? "some without data yet" : broken ? slos.filter((slo) => slo.ok === false).map((slo) => slo.name).join(", ") : ""}</dd>
        </div>
      )}
    </dl>
  );
}

/** Why it scaled just now: the newest scaling in one line, with the longest of its stages. */
function Newest({ report }: { report: Report }) {
  const scaling = report.scalings.at(-1);
  if (!scaling) return null;
  const longest = scaling.stages.reduce<(typeof scaling.stages)[number] | null>((a, b) => (a && a.seconds >= b.seconds ? a : b), null);
  return (
    <p class="note info">
      <b>{shortName(scaling.workload)} scaled {scaling.direction} from {scaling.from_replicas} to {scaling.to_replicas}</b> at {clock(scaling.decided_at_seconds)}
      {scaling.cause && <>: {scaling.cause}</>}. It took {seconds(scaling.total_seconds)}
      {longest && <>, most of it ({seconds(longest.seconds)}) for “{longest.name}”</>}. <a href={href("cluster")}>Why</a>
    </p>
  );
}

/** The newest report, held still while the reader points at or zooms into a chart. */
function useHeld(report: Report | undefined): { shown: Report | undefined; axis: TimeAxis | null; held: boolean } {
  const current = useRef<{ shown: Report; axis: TimeAxis } | null>(null);
  const [, redraw] = useState(0);
  const busy = current.current && (current.current.axis.zoomed || current.current.axis.index !== null);
  if (report && report !== current.current?.shown && !busy) {
    const axis = new TimeAxis(report.timeline.at_seconds, report.duration_seconds);
    current.current = { shown: report, axis };
  }
  useEffect(() => current.current?.axis.subscribe(() => redraw((n) => n + 1)), [current.current?.axis]);
  return { shown: current.current?.shown, axis: current.current?.axis ?? null, held: !!busy && report !== current.current?.shown };
}

/** Leaves out what lies before the window; the journals know it, the charts do not show it. */
function inWindow(report: Report): Report {
  return {
    ...report,
    events: report.events.filter((event) => event.at_seconds >= 0).sort((a, b) => a.at_seconds - b.at_seconds),
    scalings: report.scalings.filter((scaling) => scaling.start_seconds + scaling.total_seconds >= 0),
    stages: report.stages.filter((stage) => stage.end_seconds > 0),
  };
}

export function RehearsalPage({ info }: PageProps) {
  const [window, setWindow] = useParameter("window", "5m");
  const { data, error, refresh } = usePoll<Report>((signal) => get("api/wavetank/rehearsal", { window }, signal), 3, [window]);
  const load = usePoll<LoadState>((signal) => get("api/wavetank/load", {}, signal), 2);
  useRecords(refresh);
  const report = useMemo(() => data && inWindow(data), [data]);
  const { shown, axis, held } = useHeld(report);
  return (
    <Page
      title={info.kind === "rehearsal" ? "Rehearsal" : "Timeline"} wide
      aside={
        <>
          <span class="dim small" aria-live="polite">{held ? "held still while you look" : "live"}</span>
          <Segmented label="Window" value={window} onChange={setWindow} choices={WINDOWS} />
        </>
      }
    >
      <Failure text={error} />
      {load.data && load.data.state !== "absent" && <LoadControls key={load.data.state} state={load.data} refresh={load.refresh} />}
      {shown && axis && (
        <>
          <Figures report={shown} />
          <Newest report={shown} />
          <TimelineSection key={shown.started_at + shown.ended_at} report={shown} axis={axis} />
          {shown.slos.length > 0 && (
            <section>
              <h2>SLOs <small>since the load began</small></h2>
              <SloTable slos={shown.slos} axis={axis} />
            </section>
          )}
          <section>
            <h2>Where the lag came from <small>the newest scalings, stage by stage</small></h2>
            {shown.scalings.length ? (
              <div class="waterfalls">{shown.scalings.slice(-WATERFALLS).reverse().map((scaling) => <Waterfall scaling={scaling} />)}</div>
            ) : (
              <Empty>Nothing scaled in this window.</Empty>
            )}
          </section>
          <section>
            <h2>Events</h2>
            <EventList events={[...shown.events].reverse()} axis={axis} />
          </section>
        </>
      )}
    </Page>
  );
}
