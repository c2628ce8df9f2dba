// How the server runs, what it is, whom it tells.

import { get } from "../api";
import { usePoll } from "../hooks";
import type { PageProps } from "../main";
import { Age, Failure, Page } from "../ui";

type Facts = Record<string, string | number | boolean>;

function List({ title, facts }: { title: string; facts: [string, unknown][] }) {
  return (
    <section>
      <h2>{title}</h2>
      <dl class="facts">{facts.map(([name, value]) => <div><dt>{name}</dt><dd>{String(value)}</dd></div>)}</dl>
    </section>
  );
}

export function StatusPage({ info }: PageProps) {
  const runtime = usePoll<Facts>((signal) => get("api/v1/status/runtimeinfo", {}, signal), 10);
  const build = usePoll<Facts>((signal) => get("api/v1/status/buildinfo", {}, signal), 0);
  const managers = usePoll<{ activeAlertmanagers: { url: string }[]; droppedAlertmanagers: { url: string }[] }>((signal) => get("api/v1/alertmanagers", {}, signal), 15);
  const r = runtime.data;
  return (
    <Page title="Runtime">
      <Failure text={runtime.error || build.error} />
      {r && (
        <dl class="figures">
          <div><dt>Started</dt><dd><Age at={String(r["startTime"])} /></dd></div>
          <div class={r["reloadConfigSuccess"] ? "" : "bad"}><dt>Last reload</dt><dd>{r["reloadConfigSuccess"] ? "ok" : "failed"} <small><Age at={String(r["lastConfigTime"])} /></small></dd></div>
          <div><dt>Retention</dt><dd>{String(r["storageRetention"])}</dd></div>
          <div><dt>Alertmanagers</dt><dd>{managers.data?.activeAlertmanagers.length ?? "–"}</dd></div>
        </dl>
      )}
      <div class="columns">
        {r && <List title="Process" facts={[["Started at", r["startTime"]], ["Working directory", r["CWD"]], ["Host", r["hostname"]], ["Threads", r["GOMAXPROCS"]], ["Server time", r["serverTime"]]]} />}
        {build.data && <List title="Build" facts={[["Wavetank", info.version], ["Behaves as Prometheus", build.data["version"]], ["Interpreter", build.data["goVersion"]]]} />}
        {managers.data && <List title="Alertmanagers" facts={managers.data.activeAlertmanagers.length ? managers.data.activeAlertmanagers.map(({ url }) => ["active", url]) : [["none", "alerts are not sent anywhere"]]} />}
      </div>
    </Page>
  );
}
