// What discovery found: kept targets and dropped ones, with the step that dropped them.

import { get } from "../api";
import { usePoll } from "../hooks";
import { useParameter } from "../router";
import { labelPairs, type Labels } from "../text";
import { Badge, Empty, Failure, LabelList, Lazy, Page, Search } from "../ui";
import { RelabelSteps } from "./relabel";
import type { Targets } from "./targets";

interface Found {
  pool: string;
  discovered: Labels;
  labels: Labels | null;
}

const SHOWN = 200;

function Entry({ found }: { found: Found }) {
  const named = found.discovered["__address__"] ?? labelPairs(found.discovered)[0]?.[1] ?? "";
  return (
    <Lazy
      class="entry"
      summary={
        <>
          <Badge tone={found.labels ? "good" : "plain"}>{found.labels ? "kept" : "dropped"}</Badge> <code>{named}</code> {found.labels && <LabelList labels={found.labels} />}
        </>
      }
    >
      {() => <RelabelSteps pool={found.pool} labels={found.discovered} />}
    </Lazy>
  );
}

export function DiscoveryPage() {
  const { data, error } = usePoll<Targets>((signal) => get("api/v1/targets", { state: "any" }, signal), 15);
  const [text, setText] = useParameter("search");
  const word = text.toLowerCase();
  const all: Found[] = [
    ...(data?.activeTargets ?? []).map((target) => ({ pool: target.scrapePool, discovered: target.discoveredLabels, labels: target.labels })),
    ...(data?.droppedTargets ?? []).map((target) => ({ pool: target.scrapePool ?? "", discovered: target.discoveredLabels, labels: null })),
  ];
  const shown = all.filter((found) => JSON.stringify(found).toLowerCase().includes(word));
  const pools = Map.groupBy(shown, (found) => found.pool);
  return (
    <Page title="Service discovery" aside={<Search value={text} onChange={setText} label="Search labels" />}>
      <Failure text={error} />
      {[...pools].sort(([a], [b]) => (a < b ? -1 : 1)).map(([pool, found]) => (
        <section key={pool}>
          <h2>{pool} <small>{found.filter((one) => one.labels).length} kept, {data?.droppedTargetCounts[pool] ?? 0} dropped</small></h2>
          {found.slice(0, SHOWN).map((one, i) => <Entry key={`${i}${one.discovered["__address__"] ?? ""}`} found={one} />)}
          {found.length > SHOWN && <p class="dim small">the first {SHOWN} of {found.length}; search to narrow them down</p>}
        </section>
      ))}
      {data && !shown.length && <Empty>{all.length ? "Nothing matches." : "Discovery found nothing yet."}</Empty>}
    </Page>
  );
}
