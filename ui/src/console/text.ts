// Texts for people: labels, series, times, numbers.

export type Labels = Record<string, string>;

export function labelPairs(labels: Labels): [string, string][] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

export function quoted(value: string): string {
  return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}

const LEGACY = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** A series in PromQL's own form; `without` are labels not to show. */
export function seriesName(labels: Labels, without: ReadonlySet<string> = new Set()): string {
  const name = without.has("__name__") ? "" : (labels["__name__"] ?? "");
  const pairs = labelPairs(labels)
    .filter(([label]) => label !== "__name__" && !without.has(label))
    .map(([label, value]) => `${LEGACY.test(label) ? label : quoted(label)}=${quoted(value)}`);
  if (name && !LEGACY.test(name)) return `{${[quoted(name), ...pairs].join(", ")}}`;
  return pairs.length || !name ? `${name}{${pairs.join(", ")}}` : name;
}

/** Labels that are the same in all series, and so need be told only once. */
export function commonLabels(series: Labels[]): Labels {
  const [first, ...others] = series;
  if (!first || !others.length) return {};
  return Object.fromEntries(Object.entries(first).filter(([name, value]) => others.every((labels) => labels[name] === value)));
}

/** 12 s ago, 4 min ago; milliseconds in. */
export function age(moment: number, now = Date.now()): string {
  const seconds = (now - moment) / 1000;
  if (seconds < 0) return `in ${span(-seconds)}`;
  return seconds < 1 ? "just now" : `${span(seconds)} ago`;
}

export function span(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** 5m, 1h30m, 2d: as PromQL writes it; seconds in. */
export function duration(seconds: number): string {
  let rest = Math.round(seconds * 1000);
  if (rest <= 0) return "0s";
  const units: [string, number][] = [["w", 604800000], ["d", 86400000], ["h", 3600000], ["m", 60000], ["s", 1000], ["ms", 1]];
  let text = "";
  for (const [unit, size] of units) {
    if (unit === "w" && rest % size) continue;
    const count = Math.floor(rest / size);
    if (count) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text;
}

const SIZES: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };

/** Seconds of a PromQL duration or a plain number; NaN where it is neither. */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (!/^(\d+(ms|[smhdwy]))+$/.test(trimmed)) return NaN;
  return [...trimmed.matchAll(/(\d+)(ms|[smhdwy])/g)].reduce((sum, [, count, unit]) => sum + Number(count) * SIZES[unit!]!, 0);
}

const SI: [number, string][] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

/** A number on an axis: as short as it can be told. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "Inf");
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(2);
  for (const [scale, unit] of SI) if (size >= scale * (scale === 1e3 ? 10 : 1)) return `${trim(value / scale, 4)}${unit}`;
  return trim(value, 5);
}

function trim(value: number, digits: number): string {
  return String(Number(value.toPrecision(digits)));
}

/** A sample's value in full, as the API wrote it; only very long fractions are cut. */
export function full(value: number): string {
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "Inf");
  return String(Number(value.toPrecision(10)));
}

/** Local date and time for inputs, or in UTC. */
export function stamp(milliseconds: number, utc: boolean, withSeconds = true): string {
  const moment = new Date(utc ? milliseconds : milliseconds - new Date(milliseconds).getTimezoneOffset() * 60000);
  return moment.toISOString().slice(0, withSeconds ? 19 : 16).replace("T", " ");
}

/** Milliseconds of what an input holds: a date, or Unix seconds; NaN where it is neither. */
export function parseStamp(text: string, utc: boolean): number {
  const trimmed = text.trim();
  if (/^\d{9,11}(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1000;
  if (/[zZ]|[+-]\d\d:?\d\d$/.test(trimmed)) return Date.parse(trimmed);
  return Date.parse(trimmed.replace(" ", "T") + (utc ? "Z" : ""));
}
