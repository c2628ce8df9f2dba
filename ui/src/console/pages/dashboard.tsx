// One dashboard, or the list. The code that draws panels is loaded when the first dashboard opens.

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { DashboardProps } from "../../dashboards/view";
import { message, url } from "../api";
import { go, href, useParameter, usePlace } from "../router";
import { Empty, Failure, Page } from "../ui";
import { DashboardList } from "./dashboards";

let view: ComponentType<DashboardProps> | null = null;

const load = () => import("../../dashboards/view");
// Who comes for a dashboard needs that code in any case: it is fetched while the page still asks for the rest.
if (location.hash.startsWith("#/dashboards/")) void load().catch(() => undefined);

function useView(): { View: ComponentType<DashboardProps> | null; error: string } {
  const [View, set] = useState<ComponentType<DashboardProps> | null>(() => view);
  const [error, setError] = useState("");
  useEffect(() => {
    if (view) return;
    load().then(
      (module) => {
        view = module.DashboardView;
        set(() => view);
      },
      (reason: unknown) => setError(message(reason)),
    );
  }, []);
  return { View, error };
}

export function DashboardsPage() {
  const { rest } = usePlace();
  return rest[0] ? <OneDashboard key={rest[0]} uid={rest[0]} /> : <DashboardList />;
}

function OneDashboard({ uid }: { uid: string }) {
  const { search } = usePlace();
  const [kiosk] = useParameter("kiosk");
  const { View, error } = useView();
  const own = new URLSearchParams(search);
  own.delete("kiosk");
  const onSearch = (next: string) => go(`#/dashboards/${encodeURIComponent(uid)}?${next}${kiosk ? "&kiosk=1" : ""}`, true);
  useEffect(() => {
    document.documentElement.toggleAttribute("data-kiosk", !!kiosk);
    return () => document.documentElement.removeAttribute("data-kiosk");
  }, [kiosk]);
  const board = View && <View api={url("").replace(/\/$/, "")} uid={uid} search={own.toString()} onSearch={onSearch} kiosk={!!kiosk} />;
  if (kiosk && board) return <main id="main" class="page wide">{board}</main>;
  const leave = href(["dashboards", uid], { ...Object.fromEntries(own), kiosk: "1" });
  const exported = (format: string) => url(`api/wavetank/dashboards/${encodeURIComponent(uid)}/export/${format}`) + (own.size ? `?${own}` : "");
  const exports = ["html", "pdf", "png", "csv"].map((format) => (
    <a key={format} href={exported(format)} download>
      {format.toUpperCase()}
    </a>
  ));
  return (
    <Page title="Dashboard" wide aside={<><a href={href("dashboards")}>All dashboards</a><a href={leave}>Kiosk</a><span>Export</span>{exports}</>}>
      <Failure text={error} />
      {board ?? (!error && <Empty>Loading…</Empty>)}
    </Page>
  );
}
