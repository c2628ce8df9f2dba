// Results of the query API, and as columns on one time axis.

import type { Labels } from "../text";

export type Bucket = [boundary: number, low: string, high: string, count: string];
export interface Histogram {
  count: string;
  sum: string;
  buckets?: Bucket[];
}
export interface RangeSeries {
  metric: Labels;
  values?: [number, string][];
  histograms?: [number, Histogram][];
}
export interface InstantSeries {
  metric: Labels;
  value?: [number, string];
  histogram?: [number, Histogram];
  values?: [number, string][];
  histograms?: [number, Histogram][];
}
export interface Stats {
  timings?: { evalTotalTime: number };
  samples?: { totalQueryableSamples: number; peakSamples: number };
}
export interface Matrix {
  resultType: "matrix";
  result: RangeSeries[];
  stats?: Stats;
}
/** What /api/wavetank/query_range tells beside its block of numbers. */
export interface Told {
  resultType: "matrix";
  /** Absent where there are native histograms; then `result` is as the API of Prometheus gives it. */
  columns?: Labels[];
  result?: RangeSeries[];
  startMs: number;
  stepMs: number;
  points: number;
  total: number;
  stats?: Stats;
  warnings: string[];
  infos: string[];
}
export type QueryResult =
  | Matrix
  | { resultType: "vector"; result: InstantSeries[]; stats?: Stats }
  | { resultType: "scalar" | "string"; result: [number, string]; stats?: Stats };

/** Without a gap as the numbers came over the wire; otherwise null stands in each gap, as uPlot wants it. */
export type Values = Float64Array | (number | null)[];

export interface Line {
  labels: Labels;
  values: Values;
}

export interface Columns {
  times: number[];
  lines: Line[];
  /** Series that hold native histograms only, with a heatmap's data for each moment. */
  histograms: { labels: Labels; at: (Histogram | null)[] }[];
}

/** A number of the API: "NaN" and infinities are not drawn, so they become null on a graph. */
function drawn(text: string): number | null {
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

/** Columns of an answer whose numbers lie in a block, [series][step]. */
export function columnsOfBlock(told: Told, block: Float64Array): Columns {
  const { points, startMs, stepMs } = told;
  const times = Array.from({ length: points }, (_, i) => (startMs + i * stepMs) / 1000);
  const lines = told.columns!.map((labels, i) => ({ labels, values: gapped(block.subarray(i * points, (i + 1) * points)) }));
  return { times, lines, histograms: [] };
}

function gapped(values: Float64Array): Values {
  return values.some(Number.isNaN) ? Array.from(values, (value) => (Number.isNaN(value) ? null : value)) : values;
}

export function columns(series: RangeSeries[], start: number, end: number, step: number): Columns {
  const length = Math.max(1, Math.floor((end - start) / step + 1e-6) + 1);
  const times = Array.from({ length }, (_, i) => start + i * step);
  const place = (at: number) => Math.round((at - start) / step);
  const lines: Line[] = [];
  const histograms: Columns["histograms"] = [];
  for (const one of series) {
    if (one.values?.length) {
      const values = new Array<number | null>(length).fill(null);
      for (const [at, text] of one.values) values[place(at)] = drawn(text);
      lines.push({ labels: one.metric, values });
    }
    if (one.histograms?.length) {
      const at = new Array<Histogram | null>(length).fill(null);
      for (const [moment, histogram] of one.histograms) at[place(moment)] = histogram;
      histograms.push({ labels: one.metric, at });
    }
  }
  return { times, lines, histograms };
}

export interface Heat {
  /** Upper bounds of the rows, from below, as texts. */
  rows: string[];
  /** [row][time]: how much lies in the row, null where nothing is known. */
  cells: (number | null)[][];
  most: number;
}

/** Rows of classic buckets (`le`, cumulative) or of native histograms; null where there are neither. */
export function heat(data: Columns): Heat | null {
  return classicHeat(data) ?? nativeHeat(data);
}

function classicHeat({ lines, times }: Columns): Heat | null {
  const bounded = lines.filter((line) => "le" in line.labels);
  if (!bounded.length) return null;
  const byBound = new Map<number, Values>();
  for (const line of bounded) {
    const bound = line.labels["le"] === "+Inf" ? Infinity : Number(line.labels["le"]);
    const sum = byBound.get(bound);
    byBound.set(bound, sum ? Array.from(sum, (value, i) => add(value, line.values[i] ?? null)) : line.values);
  }
  const bounds = [...byBound.keys()].sort((a, b) => a - b);
  const cells = bounds.map((bound, row) => {
    const here = byBound.get(bound)!;
    const below = row ? byBound.get(bounds[row - 1]!)! : null;
    return times.map((_, i) => {
      const value = here[i] ?? null;
      return value === null ? null : Math.max(0, value - (below?.[i] ?? 0));
    });
  });
  return finished(bounds.map((bound) => (bound === Infinity ? "+Inf" : String(bound))), cells);
}

function add(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : a + b;
}

const ROWS_MAX = 160;

function nativeHeat({ histograms, times }: Columns): Heat | null {
  const bounds = new Set<number>();
  for (const { at } of histograms) for (const one of at) for (const bucket of one?.buckets ?? []) bounds.add(Number(bucket[2]));
  if (!bounds.size) return null;
  const rows = [...bounds].sort((a, b) => a - b).slice(-ROWS_MAX);
  const index = new Map(rows.map((bound, row) => [bound, row]));
  const cells = rows.map(() => new Array<number | null>(times.length).fill(null));
  for (const { at } of histograms) {
    at.forEach((one, i) => {
      for (const [, , high, count] of one?.buckets ?? []) {
        const row = index.get(Number(high));
        if (row !== undefined) cells[row]![i] = (cells[row]![i] ?? 0) + Number(count);
      }
    });
  }
  return finished(rows.map((bound) => String(Number(bound.toPrecision(4)))), cells);
}

function finished(rows: string[], cells: (number | null)[][]): Heat {
  let most = 0;
  for (const row of cells) for (const value of row) if (value !== null && value > most) most = value;
  return { rows, cells, most };
}
