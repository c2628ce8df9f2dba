// Live events of the server. One connection a tab; the browser opens it again by itself.

import { useEffect, useState } from "preact/hooks";

import { connection, url } from "./api";

export interface JournalRecord {
  at: number;
  kind: string;
  [field: string]: unknown;
}

type Listener = (record: JournalRecord) => void;

class Stream {
  alerts = { firing: 0, pending: 0 };
  private source: EventSource | null = null;
  private readonly listeners = new Set<Listener>();
  private readonly watchers = new Set<() => void>();

  open(): void {
    if (this.source) return;
    const source = (this.source = new EventSource(url("api/wavetank/events")));
    source.addEventListener("hello", () => connection.set(true));
    source.addEventListener("alerts", (event) => {
      this.alerts = { firing: 0, pending: 0, ...(JSON.parse((event as MessageEvent<string>).data) as object) };
      for (const watcher of this.watchers) watcher();
    });
    source.addEventListener("record", (event) => {
      const record = JSON.parse((event as MessageEvent<string>).data) as JournalRecord;
      for (const listener of this.listeners) listener(record);
    });
    // The page's own requests find out whether the server is away or only this line broke.
    source.addEventListener("error", () => void fetch(url("api/wavetank/info")).catch(() => connection.set(false)));
  }

  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

export const stream = new Stream();

export function useAlerts(): { firing: number; pending: number } {
  const [, redraw] = useState(0);
  useEffect(() => stream.watch(() => redraw((n) => n + 1)), []);
  return stream.alerts;
}

/** Calls back soon after something happened; many records at once count as one. */
export function useRecords(listener: () => void): void {
  useEffect(() => {
    let timer = 0;
    const stop = stream.listen(() => {
      clearTimeout(timer);
      timer = window.setTimeout(listener, 300);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [listener]);
}
