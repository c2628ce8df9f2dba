// The frame around every page: where one can go, how the server stands, light or dark.

import { Component, type ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import { choose, currentChoice, type Choice } from "../report/theme";
import { useConnection, useNow, useSetting } from "./hooks";
import type { Info } from "./info";
import { href, usePlace } from "./router";
import { useAlerts } from "./stream";
import { span } from "./text";

export interface Entry {
  page: string;
  title: string;
}

export interface Group {
  title: string;
  entries: Entry[];
}

function Banner() {
  const state = useConnection();
  const now = useNow(1);
  if (state.online) return null;
  return (
    <p class="banner" role="status">
      The server has not answered for {span(Math.max(1, (now - state.since) / 1000))}. What is shown is from before; the page goes on by
      itself when it is back.
    </p>
  );
}

const THEMES: [Choice, string][] = [["auto", "System"], ["light", "Light"], ["dark", "Dark"]];

function Settings() {
  const [theme, setTheme] = useState(currentChoice());
  const [zone, setZone] = useSetting("timezone", "local");
  return (
    <div class="settings">
      <label>
        Theme
        <select value={theme} onChange={(event) => (choose(event.currentTarget.value as Choice), setTheme(currentChoice()))}>
          {THEMES.map(([value, text]) => <option value={value}>{text}</option>)}
        </select>
      </label>
      <label>
        Times
        <select value={zone} onChange={(event) => setZone(event.currentTarget.value)}>
          <option value="local">Local</option>
          <option value="utc">UTC</option>
        </select>
      </label>
    </div>
  );
}

export function Shell({ info, groups, children }: { info: Info | undefined; groups: Group[]; children: ComponentChildren }) {
  const place = usePlace();
  const [open, setOpen] = useState(false);
  const { firing } = useAlerts();
  useEffect(() => {
    setOpen(false);
    const entry = groups.flatMap((group) => group.entries).find((one) => one.page === place.page);
    document.title = [entry?.title, info?.title ?? "Wavetank"].filter(Boolean).join(" · ");
  }, [place.page, info, groups]);
  return (
    <div class={open ? "shell open" : "shell"}>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}>To the content</a>
      <nav class="side" aria-label="Pages">
        <div class="brand">
          <img src="assets/icon.svg" alt="" width="22" height="22" />
          <span>
            <b>Wavetank</b>
            <small>{info?.subtitle ?? "\u00a0"}</small>
          </span>
          <button type="button" class="menu" aria-expanded={open} aria-label="Menu" onClick={() => setOpen(!open)}>
            <i /><i /><i />
          </button>
        </div>
        <div class="entries">
          {groups.map((group) => (
            <section>
              <h2>{group.title}</h2>
              <ul>
                {group.entries.map((entry) => (
                  <li>
                    <a href={href(entry.page)} aria-current={place.page === entry.page ? "page" : undefined}>
                      {entry.title}
                      {entry.page === "alerts" && firing > 0 && <b class="firing" title={`${firing} alerts fire`}>{firing}</b>}
                    </a>
                  </li>
                ))}
              </ul>
            </section>
          ))}
          <Settings />
        </div>
      </nav>
      <div class="body">
        <Banner />
        {children}
      </div>
    </div>
  );
}

/** A page that fails must not take the others with it. */
export class Guard extends Component<{ children: ComponentChildren; place: string }, { error: string }> {
  override state = { error: "" };

  static override getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error.message : String(error) };
  }

  override componentDidUpdate(before: { place: string }) {
    if (before.place !== this.props.place && this.state.error) this.setState({ error: "" });
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <main id="main" class="page">
        <p class="note bad" role="alert"><b>This page failed.</b> {this.state.error}</p>
      </main>
    );
  }
}
