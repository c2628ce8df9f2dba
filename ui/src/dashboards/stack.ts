// Stacking: what is drawn where series of one group lie upon each other. Hidden series leave their place.
import type { Series } from "./contract";

export type Values = (number | null)[];

/** The values to draw, and for each series the series below it in its stack (-1 for none). */
export function stacked(series: Series[], hidden: ReadonlySet<number>): { values: Values[]; below: number[] } {
  const values = series.map((s) => s.values);
  const below = series.map(() => -1);
  const groups = new Map<string, number[]>();
  series.forEach((s, i) => {
    if (!s.stack || hidden.has(i) || s.hide.viz) return;
    // Values above and below zero stack away from it.
    const sign = s.values.some((v) => v !== null && v < 0) && !s.values.some((v) => v !== null && v > 0) ? "-" : "+";
    const key = `${s.stack}|${s.stack_group}|${s.axis}|${sign}`;
    groups.set(key, [...(groups.get(key) ?? []), i]);
  });
  for (const [key, members] of groups) {
    const length = series[members[0]!]!.values.length;
    const totals = key.startsWith("percent")
      ? Array.from({ length }, (_, t) => members.reduce((sum, i) => sum + Math.abs(series[i]!.values[t] ?? 0), 0))
      : null;
    const floor = new Array<number>(length).fill(0);
    members.forEach((i, place) => {
      const own = series[i]!.values;
      values[i] = own.map((v, t) => {
        if (v === null && members.every((m) => series[m]!.values[t] === null)) return null;
        const share = totals ? (totals[t] ? (v ?? 0) / totals[t]! : 0) : (v ?? 0);
        return (floor[t]! += share);
      });
      below[i] = place ? members[place - 1]! : -1;
    });
  }
  return { values, below };
}
