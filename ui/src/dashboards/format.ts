// Numbers as text by the formats that Python decided: the same rules as src/wavetank/dashboards/units.py, for axis
// ticks and tooltips, whose values only the browser knows.
import type { Format } from "./contract";

const PLURAL = new Set([" min", " hour", " day", " week", " year"]);

export function autoDecimals(value: number): number {
  if (value % 1 === 0) return 0;
  let decimals = 1 - Math.floor(Math.log(Math.abs(value)) / Math.LN10);
  if (Math.abs(value) / 10 ** -decimals > 2.25) decimals += 1;
  return Math.max(0, decimals);
}

export function fixed(value: number, decimals: number | null): string {
  const places = decimals ?? autoDecimals(value);
  if (value === 0) return (0).toFixed(Math.max(0, places));
  const factor = 10 ** Math.max(0, places);
  const text = String(Math.round(value * factor) / factor);
  if (text.includes("e") || places <= 0) return text;
  const [whole, fraction = ""] = text.split(".");
  return `${whole}.${fraction.padEnd(places, "0")}`;
}

const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));

export function write(format: Format, value: number | null | undefined, decimals?: number): string {
  if (value === null || value === undefined) return "";
  if (Number.isNaN(value)) return "NaN";
  const places = decimals ?? ("decimals" in format ? format.decimals : null);
  switch (format.kind) {
    case "scaled": {
      const power = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)) / Math.log10(format.factor));
      const last = format.units.length - 1;
      const unit = format.units[clamp(format.start + power, 0, last)];
      const text = fixed(value / format.factor ** clamp(power, -format.start, last - format.start), places);
      return `${format.prefix}${text}${unit}`;
    }
    case "steps": {
      const size = Math.abs(value);
      if (size === 0) return `0${format.plain || format.steps[0]!.suffix}`;
      const step = format.steps.find((s) => s.below === null || size < s.below) ?? format.steps.at(-1)!;
      const shown = value / step.factor;
      const plural = PLURAL.has(step.suffix) && Math.abs(shown) > 1 && step.suffix !== format.plain;
      return `${fixed(shown, places)}${step.suffix}${plural ? "s" : ""}`;
    }
    case "fixed":
      return `${format.prefix}${fixed(value * format.factor, places)}${format.suffix}`;
    case "bool":
      return value ? format.yes : format.no;
    case "date":
      return date(value, format.pattern);
    case "clock":
      return clock(format.style.endsWith("ms") ? value / 1000 : value);
    case "number":
      switch (format.style) {
        case "hex":
          return value.toString(16).toUpperCase();
        case "0x":
          return `0x${value.toString(16).toUpperCase()}`;
        case "scientific":
          return value.toExponential(places ?? undefined);
        case "locale":
          return value.toLocaleString("en-US", { maximumFractionDigits: places ?? 3 });
        default:
          return String(value);
      }
  }
}

function clock(seconds: number): string {
  const whole = Math.floor(Math.abs(seconds));
  const two = (n: number) => String(n).padStart(2, "0");
  const days = Math.floor(whole / 86400);
  const text = `${two(Math.floor(whole / 3600) % 24)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return days ? `${days} d ${text}` : text;
}

/** Milliseconds by a moment.js pattern; the tokens that dashboards use. */
export function date(ms: number, pattern: string): string {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return "Invalid date";
  if (pattern === "fromNow") return ago(ms);
  const two = (n: number) => String(n).padStart(2, "0");
  const words: Record<string, string> = {
    YYYY: String(at.getFullYear()), MM: two(at.getMonth() + 1), DD: two(at.getDate()), HH: two(at.getHours()),
    mm: two(at.getMinutes()), ss: two(at.getSeconds()), SSS: String(at.getMilliseconds()).padStart(3, "0"),
    h: String(at.getHours() % 12 || 12), a: at.getHours() < 12 ? "am" : "pm", A: at.getHours() < 12 ? "AM" : "PM",
  };
  return pattern.replace(/YYYY|SSS|MM|DD|HH|mm|ss|h|a|A/g, (token) => words[token]!);
}

function ago(ms: number): string {
  const seconds = (Date.now() - ms) / 1000;
  const [count, unit] =
    Math.abs(seconds) < 60 ? [seconds, "second"] : Math.abs(seconds) < 3600 ? [seconds / 60, "minute"]
    : Math.abs(seconds) < 86400 ? [seconds / 3600, "hour"] : [seconds / 86400, "day"];
  const whole = Math.round(Math.abs(count as number));
  const words = `${whole} ${unit}${whole === 1 ? "" : "s"}`;
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}

/** A moment of a chart, as fine as its range needs. */
export function moment(seconds: number, range: number): string {
  if (range > 5 * 86400) return date(seconds * 1000, "MM-DD HH:mm");
  if (range > 86400) return date(seconds * 1000, "MM-DD HH:mm");
  return date(seconds * 1000, range > 1800 ? "HH:mm" : "HH:mm:ss");
}
