// Dashboards: the list by folder, and the one that is looked at. What is on it, the dashboards' own code draws.

import { usePoll } from "../hooks";
import { href, useParameter } from "../router";
import { Empty, Failure, Page, Search } from "../ui";

interface Found { uid: string; title: string; type: string; folderTitle?: string; tags?: string[] }

async function search(signal: AbortSignal): Promise<Found[]> {
  const response = await fetch(new URL("api/search?type=dash-db&limit=5000", document.baseURI.split("#")[0]), { signal });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return (await response.json()) as Found[];
}

export function DashboardList() {
  const { data, error } = usePoll<Found[]>(search, 30);
  const [text, setText] = useParameter("search");
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = (data ?? []).filter((one) => words.every((word) => `${one.title} ${(one.tags ?? []).join(" ")} ${one.folderTitle ?? ""}`.toLowerCase().includes(word)));
  const folders = [...Map.groupBy(shown, (one) => one.folderTitle ?? "General")].sort(([a], [b]) => (a < b ? -1 : 1));
  return (
    <Page title="Dashboards" aside={<Search value={text} onChange={setText} label="Search dashboards" />}>
      <Failure text={error} />
      {folders.map(([folder, found]) => (
        <section>
          <h2>{folder} <small>{found.length}</small></h2>
          <ul class="dashboard-list">
            {found.map((one) => (
              <li>
                <a href={href(["dashboards", one.uid])}>{one.title}</a> {(one.tags ?? []).map((tag) => <span class="badge plain">{tag}</span>)}
              </li>
            ))}
          </ul>
        </section>
      ))}
      {data && !shown.length && <Empty>{data.length ? "No dashboard matches." : "No dashboards yet: start the server with --web.dashboards=FOLDER."}</Empty>}
    </Page>
  );
}
