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
import { ConfigPage } from "./pages/config";
import { DiscoveryPage } from "./pages/discovery";
import { FlagsPage } from "./pages/flags";
import { RulesPage } from "./pages/rules";
import { StatusPage } from "./pages/status";
import { TargetsPage } from "./pages/targets";
import { TsdbPage } from "./pages/tsdb";
import { QueryPage } from "./query/page";
import { go, href, usePlace } from "./router";
import { Guard, Shell, type Group } from "./shell";
import { Empty, Page } from "./ui";

export interface PageProps {
  info: Info;
}

const PAGES: Record<string, ComponentType<PageProps>> = {
  query: QueryPage,
  alerts: AlertsPage,
  rules: RulesPage,
  targets: TargetsPage,
  "service-discovery": DiscoveryPage,
  tsdb: TsdbPage,
  status: StatusPage,
  config: ConfigPage,
  flags: FlagsPage,
};

function groupsOf(_info: Info | undefined): Group[] {
  return [
    { title: "Metrics", entries: [{ page: "query", title: "Query" }, { page: "alerts", title: "Alerts" }, { page: "rules", title: "Rules" }] },
    {
      title: "Monitoring",
      entries: [
        { page: "targets", title: "Targets" },
        { page: "service-discovery", title: "Service discovery" },
        { page: "tsdb", title: "TSDB status" },
        { page: "status", title: "Runtime" },
        { page: "config", title: "Configuration" },
        { page: "flags", title: "Flags" },
      ],
    },
  ];
}

function home(_info: Info): string {
  return href("query");
}

function Console() {
  const place = usePlace();
  const { data: info } = usePoll<Info>((signal) => get("api/wavetank/info", {}, signal), 30);
  const groups = useMemo(() => groupsOf(info), [info?.kind, info?.dashboards, info?.signedIn]);
  useEffect(() => {
    if (info && !place.page) go(home(info), true);
  }, [info, place.page]);
  const View = PAGES[place.page];
  return (
    <Shell info={info} groups={groups}>
      <Guard place={place.page}>
        {info && View && <View info={info} key={place.page} />}
        {info && place.page && !View && <Page title="No such page"><Empty>There is no page “{place.page}”. Choose one from the menu.</Empty></Page>}
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
