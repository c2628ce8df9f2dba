// What is scraped, and how it goes.

import { seconds } from "../../report/format";
import { get } from "../api";
import { usePoll } from "../hooks";
import { useParameter } from "../router";
import type { Labels } from "../text";
import { Age, Badge, Check, Empty, Failure, LabelList, Lazy, Page, Scroll, Search, type Tone } from "../ui";
import { RelabelSteps } from "./relabel";

export interface Target {
  discoveredLabels: Labels;
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: string;
  scrapeInterval: string;
  scrapeTimeout: string;
}

export interface Targets {
  activeTargets: Target[];
  droppedTargets: { discoveredLabels: Labels; scrapePool?: string }[];
  droppedTargetCounts: Record<string, number>;
}

const HEALTH: Record<string, Tone> = { up: "good", down: "bad", unknown: "plain" };

function Row({ target }: { target: Target }) {
  return (
    <tr class={target.health === "down" ? "down" : ""}>
      <td><Badge tone={HEALTH[target.health] ?? "plain"}>{target.health}</Badge></td>
      <td class="wrap">
        <code>{target.scrapeUrl}</code>
        <div><LabelList labels={target.labels} /></div>
        {target.lastError && <div class="error small">{target.lastError}</div>}
        <Lazy class="small" summary="Discovered labels and relabelling">{() => <RelabelSteps pool={target.scrapePool} labels={target.discoveredLabels} />}</Lazy>
      </td>
      <td class="number"><Age at={target.lastScrape} /></td>
      <td class="number">{seconds(target.lastScrapeDuration)}</td>
      <td class="number dim">{target.scrapeInterval}</td>
    </tr>
  );
}

export function TargetsPage() {
  const { data, error } = usePoll<Targets>((signal) => get("api/v1/targets", { state: "active" }, signal), 5);
  const [text, setText] = useParameter("search");
  const [only, setOnly] = useParameter("unhealthy");
  const word = text.toLowerCase();
  const all = data?.activeTargets ?? [];
  const shown = all.filter((target) => (!only || target.health !== "up") && `${target.scrapeUrl} ${target.scrapePool} ${JSON.stringify(target.labels)}`.toLowerCase().includes(word));
  const pools = Map.groupBy(shown, (target) => target.scrapePool);
  return (
    <Page title="Targets">
      <div class="filters">
        <Search value={text} onChange={setText} label="Search targets" />
        <Check checked={!!only} onChange={(on) => setOnly(on ? "1" : "")}>Only unhealthy</Check>
        <output>{all.filter((target) => target.health === "up").length} of {all.length} up</output>
      </div>
      <Failure text={error} />
      {[...pools].map(([pool, targets]) => (
        <section key={pool}>
          <h2>{pool} <small>{targets.filter((target) => target.health === "up").length} of {targets.length} up</small></h2>
          <Scroll label={`Targets of ${pool}`}>
            <table class="targets">
              <thead>
                <tr><th scope="col">health</th><th scope="col">endpoint and labels</th><th scope="col" class="number">last scrape</th><th scope="col" class="number">took</th><th scope="col" class="number">every</th></tr>
              </thead>
              <tbody>{targets.slice(0, 500).map((target) => <Row key={target.scrapeUrl} target={target} />)}</tbody>
            </table>
          </Scroll>
          {targets.length > 500 && <p class="dim small">the first 500 of {targets.length}; search to narrow them down</p>}
        </section>
      ))}
      {data && !shown.length && <Empty>{all.length ? "No target matches." : "There are no targets."}</Empty>}
    </Page>
  );
}
