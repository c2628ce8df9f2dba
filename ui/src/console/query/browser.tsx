// The metric browser: what is there, what it means, and which labels it has.

import { useMemo, useState } from "preact/hooks";

import { get } from "../api";
import { usePoll } from "../hooks";
import { quoted, seriesName } from "../text";
import { Empty, Failure, Search } from "../ui";

interface Meta {
  type: string;
  help: string;
  unit: string;
}

interface Props {
  insert: (text: string) => void;
  close: () => void;
}

const SHOWN = 300;

/** Names that hold the words in any order, those that begin with them first. */
export function found(names: string[], text: string): string[] {
  const words = text.toLowerCase().split(/[\s]+/).filter(Boolean);
  if (!words.length) return names;
  const hits = names.filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  const begins = (name: string) => (name.toLowerCase().startsWith(words[0]!) ? 0 : 1);
  return hits.sort((a, b) => begins(a) - begins(b) || a.length - b.length);
}

export function metaOf(all: Record<string, Meta[]> | undefined, name: string): Meta | undefined {
  return (all?.[name] ?? all?.[name.replace(/_(bucket|sum|count|total|created)$/, "")])?.[0];
}

function Details({ name, insert }: { name: string; insert: (text: string) => void }) {
  const [label, setLabel] = useState("");
  const [chosen, choose] = useState<Record<string, string>>({});
  const selector = seriesName({ __name__: name, ...chosen });
  const labels = usePoll<string[]>((signal) => get("api/v1/labels", { "match[]": [selector] }, signal), 0, [selector]);
  const values = usePoll<string[]>(
    (signal) => (label ? get(`api/v1/label/${encodeURIComponent(label)}/values`, { "match[]": [seriesName({ __name__: name, ...without(chosen, label) })], limit: SHOWN }, signal) : Promise.resolve([])),
    0, [label, selector],
  );
  const names = (labels.data ?? []).filter((one) => one !== "__name__");
  return (
    <div class="details">
      <p class="chosen"><code>{selector}</code> <button type="button" class="primary" onClick={() => insert(selector)}>Insert</button></p>
      <Failure text={labels.error || values.error} />
      <div class="chips" role="group" aria-label="Labels">
        {names.map((one) => (
          <button type="button" aria-pressed={one === label} onClick={() => setLabel(one === label ? "" : one)}>
            {one}{one in chosen && <b>={quoted(chosen[one]!)}</b>}
          </button>
        ))}
        {!names.length && !labels.loading && <span class="dim">no labels</span>}
      </div>
      {label && (
        <ul class="values" aria-label={`Values of ${label}`}>
          {(values.data ?? []).map((value) => (
            <li>
              <button type="button" aria-pressed={chosen[label] === value} onClick={() => choose(chosen[label] === value ? without(chosen, label) : { ...chosen, [label]: value })}>
                {value || "(empty)"}
              </button>
            </li>
          ))}
          {(values.data?.length ?? 0) >= SHOWN && <li class="dim">the first {SHOWN} values</li>}
        </ul>
      )}
    </div>
  );
}

function without(labels: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([other]) => other !== name));
}

export function MetricBrowser({ insert, close }: Props) {
  const [text, setText] = useState("");
  const [open, setOpen] = useState("");
  const names = usePoll<string[]>((signal) => get("api/v1/label/__name__/values", {}, signal), 0);
  const meta = usePoll<Record<string, Meta[]>>((signal) => get("api/v1/metadata", { limit_per_metric: 1 }, signal), 0);
  const hits = useMemo(() => found(names.data ?? [], text), [names.data, text]);
  return (
    <aside class="browser" aria-label="Metric browser" onKeyDown={(event) => event.key === "Escape" && close()}>
      <header>
        <b>Metrics</b>
        <Search value={text} onChange={setText} label="Search metrics" />
        <button type="button" class="plain" onClick={close}>Close</button>
      </header>
      <Failure text={names.error} />
      <ul class="metrics">
        {hits.slice(0, SHOWN).map((name) => {
          const about = metaOf(meta.data, name);
          return (
            <li class={open === name ? "open" : ""}>
              <button type="button" class="metric" aria-expanded={open === name} onClick={() => setOpen(open === name ? "" : name)}>
                <code>{name}</code>
                {about && <small class={`kind ${about.type}`}>{about.type}</small>}
                {about?.help && <span>{about.help}</span>}
              </button>
              {open === name && <Details key={name} name={name} insert={insert} />}
            </li>
          );
        })}
      </ul>
      {hits.length > SHOWN && <p class="dim small">{hits.length - SHOWN} more: type to narrow them down</p>}
      {names.data && !hits.length && <Empty>No metric matches.</Empty>}
    </aside>
  );
}
