// What pages have in common: polled data, the connection, settings that last.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { ApiError, connection, message } from "./api";

export interface Polled<T> {
  data: T | undefined;
  error: string;
  loading: boolean;
  refresh: () => void;
}

/** Load now, every `seconds` (0: once), and when the server is back; rests while the page is hidden. */
export function usePoll<T>(load: (signal: AbortSignal) => Promise<T>, seconds: number, key: unknown[] = []): Polled<T> {
  const [state, setState] = useState<{ data: T | undefined; error: string; loading: boolean }>({ data: undefined, error: "", loading: true });
  const [turn, setTurn] = useState(0);
  const loader = useRef(load);
  loader.current = load;
  const refresh = useCallback(() => setTurn((n) => n + 1), []);

  useEffect(() => connection.subscribe(() => connection.online && refresh()), []);
  useEffect(() => {
    const controller = new AbortController();
    let timer = 0;
    const run = async () => {
      try {
        const data = await loader.current(controller.signal);
        if (!controller.signal.aborted) setState({ data, error: "", loading: false });
      } catch (error) {
        if (controller.signal.aborted) return;
        // What is known stays while the server is away; the banner says so.
        const away = error instanceof ApiError && error.status === 0;
        setState((old) => ({ data: old.data, error: away && old.data !== undefined ? "" : message(error), loading: false }));
      }
      if (seconds > 0 && !controller.signal.aborted) timer = window.setTimeout(next, seconds * 1000);
    };
    const next = () => {
      if (document.hidden) document.addEventListener("visibilitychange", next, { once: true });
      else void run();
    };
    void run();
    return () => {
      controller.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", next);
    };
  }, [turn, seconds, ...key]);
  return { ...state, refresh };
}

export function useConnection(): typeof connection {
  const [, redraw] = useState(0);
  useEffect(() => connection.subscribe(() => redraw((n) => n + 1)), []);
  return connection;
}

/** A value that is redrawn every so often, for ages. */
export function useNow(seconds: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return now;
}

const kept = new Map<string, Set<() => void>>();

/** A choice of the reader that lasts in this browser. */
export function useSetting(name: string, otherwise: string): [string, (value: string) => void] {
  const read = () => {
    try {
      return localStorage.getItem(`wavetank-${name}`) ?? otherwise;
    } catch {
      return otherwise;
    }
  };
  const [value, setValue] = useState(read);
  useEffect(() => {
    const listeners = kept.get(name) ?? new Set();
    kept.set(name, listeners);
    const follow = () => setValue(read());
    listeners.add(follow);
    return () => void listeners.delete(follow);
  }, [name]);
  const set = (next: string) => {
    try {
      localStorage.setItem(`wavetank-${name}`, next);
    } catch {
      // the choice then lasts as long as the page
    }
    setValue(next);
    kept.get(name)?.forEach((listener) => listener());
  };
  return [value, set];
}
