// The values of an instant query. Long lists are shown in parts.

import { useState } from "preact/hooks";

import { Empty, Scroll } from "../ui";
import { full, labelPairs, short, stamp, type Labels } from "../text";
import type { Histogram, InstantSeries, QueryResult } from "./results";

const ROWS = 200;
const SAMPLES = 20;

export function SeriesText({ labels }: { labels: Labels }) {
  const pairs = labelPairs(labels).filter(([name]) => name !== "__name__");
  return (
    <code class="series-text">
      <b>{labels["__name__"] ?? ""}</b>
      {(pairs.length > 0 || !labels["__name__"]) && "{"}
      {pairs.map(([name, value], i) => (
        <>
          {i > 0 && ", "}
          <i>{name}</i>="<span>{value}</span>"
        </>
      ))}
      {(pairs.length > 0 || !labels["__name__"]) && "}"}
    </code>
  );
}

function HistogramCell({ histogram }: { histogram: Histogram }) {
  const buckets = histogram.buckets ?? [];
  const most = Math.max(...buckets.map((bucket) => Number(bucket[3])), 1e-300);
  return (
    <div class="histogram">
      <span>count {full(Number(histogram.count))}, sum {full(Number(histogram.sum))}</span>
      <span class="bars" role="img" aria-label={`${buckets.length} buckets`}>
        {buckets.map(([, low, high, count]) => (
          <i title={`${low} to ${high}: ${count}`} style={{ height: `${Math.max(2, (Number(count) / most) * 36)}px` }} />
        ))}
      </span>
    </div>
  );
}

function Samples({ series, utc }: { series: InstantSeries; utc: boolean }) {
  const values = series.values ?? [];
  return (
    <span class="samples">
      {values.slice(-SAMPLES).map(([at, value]) => (
        <span>
          {full(Number(value))} <i>@ {stamp(at * 1000, utc).slice(11)}</i>
        </span>
      ))}
      {values.length > SAMPLES && <i>the last {SAMPLES} of {values.length} samples</i>}
      {(series.histograms ?? []).slice(-3).map(([, histogram]) => <HistogramCell histogram={histogram} />)}
    </span>
  );
}

function Cell({ series, utc }: { series: InstantSeries; utc: boolean }) {
  if (series.histogram) return <HistogramCell histogram={series.histogram[1]} />;
  if (series.value) return <>{full(Number(series.value[1]))}</>;
  return <Samples series={series} utc={utc} />;
}

export function ResultTable({ result, utc }: { result: QueryResult; utc: boolean }) {
  const [shown, show] = useState(ROWS);
  if (result.resultType === "scalar" || result.resultType === "string") {
    return <p class="single"><b>{result.resultType === "scalar" ? full(Number(result.result[1])) : result.result[1]}</b> <span class="dim">{result.resultType}</span></p>;
  }
  const rows = result.result as InstantSeries[];
  if (!rows.length) return <Empty>No series matches at this moment.</Empty>;
  return (
    <>
      <Scroll label="Result">
        <table class="result">
          <thead><tr><th scope="col">series</th><th scope="col" class="number">value</th></tr></thead>
          <tbody>
            {rows.slice(0, shown).map((series) => (
              <tr>
                <td class="wrap"><SeriesText labels={series.metric} /></td>
                <td class="number"><Cell series={series} utc={utc} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {rows.length > shown && (
        <button type="button" class="plain" onClick={() => show(shown + 5 * ROWS)}>
          Show more: {short(rows.length - shown)} rows are left
        </button>
      )}
    </>
  );
}
