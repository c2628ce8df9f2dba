// Numbers and moments as a reader wants them; a missing value is an en dash. The same rules as wording.py.

export const DASH = "–";

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function missing(value: number | null | undefined): value is null | undefined {
  return value === null || value === undefined || !Number.isFinite(value);
}

/** Three significant digits, without an exponent: 0.0123, 1.23, 12.3, 1,235. */
export function significant(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 99.95) return grouped.format(value);
  const digits = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size))));
  return String(Number(value.toFixed(digits)));
}

export function count(value: number | null | undefined): string {
  return missing(value) ? DASH : grouped.format(value);
}

export function plain(value: number | null | undefined): string {
  return missing(value) ? DASH : significant(value);
}

export function rate(value: number | null | undefined): string {
  return missing(value) ? DASH : `${significant(value)}/s`;
}

export function seconds(value: number | null | undefined): string {
  if (missing(value)) return DASH;
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.9995) return `${significant(value * 1000)} ms`;
  if (size < 60) return `${size < 10 ? value.toFixed(2) : value.toFixed(1)} s`;
  return duration(value);
}

export function milliseconds(value: number | null | undefined): string {
  return missing(value) ? DASH : seconds(value / 1000);
}

/** 59 s, 3 min 7 s, 2 h 5 min. */
export function duration(value: number): string {
  const whole = Math.round(Math.abs(value));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return m ? `${h} h ${m} min` : `${h} h`;
  if (m > 0) return s ? `${m} min ${s} s` : `${m} min`;
  return `${s} s`;
}

/** Enough digits that a ratio near one does not round to all: 99.973 %. */
export function percent(value: number | null | undefined): string {
  if (missing(value)) return DASH;
  if (value <= 0.9 || value >= 1) return `${significant(value * 100)} %`;
  const off = 1 - value;
  const digits = off >= 0.01 ? 1 : off >= 0.001 ? 2 : 3;
  return `${Number((value * 100).toFixed(digits))} %`;
}

export function bytes(value: number | null | undefined): string {
  if (missing(value)) return DASH;
  let [scaled, unit] = [value, 0];
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  while (Math.abs(scaled) >= 1024 && unit < units.length - 1) [scaled, unit] = [scaled / 1024, unit + 1];
  return `${significant(scaled)} ${units[unit]}`;
}

/** A moment of the run, from its start: 1:23, 1:23.4 with tenths, 2:03:00 in runs of hours. */
export function clock(at: number | null | undefined, tenths = false): string {
  if (missing(at)) return DASH;
  const sign = at < 0 ? "−" : "";
  const size = tenths ? Math.round(Math.abs(at) * 10) / 10 : Math.round(Math.abs(at));
  const [h, m] = [Math.floor(size / 3600), Math.floor(size / 60) % 60];
  const rest = tenths ? (size % 60).toFixed(1).padStart(4, "0") : String(size % 60).padStart(2, "0");
  return h ? `${sign}${h}:${String(m).padStart(2, "0")}:${rest}` : `${sign}${m}:${rest}`;
}

/** A value in the unit that an SLO names. */
export function inUnit(value: number | null | undefined, unit: string): string {
  if (missing(value)) return DASH;
  switch (unit) {
    case "ratio":
      return percent(value);
    case "seconds":
    case "s":
      return seconds(value);
    case "milliseconds":
    case "ms":
      return milliseconds(value);
    case "bytes":
      return bytes(value);
    default:
      return unit ? `${significant(value)} ${unit}` : significant(value);
  }
}

export function utc(unixSeconds: number): string {
  return `${new Date(unixSeconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Deployment/shop/checkout → checkout; the full name stays in titles. */
export function shortName(reference: string): string {
  return reference.slice(reference.lastIndexOf("/") + 1);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}
