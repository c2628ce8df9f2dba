// What happened, in order, with a filter by kind and by word.

import { useState } from "preact/hooks";

import type { TimeAxis } from "./axis";
import { clock, count, shortName } from "./format";
import type { Event } from "./model";

const FIRST_ROWS = 200;

function matches(event: Event, words: string[]): boolean {
  const text = `${event.kind} ${event.subject} ${event.message}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

export function EventList({ events, axis }: { events: Event[]; axis: TimeAxis }) {
  const [off, setOff] = useState<ReadonlySet<string>>(new Set());
  const [query, setQuery] = useState("");
  const [all, setAll] = useState(false);
  if (!events.length) return <p class="empty">Nothing was recorded.</p>;
  const kinds = [...new Set(events.map((e) => e.kind))].sort();
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = events.filter((e) => !off.has(e.kind) && matches(e, words));
  const shown = all ? found : found.slice(0, FIRST_ROWS);
  const toggle = (kind: string) => {
    const next = new Set(off);
    if (!next.delete(kind)) next.add(kind);
    setOff(next);
  };
  return (
    <>
      <form class="filter screen-only" role="search" onSubmit={(e) => e.preventDefault()}>
        <input type="search" placeholder="Filter events" aria-label="Filter events by word" value={query} onInput={(e) => setQuery(e.currentTarget.value)} />
        {kinds.map((kind) => (
          <label class="tick">
            <input type="checkbox" checked={!off.has(kind)} onChange={() => toggle(kind)} /> {kind}
          </label>
        ))}
        <output aria-live="polite">{count(found.length)} of {count(events.length)}</output>
      </form>
      <ol class="events">
        {shown.map((event) => (
          <li class={event.severity}>
            <a class="time" href="#timeline" onClick={() => axis.pointAt(event.at_seconds)} title="Show on the charts">
              {clock(event.at_seconds, true)}
            </a>
            <span class="kind">{event.kind}</span>
            <span class="subject" title={event.subject}>{shortName(event.subject)}</span>
            <span class="message">{event.message}</span>
          </li>
        ))}
      </ol>
      {shown.length < found.length && (
        <button type="button" class="plain screen-only" onClick={() => setAll(true)}>Show all {count(found.length)}</button>
      )}
    </>
  );
}
