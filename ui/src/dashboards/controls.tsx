// Above the rows: variables, time range, refresh, links.
import { useState } from "preact/hooks";

import type { Link, Resolved, Variable } from "./contract";

export interface Choices {
  from: string;
  to: string;
  refresh: string;
  variables: Record<string, string[]>;
}

const QUICK: [string, string][] = [
  ["now-5m", "Last 5 minutes"], ["now-15m", "Last 15 minutes"], ["now-30m", "Last 30 minutes"], ["now-1h", "Last hour"],
  ["now-3h", "Last 3 hours"], ["now-6h", "Last 6 hours"], ["now-12h", "Last 12 hours"], ["now-24h", "Last 24 hours"],
  ["now-2d", "Last 2 days"], ["now-7d", "Last 7 days"], ["now-30d", "Last 30 days"],
];

export function choicesOf(search: string): Choices {
  const params = new URLSearchParams(search);
  const variables: Record<string, string[]> = {};
  for (const [key, value] of params) if (key.startsWith("var-")) (variables[key.slice(4)] ??= []).push(value);
  return { from: params.get("from") ?? "", to: params.get("to") ?? "", refresh: params.get("refresh") ?? "", variables };
}

export function searchOf(choices: Choices): string {
  const params = new URLSearchParams();
  if (choices.from) params.set("from", choices.from);
  if (choices.to) params.set("to", choices.to);
  if (choices.refresh) params.set("refresh", choices.refresh);
  for (const [name, values] of Object.entries(choices.variables)) for (const value of values) params.append(`var-${name}`, value);
  return params.toString();
}

function Many({ variable, set }: { variable: Variable; set: (values: string[]) => void }) {
  const [filter, setFilter] = useState("");
  const chosen = new Set(variable.value);
  const shown = variable.options.filter((o) => o.text.toLowerCase().includes(filter.toLowerCase())).slice(0, 300);
  const pick = (value: string) => {
    if (value === "$__all") return set(["$__all"]);
    const next = new Set([...chosen].filter((v) => v !== "$__all"));
    if (!next.delete(value)) next.add(value);
    set(next.size ? [...next] : variable.include_all ? ["$__all"] : [value]);
  };
  return (
    <details class="wt-many">
      <summary>{variable.text || "none"}</summary>
      <div>
        {variable.options.length > 8 && <input type="search" placeholder="filter" aria-label={`Filter ${variable.label}`} value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />}
        {shown.map((o) => (
          <label><input type="checkbox" checked={chosen.has(o.value)} onChange={() => pick(o.value)} />{o.text || "(empty)"}</label>
        ))}
        {variable.options_cut > 0 && <small>{variable.options_cut} more are not listed</small>}
      </div>
    </details>
  );
}

function Control({ variable, set }: { variable: Variable; set: (values: string[]) => void }) {
  switch (variable.type) {
    case "textbox":
      return <input value={variable.value[0] ?? ""} aria-label={variable.label} onChange={(event) => set([event.currentTarget.value])} />;
    case "adhoc":
      return <input class="wide" placeholder="label|=|value" aria-label={variable.label} value={variable.value.join(", ")} onChange={(event) => set(event.currentTarget.value.split(",").map((v) => v.trim()).filter(Boolean))} />;
    case "switch": {
      const [on, off] = [variable.options[0]?.value ?? "true", variable.options[1]?.value ?? "false"];
      return <input type="checkbox" aria-label={variable.label} checked={variable.value[0] === on} onChange={(event) => set([event.currentTarget.checked ? on : off])} />;
    }
    case "datasource":
      return <span class="wt-fixed">{variable.text}</span>;
    default:
      if (variable.multi) return <Many variable={variable} set={set} />;
      return (
        <select aria-label={variable.label} value={variable.value[0] ?? ""} onChange={(event) => set([event.currentTarget.value])}>
          {!variable.options.some((o) => o.selected) && <option value={variable.value[0] ?? ""}>{variable.value[0] || "none"}</option>}
          {variable.options.slice(0, 2000).map((o) => <option value={o.value}>{o.text || "(empty)"}</option>)}
        </select>
      );
  }
}

export function Anchor({ link }: { link: Link }) {
  if (link.items.length) {
    return (
      <details class="wt-many">
        <summary>{link.title || "Dashboards"}</summary>
        <div>{link.items.map((item) => <a href={item.url}>{item.title}</a>)}</div>
      </details>
    );
  }
  return link.url ? <a href={link.url} title={link.tooltip} {...(link.new_tab && { target: "_blank", rel: "noopener noreferrer" })}>{link.title || link.url}</a> : null;
}

interface Props {
  board: Resolved;
  choices: Choices;
  change: (choices: Choices) => void;
  again: () => void;
  marks: ReadonlySet<string>; // names of the annotations that are on
  setMarks: (names: ReadonlySet<string>) => void;
}

export function Controls({ board, choices, change, again, marks, setMarks }: Props) {
  const [custom, setCustom] = useState(false);
  const [from, to] = [choices.from || board.time.from, choices.to || board.time.to];
  const known = to === "now" && QUICK.some(([value]) => value === from);
  const set = (name: string) => (values: string[]) => {
    const all = Object.fromEntries(board.variables.map((v) => [v.name, v.value]));
    change({ ...choices, variables: { ...all, [name]: values } });
  };
  const refresh = choices.refresh || board.refresh;
  return (
    <div class="wt-controls">
      {board.variables.filter((v) => v.hide !== "variable").map((variable) => (
        <label title={variable.error || variable.description} class={variable.error ? "error" : ""}>
          {variable.hide !== "label" && <span>{variable.label}</span>}
          <Control variable={variable} set={set(variable.name)} />
        </label>
      ))}
      {board.annotations.filter((one) => !one.hidden).map(({ name, colour }) => (
        <label class="wt-toggle" title="Marks on the time axes">
          <input type="checkbox" checked={marks.has(name)} onChange={() => setMarks(new Set(marks.has(name) ? [...marks].filter((n) => n !== name) : [...marks, name]))} />
          <i style={{ background: colour || "var(--accent, currentColor)" }} />{name}
        </label>
      ))}
      {board.links.map((link) => <Anchor link={link} />)}
      <span class="wt-space" />
      {custom || !known ? (
        <form class="wt-custom" onSubmit={(event) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget);
          change({ ...choices, from: String(form.get("from")), to: String(form.get("to")) });
        }}>
          <input name="from" aria-label="From" defaultValue={from} key={`f${from}`} />
          <input name="to" aria-label="To" defaultValue={to} key={`t${to}`} />
          <button type="submit">Apply</button>
          <button type="button" onClick={() => (setCustom(false), change({ ...choices, from: "now-1h", to: "now" }))}>Last hour</button>
        </form>
      ) : (
        <select aria-label="Time range" value={from} onChange={(event) => (event.currentTarget.value === "custom" ? setCustom(true) : change({ ...choices, from: event.currentTarget.value, to: "now" }))}>
          {QUICK.map(([value, text]) => <option value={value}>{text}</option>)}
          <option value="custom">Other…</option>
        </select>
      )}
      <button type="button" onClick={again} title="Refresh now" aria-label="Refresh now">↻</button>
      <select aria-label="Refresh every" value={refresh} onChange={(event) => change({ ...choices, refresh: event.currentTarget.value || "off" })}>
        <option value="">off</option>
        {refresh && refresh !== "off" && !board.refresh_intervals.includes(refresh) && <option value={refresh}>{refresh}</option>}
        {board.refresh_intervals.map((value) => <option value={value}>{value}</option>)}
      </select>
    </div>
  );
}
