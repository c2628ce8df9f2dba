// The console: one page, a hash route per view. `data-ready` tells when the first view stands.

import { render, type ComponentType } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";

import { startTheme } from "../report/theme";
import { get } from "./api";
import "./console.css";
import { usePoll } from "./hooks";
import type { Info } from "./info";
import { AlertsPage } from "./pages/alerts";
import { DashboardsPage } from "./pages/dashboard";
import { ConfigPage } from "./pages/config";
import { DiscoveryPage } from "./pages/discovery";
import { FlagsPage } from "./pages/flags";
import { RulesPage } from "./pages/rules";
import { StatusPage } from "./pages/status";
import { TargetsPage } from "./pages/targets";
import { TsdbPage } from "./pages/tsdb";
import { QueryPage } from "./query/page";
import { go, href, usePlace } from "./router";
import { stream } from "./stream";
import { ClusterPage } from "./tank/cluster";
import { LoadPage } from "./tank/load";
import { RehearsalPage } from "./tank/rehearsal";
import { TrafficPage } from "./tank/traffic";
import { Guard, Shell, type Group } from "./shell";
import { Empty, Page } from "./ui";

export interface PageProps {
  info: Info;
}

const PAGES: Record<string, ComponentType<PageProps>> = {
  query: QueryPage,
  dashboards: DashboardsPage,
  alerts: AlertsPage,
  rules: RulesPage,
  targets: TargetsPage,
  "service-discovery": DiscoveryPage,
  tsdb: TsdbPage,
  status: StatusPage,
  config: ConfigPage,
  flags: FlagsPage,
};

/** Pages of a tank; only browsers that signed in see them. */
const TANK_PAGES: Record<string, ComponentType<PageProps>> = {
  rehearsal: RehearsalPage,
  cluster: ClusterPage,
  traffic: TrafficPage,
  load: LoadPage,
};

function groupsOf(info: Info | undefined): Group[] {
  const tank: Group = {
    title: info?.kind === "rehearsal" ? "Rehearsal" : "Tank",
    entries: [
      { page: "rehearsal", title: "Timeline" },
      { page: "cluster", title: "Cluster" },
      { page: "traffic", title: "Traffic" },
      { page: "load", title: "Load" },
    ],
  };
  const metrics: Group = {
    title: "Metrics",
    entries: [
      { page: "query", title: "Query" },
      ...(info?.dashboards ? [{ page: "dashboards", title: "Dashboards" }] : []),
      { page: "alerts", title: "Alerts" },
      { page: "rules", title: "Rules" },
    ],
  };
  const monitoring: Group = {
    title: "Monitoring",
    entries: [
      { page: "targets", title: "Targets" },
      { page: "service-discovery", title: "Service discovery" },
      { page: "tsdb", title: "TSDB status" },
      { page: "status", title: "Runtime" },
      { page: "config", title: "Configuration" },
      { page: "flags", title: "Flags" },
    ],
  };
  return [...(info && info.kind !== "prometheus" ? [tank] : []), metrics, monitoring];
}

function home(info: Info): string {
  return href(info.signedIn ? "rehearsal" : "query");
}

function SignIn() {
  return (
    <Page title="Not signed in">
      <p>The cluster, its traffic and its load are shown to the browser that opened the address printed by <code>wavetank up</code>. That address opens one browser once.</p>
      <p><code>wavetank status</code> prints a fresh one. Metrics, alerts and targets are open without it.</p>
    </Page>
  );
}

function View({ info, page }: { info: Info; page: string }) {
  const Tank = info.kind === "prometheus" ? undefined : TANK_PAGES[page];
  if (Tank) return info.signedIn ? <Tank info={info} /> : <SignIn />;
  const Found = PAGES[page];
  return Found ? <Found info={info} /> : <Page title="No such page"><Empty>There is no page “{page}”. Choose one from the menu.</Empty></Page>;
}

function Console() {
  const place = usePlace();
  const { data: info } = usePoll<Info>((signal) => get("api/wavetank/info", {}, signal), 30);
  const groups = useMemo(() => groupsOf(info), [info?.kind, info?.dashboards, info?.signedIn]);
  useEffect(() => {
    if (info && !place.page) go(home(info), true);
  }, [info, place.page]);
  useEffect(() => stream.open(), []);
  return (
    <Shell info={info} groups={groups}>
      <Guard place={place.page}>
        {info && place.page && <View info={info} page={place.page} key={place.page} />}
      </Guard>
      <Ready done={!!info && !!place.page} />
    </Shell>
  );
}

function Ready({ done }: { done: boolean }) {
  const [told, tell] = useState(false);
  useEffect(() => {
    if (!done || told) return;
    tell(true);
    requestAnimationFrame(() => (document.documentElement.dataset["ready"] = String(Math.round(performance.now()))));
  }, [done]);
  return null;
}

startTheme();
const root = document.getElementById("console")!;
root.replaceChildren();
render(<Console />, root);
