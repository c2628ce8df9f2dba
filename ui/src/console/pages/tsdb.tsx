// What fills the head: the names, labels and pairs with the most series; and the blocks on disk.

import { bytes, count } from "../../report/format";
import { get } from "../api";
import { usePoll } from "../hooks";
import { useParameter } from "../router";
import { quoted, span, stamp } from "../text";
import { Empty, Failure, Page, Segmented } from "../ui";
import { queryLink } from "./alerts";

interface Top { name: string; value: number }
interface Head {
  headStats: { numSeries: number; numLabelPairs: number; chunkCount: number; minTime: number; maxTime: number };
  seriesCountByMetricName: Top[];
  labelValueCountByLabelName: Top[];
  memoryInBytesByLabelName: Top[];
  seriesCountByLabelValuePair: Top[];
}
interface Block { ulid: string; minTime: number; maxTime: number; stats?: { numSamples?: number; numSeries?: number; numChunks?: number }; compaction?: { level?: number } }

function TopTable(props: { title: string; note: string; rows: Top[]; total?: number; format?: (value: number) => string; link?: (name: string) => string }) {
  const most = Math.max(1, ...props.rows.map((row) => row.value));
  return (
    <section>
      <h2>{props.title} <small>{props.note}</small></h2>
      <table>
        <tbody>
          {props.rows.map((row) => (
            <tr>
              <td class="wrap">{props.link ? <a href={props.link(row.name)}><code>{row.name}</code></a> : <code>{row.name}</code>}</td>
              <td class="share"><span class="meter"><i aria-hidden="true"><i style={{ width: `${(row.value / most) * 100}%` }} /></i></span></td>
              <td class="number">{(props.format ?? count)(row.value)}</td>
              {props.total ? <td class="number dim">{((row.value / props.total) * 100).toFixed(1)} %</td> : null}
            </tr>
          ))}
        </tbody>
      </table>
      {!props.rows.length && <Empty>Nothing yet.</Empty>}
    </section>
  );
}

function pairQuery(pair: string): string {
  const at = pair.indexOf("=");
  return queryLink(`count by (__name__) ({${pair.slice(0, at)}=${quoted(pair.slice(at + 1))}})`);
}

export function TsdbPage() {
  const [limit, setLimit] = useParameter("limit", "10");
  const { data, error } = usePoll<Head>((signal) => get("api/v1/status/tsdb", { limit }, signal), 15, [limit]);
  const blocks = usePoll<{ blocks: Block[] }>((signal) => get("api/v1/status/tsdb/blocks", {}, signal), 60);
  const head = data?.headStats;
  return (
    <Page title="TSDB status" aside={<Segmented label="Rows" value={limit} onChange={setLimit} choices={[["10", "Top 10"], ["50", "50"], ["200", "200"]]} />}>
      <Failure text={error} />
      {head && (
        <dl class="figures">
          <div><dt>Series in the head</dt><dd>{count(head.numSeries)}</dd></div>
          <div><dt>Label pairs</dt><dd>{count(head.numLabelPairs)}</dd></div>
          <div><dt>Chunks</dt><dd>{count(head.chunkCount)}</dd></div>
          <div><dt>Span of the head</dt><dd>{head.maxTime > head.minTime ? span((head.maxTime - head.minTime) / 1000) : "–"}</dd></div>
          <div><dt>Blocks</dt><dd>{count(blocks.data?.blocks.length)}</dd></div>
        </dl>
      )}
      {data && (
        <div class="columns">
          <TopTable title="Series by metric name" note="which metrics cost most" rows={data.seriesCountByMetricName} total={head!.numSeries} link={(name) => queryLink(`{__name__=${quoted(name)}}`)} />
          <TopTable title="Series by label pair" note="which values are everywhere" rows={data.seriesCountByLabelValuePair} total={head!.numSeries} link={pairQuery} />
          <TopTable title="Values by label name" note="where cardinality comes from" rows={data.labelValueCountByLabelName} />
          <TopTable title="Memory by label name" note="bytes of label values" rows={data.memoryInBytesByLabelName} format={bytes} />
        </div>
      )}
      {blocks.data && blocks.data.blocks.length > 0 && (
        <section>
          <h2>Blocks</h2>
          <div class="scroll" tabIndex={0} role="region" aria-label="Blocks">
            <table>
              <thead><tr><th scope="col">block</th><th scope="col">from</th><th scope="col">span</th><th scope="col" class="number">level</th><th scope="col" class="number">series</th><th scope="col" class="number">samples</th></tr></thead>
              <tbody>
                {blocks.data.blocks.map((block) => (
                  <tr>
                    <td><code>{block.ulid}</code></td><td>{stamp(block.minTime, true)}</td><td>{span((block.maxTime - block.minTime) / 1000)}</td>
                    <td class="number">{block.compaction?.level ?? "–"}</td><td class="number">{count(block.stats?.numSeries)}</td><td class="number">{count(block.stats?.numSamples)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
    </Page>
  );
}
