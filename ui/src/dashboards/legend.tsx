// The legend of a chart: a list, or a table with its calculated columns that sorts by a click.
import { useState } from "preact/hooks";

import type { Legend as Setting, Shown } from "./contract";

export interface Entry {
  index: number;
  label: string;
  colour: string;
  calcs: Shown[];
  extra?: string[];
}

interface Props {
  setting: Setting;
  entries: Entry[];
  hidden: ReadonlySet<number>;
  toggle?: (index: number, alone: boolean) => void;
}

const SHOWN = 200;

export function Legend({ setting, entries, hidden, toggle }: Props) {
  const first = Math.max(-1, setting.calcs.indexOf(setting.sort_by));
  const [sort, setSort] = useState<{ column: number; descending: boolean } | null>(
    setting.sort_by ? { column: first, descending: setting.descending } : null,
  );
  if (!setting.show || !entries.length) return null;
  const ordered = sort ? [...entries].sort((a, b) => compare(a, b, sort.column) * (sort.descending ? -1 : 1)) : entries;
  const shown = ordered.slice(0, SHOWN);
  const name = (entry: Entry) => (
    <button
      type="button"
      class="wt-name"
      aria-pressed={!hidden.has(entry.index)}
      title={entry.label}
      onClick={(event) => toggle?.(entry.index, !event.ctrlKey && !event.metaKey && !event.shiftKey)}
    >
      <i style={{ background: entry.colour }} />
      {entry.label}
    </button>
  );
  const more = entries.length > SHOWN && <span class="wt-more">and {entries.length - SHOWN} more</span>;
  if (!setting.table) {
    return (
      <div class="wt-legend">
        {shown.map((entry) => (
          <span key={entry.index} class={hidden.has(entry.index) ? "off" : ""}>
            {name(entry)}
            {setting.calcs.map((calc, i) => (
              <small>{calc}: {entry.calcs[i]?.text}</small>
            ))}
            {entry.extra?.map((text) => <small>{text}</small>)}
          </span>
        ))}
        {more}
      </div>
    );
  }
  const head = (column: number, title: string) => (
    <th scope="col" aria-sort={sort?.column === column ? (sort.descending ? "descending" : "ascending") : "none"}>
      <button
        type="button"
        onClick={() => setSort(sort?.column !== column ? { column, descending: true } : sort.descending ? { column, descending: false } : null)}
      >
        {title}{sort?.column === column ? (sort.descending ? " ▾" : " ▴") : ""}
      </button>
    </th>
  );
  return (
    <div class="wt-legend wt-legend-table" tabIndex={0} role="group" aria-label="Legend">
      <table>
        <thead><tr>{head(-1, "Name")}{setting.calcs.map((calc, i) => head(i, calc))}</tr></thead>
        <tbody>
          {shown.map((entry) => (
            <tr key={entry.index} class={hidden.has(entry.index) ? "off" : ""}>
              <td>{name(entry)}</td>
              {setting.calcs.map((_, i) => <td class="n">{entry.calcs[i]?.text}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
      {more}
    </div>
  );
}

function compare(a: Entry, b: Entry, column: number): number {
  if (column < 0) return a.label.localeCompare(b.label, "en", { numeric: true });
  const [x, y] = [a.calcs[column]?.value, b.calcs[column]?.value];
  return (x ?? -Infinity) - (y ?? -Infinity);
}
