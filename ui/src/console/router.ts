// Where in the console the reader is: `#/page/rest?parameters`. Everything worth sharing is in the address.

import { useEffect, useState } from "preact/hooks";

export interface Place {
  page: string;
  rest: string[];
  search: URLSearchParams;
}

export function parse(hash: string): Place {
  const text = hash.replace(/^#\/?/, "");
  const mark = text.indexOf("?");
  const path = mark < 0 ? text : text.slice(0, mark);
  const [page = "", ...rest] = path.split("/").map(decoded);
  return { page, rest, search: new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1)) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray percent sign
  }
}

export type Parameters = Record<string, string | null | undefined>;

/** An address within the console; parameters without a value are left out. */
export function href(path: string | string[], parameters: Parameters = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value) search.set(name, value);
  const parts = typeof path === "string" ? path : path.map(encodeURIComponent).join("/");
  return `#/${parts}${search.size ? `?${search}` : ""}`;
}

/** Go to an address; `replace` leaves no entry in the history, for what is merely adjusted. */
export function go(to: string, replace = false): void {
  if (to === location.hash) return;
  if (!replace) {
    location.hash = to;
    return;
  }
  history.replaceState(null, "", to);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function usePlace(): Place {
  const [place, setPlace] = useState(() => parse(location.hash));
  useEffect(() => {
    const follow = () => setPlace(parse(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return place;
}

/** One parameter of the address, and how to change it. */
export function useParameter(name: string, otherwise = ""): [string, (value: string) => void] {
  const place = usePlace();
  const set = (value: string) => {
    const search = new URLSearchParams(place.search);
    if (value && value !== otherwise) search.set(name, value);
    else search.delete(name);
    const path = [place.page, ...place.rest].map(encodeURIComponent).join("/");
    go(`#/${path}${search.size ? `?${search}` : ""}`, true);
  };
  return [place.search.get(name) ?? otherwise, set];
}
