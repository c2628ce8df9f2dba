// What a panel shows as comma-separated values; null where that has no sense.
import type { Drawing } from "./contract";

function quoted(value: string | number | null | undefined): string {
  let text = value === null || value === undefined ? "" : String(value);
  // A spreadsheet would run a text that begins like a formula.
  if (typeof value === "string" && /^[=+\-@\t]/.test(text)) text = `'${text}`;
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvOf(drawing: Drawing): string | null {
  const lines = rows(drawing);
  return lines && lines.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function rows(drawing: Drawing): (string | number | null | undefined)[][] | null {
  switch (drawing.draw) {
    case "timeseries":
      return [
        ["time", ...drawing.series.map((s) => s.label)],
        ...drawing.times.map((t, i) => [new Date(t * 1000).toISOString(), ...drawing.series.map((s) => s.values[i])]),
      ];
    case "table":
      return [drawing.columns.map((c) => c.name), ...drawing.rows.map((row) => row.map((cell) => (typeof cell.sort === "number" ? cell.sort : cell.text)))];
    case "stat":
    case "gauge":
    case "bargauge":
    case "piechart":
      return [["name", "value", "text"], ...drawing.items.map((item) => [item.title, item.value, item.text])];
    case "barchart":
      return [["category", ...drawing.series.map((s) => s.label)], ...drawing.categories.map((c, i) => [c, ...drawing.series.map((s) => s.values[i])])];
    default:
      return null;
  }
}
