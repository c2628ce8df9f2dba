// Small parts that every page is made of.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { age, labelPairs, type Labels } from "./text";

export function Page(props: { title: string; aside?: ComponentChildren; children: ComponentChildren; wide?: boolean }) {
  return (
    <main id="main" tabIndex={-1} class={props.wide ? "page wide" : "page"}>
      <header class="head">
        <h1>{props.title}</h1>
        {props.aside && <div class="aside">{props.aside}</div>}
      </header>
      {props.children}
    </main>
  );
}

export function Failure({ text, title }: { text: string; title?: string }) {
  if (!text) return null;
  return (
    <p class="note bad" role="alert">
      {title && <b>{title} </b>}
      {text}
    </p>
  );
}

export function Warnings({ texts, kind = "warn" }: { texts: string[]; kind?: "warn" | "info" }) {
  if (!texts.length) return null;
  return (
    <ul class={`note ${kind}`}>
      {texts.slice(0, 8).map((text) => <li>{text}</li>)}
      {texts.length > 8 && <li>and {texts.length - 8} more</li>}
    </ul>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export type Tone = "good" | "bad" | "warn" | "plain" | "busy";

export function Badge({ tone, children, title }: { tone: Tone; children: ComponentChildren; title?: string }) {
  return <span class={`badge ${tone}`} title={title}>{children}</span>;
}

/** Label pairs as small tokens; texts are data and never markup. */
export function LabelList({ labels, without = [] }: { labels: Labels; without?: string[] }) {
  const pairs = labelPairs(labels).filter(([name]) => !without.includes(name));
  return (
    <span class="labels">
      {pairs.map(([name, value]) => (
        <span class="label">
          <i>{name}</i>
          {value}
        </span>
      ))}
    </span>
  );
}

export function Segmented(props: { label: string; value: string; choices: [string, string][]; onChange: (value: string) => void }) {
  return (
    <div class="segmented" role="group" aria-label={props.label}>
      {props.choices.map(([value, text]) => (
        <button type="button" aria-pressed={value === props.value} onClick={() => props.onChange(value)}>{text}</button>
      ))}
    </div>
  );
}

export function Tabs(props: { label: string; value: string; choices: [string, string][]; onChange: (value: string) => void }) {
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const at = props.choices.findIndex(([value]) => value === props.value);
    const next = (at + step + props.choices.length) % props.choices.length;
    props.onChange(props.choices[next]![0]);
    (event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("[role=tab]")[next]?.focus();
    event.preventDefault();
  };
  return (
    <div class="tabs" role="tablist" aria-label={props.label} onKeyDown={move}>
      {props.choices.map(([value, text]) => (
        <button type="button" role="tab" aria-selected={value === props.value} tabIndex={value === props.value ? 0 : -1} onClick={() => props.onChange(value)}>
          {text}
        </button>
      ))}
    </div>
  );
}

export function Search({ value, onChange, label }: { value: string; onChange: (value: string) => void; label: string }) {
  return (
    <input
      class="search" type="search" placeholder={label} aria-label={label} value={value} spellcheck={false}
      onInput={(event) => onChange(event.currentTarget.value)}
    />
  );
}

export function Check(props: { checked: boolean; onChange: (checked: boolean) => void; children: ComponentChildren }) {
  return (
    <label class="tick">
      <input type="checkbox" checked={props.checked} onChange={(event) => props.onChange(event.currentTarget.checked)} /> {props.children}
    </label>
  );
}

export function Age({ at }: { at: string | number | null | undefined }) {
  const moment = typeof at === "number" ? at * 1000 : at ? Date.parse(at) : NaN;
  if (!Number.isFinite(moment) || moment <= 0) return <span class="dim">never</span>;
  return <time dateTime={new Date(moment).toISOString()} title={new Date(moment).toISOString()}>{age(moment)}</time>;
}

/** A part of something as a bar, with its words beside it. */
export function Meter({ value, tone, text }: { value: number; tone?: "bad" | "warn" | "good"; text: string }) {
  const share = Math.min(1, Math.max(0, Number.isFinite(value) ? value : 0));
  return (
    <span class={`meter ${tone ?? ""}`}>
      <i aria-hidden="true"><i style={{ width: `${share * 100}%` }} /></i>
      {text}
    </span>
  );
}

export function Scroll({ label, children, tall = false }: { label: string; children: ComponentChildren; tall?: boolean }) {
  return <div class={tall ? "scroll tall" : "scroll"} tabIndex={0} role="region" aria-label={label}>{children}</div>;
}

/** Details whose content is made, and asked for, only once they are opened. */
export function Lazy(props: { class?: string; summary: ComponentChildren; children: () => ComponentChildren }) {
  const [open, setOpen] = useState(false);
  return (
    <details class={props.class} onToggle={(event) => event.currentTarget.open && setOpen(true)}>
      <summary>{props.summary}</summary>
      {open && props.children()}
    </details>
  );
}
