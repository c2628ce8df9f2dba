// Tables: sorted by a click, filtered where the column allows it; only the rows in sight are in the page.
import { useMemo, useRef, useState } from "preact/hooks";

import { useBox } from "./box";
import type { Cell, Column, TableDrawing } from "./contract";
import { inkOn } from "./single";

const HEIGHTS = { sm: 26, md: 34, lg: 46 };

function compare(a: Cell, b: Cell): number {
  if (a.sort === null || b.sort === null) return a.sort === b.sort ? 0 : a.sort === null ? 1 : -1;
  if (typeof a.sort === "number" && typeof b.sort === "number") return a.sort - b.sort;
  return String(a.sort).localeCompare(String(b.sort), "en", { numeric: true });
}

function Value({ cell, column }: { cell: Cell; column: Column }) {
  const text = cell.url ? <a href={cell.url} title={cell.title}>{cell.text}</a> : cell.text;
  switch (column.cell) {
    case "gauge":
      return <span class="wt-meter"><i style={{ width: `${cell.percent * 100}%`, background: cell.colour || "currentColor" }} /><span style={{ color: cell.colour || "inherit" }}>{text}</span></span>;
    case "pill":
      return cell.text ? <span class="wt-pill" style={cell.colour ? { background: cell.colour, color: inkOn(cell.colour) } : {}}>{text}</span> : null;
    case "json":
      return <code>{text}</code>;
    case "color-text":
      return <span style={cell.colour ? { color: cell.colour } : {}}>{text}</span>;
    default:
      return <>{text}</>;
  }
}

export function Table({ drawing }: { drawing: TableDrawing }) {
  const holder = useRef<HTMLDivElement>(null);
  const box = useBox(holder);
  const [sort, setSort] = useState(drawing.sort_by[0] ?? null);
  const [filters, setFilters] = useState<Record<number, string>>({});
  const [top, setTop] = useState(0);
  const height = HEIGHTS[drawing.height] ?? HEIGHTS.sm;
  const rows = useMemo(() => {
    const wanted = Object.entries(filters).filter(([, text]) => text);
    const kept = drawing.rows.filter((row) => wanted.every(([i, text]) => row[Number(i)]!.text.toLowerCase().includes(text.toLowerCase())));
    if (!sort) return kept;
    const missing = kept.filter((row) => row[sort.column]?.sort === null);
    const known = kept.filter((row) => row[sort.column]?.sort !== null).sort((a, b) => compare(a[sort.column]!, b[sort.column]!) * (sort.descending ? -1 : 1));
    return [...known, ...missing];
  }, [drawing, sort, filters]);
  const wraps = drawing.columns.some((column) => column.wrap);
  const virtual = rows.length > 100 && !wraps;
  const first = virtual ? Math.max(0, Math.floor(top / height) - 10) : 0;
  const last = virtual ? Math.min(rows.length, first + Math.ceil(box.height / height) + 30) : rows.length;
  const order = (column: number) =>
    setSort(sort?.column !== column ? { column, descending: false } : sort.descending ? null : { column, descending: true });
  const filterable = drawing.columns.some((column) => column.filterable);
  const footed = drawing.columns.some((column) => column.footer);
  return (
    <div class="wt-table" ref={holder} tabIndex={0} role="region" aria-label="Table" onScroll={(event) => virtual && setTop(event.currentTarget.scrollTop)}>
      <table>
        {drawing.header && (
          <thead>
            <tr>
              {drawing.columns.map((column, i) => (
                <th scope="col" style={{ textAlign: column.align, ...(column.width && { width: `${column.width}px` }) }} aria-sort={sort?.column === i ? (sort.descending ? "descending" : "ascending") : "none"}>
                  <button type="button" onClick={() => order(i)}>{column.name}{sort?.column === i ? (sort.descending ? " ▾" : " ▴") : ""}</button>
                </th>
              ))}
            </tr>
            {filterable && (
              <tr class="wt-filters">
                {drawing.columns.map((column, i) => (
                  <th>{column.filterable && <input aria-label={`Filter ${column.name}`} placeholder="filter" value={filters[i] ?? ""} onInput={(event) => setFilters({ ...filters, [i]: event.currentTarget.value })} />}</th>
                ))}
              </tr>
            )}
          </thead>
        )}
        <tbody>
          {first > 0 && <tr style={{ height: `${first * height}px` }} />}
          {rows.slice(first, last).map((row) => (
            <tr style={{ height: `${height}px` }}>
              {row.map((cell, i) => {
                const column = drawing.columns[i]!;
                const filled = column.cell === "color-background" && cell.colour && cell.colour !== "transparent";
                return (
                  <td class={column.wrap ? "wrap" : ""} style={{ textAlign: column.align, ...(filled && { background: cell.colour, color: inkOn(cell.colour) }) }}>
                    <Value cell={cell} column={column} />
                  </td>
                );
              })}
            </tr>
          ))}
          {last < rows.length && <tr style={{ height: `${(rows.length - last) * height}px` }} />}
        </tbody>
        {footed && <tfoot><tr>{drawing.columns.map((column) => <td style={{ textAlign: column.align }}>{column.footer}</td>)}</tr></tfoot>}
      </table>
    </div>
  );
}
