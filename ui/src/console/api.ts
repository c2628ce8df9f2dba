// Requests to the server, and whether it answers. All addresses are relative to the page's own.

export class ApiError extends Error {
  constructor(
    readonly kind: string,
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export interface Answer<T> {
  data: T;
  warnings: string[];
  infos: string[];
  bytes: number;
}

type Value = string | number | boolean | null | undefined | string[];
export interface Options {
  params?: Record<string, Value>;
  signal?: AbortSignal;
  /** Sends the parameters as a form, for what may be long. */
  post?: boolean;
  /** An action: a JSON body, and the header that no other site can send. */
  action?: unknown;
  method?: string;
}

const home = new URL(".", document.baseURI);

export function url(path: string, params: Record<string, Value> = {}): string {
  const search = form(params);
  return new URL(search.size ? `${path}?${search}` : path, home).href;
}

function form(params: Record<string, Value>): URLSearchParams {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (Array.isArray(value)) for (const one of value) search.append(name, one);
    else if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  return search;
}

function request(path: string, options: Options): Request {
  const { params = {}, signal = null } = options;
  const common = { signal, credentials: "same-origin" as const };
  if ("action" in options) {
    const headers = { "Content-Type": "application/json", "X-Wavetank-Action": "1" };
    return new Request(url(path, params), { ...common, method: options.method ?? "POST", headers, body: JSON.stringify(options.action) });
  }
  return options.post ? new Request(url(path), { ...common, method: "POST", body: form(params) }) : new Request(url(path, params), common);
}

async function answered(path: string, options: Options): Promise<Response> {
  try {
    const response = await fetch(request(path, options));
    // A server that is starting answers 503 in plain text; one that refuses a query does so in JSON.
    connection.set(response.status !== 503 || !!response.headers.get("content-type")?.includes("json"));
    return response;
  } catch (error) {
    if (!options.signal?.aborted) connection.set(false);
    throw error instanceof TypeError ? new ApiError("unreachable", "The server does not answer.", 0) : error;
  }
}

/** Ask an endpoint of the Prometheus API's form. Throws ApiError; an AbortError when it was cancelled. */
export async function ask<T>(path: string, options: Options = {}): Promise<Answer<T>> {
  const response = await answered(path, options);
  const text = await response.text();
  let body: { status?: string; data?: T; error?: string; errorType?: string; warnings?: string[]; infos?: string[] };
  try {
    body = JSON.parse(text) as typeof body;
  } catch {
    throw new ApiError("bad_answer", text.slice(0, 300) || `HTTP ${response.status}`, response.status);
  }
  if (body.status !== "success") throw new ApiError(body.errorType ?? "error", body.error ?? `HTTP ${response.status}`, response.status);
  return { data: body.data as T, warnings: body.warnings ?? [], infos: body.infos ?? [], bytes: text.length };
}

/** Ask an endpoint that answers with a block of numbers and a JSON object behind it; see web/columns.py. */
export async function askBlock<T>(path: string, options: Options): Promise<{ told: T; block: Float64Array; bytes: number }> {
  const response = await answered(path, options);
  if (!response.ok) {
    const body = (await response.json().catch(() => ({}))) as { error?: string; errorType?: string };
    throw new ApiError(body.errorType ?? "error", body.error ?? `HTTP ${response.status}`, response.status);
  }
  const buffer = await response.arrayBuffer();
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8 + length))) as T;
  return { told, block: new Float64Array(buffer, 8, length / 8), bytes: buffer.byteLength };
}

export async function get<T>(path: string, params: Record<string, Value> = {}, signal?: AbortSignal): Promise<T> {
  return (await ask<T>(path, signal ? { params, signal } : { params })).data;
}

export async function getText(path: string, params: Record<string, Value> = {}, signal?: AbortSignal): Promise<string> {
  const response = await answered(path, signal ? { params, signal } : { params });
  const text = await response.text();
  if (!response.ok) throw new ApiError("error", text.slice(0, 300) || `HTTP ${response.status}`, response.status);
  return text;
}

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether the server answers. It is asked again every two seconds while it does not. */
class Connection {
  online = true;
  since = Date.now();
  /** Grows whenever the server is back: what was loaded before may be old. */
  epoch = 0;
  private readonly listeners = new Set<() => void>();

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  set(online: boolean): void {
    if (online === this.online) return;
    this.online = online;
    this.since = Date.now();
    if (online) this.epoch += 1;
    else setTimeout(() => void this.knock(), 1000);
    for (const listener of this.listeners) listener();
  }

  private async knock(): Promise<void> {
    if (this.online) return;
    try {
      const response = await fetch(url("api/wavetank/info"), { credentials: "same-origin" });
      if (response.ok) return this.set(true);
    } catch {
      // still away
    }
    setTimeout(() => void this.knock(), 2000);
  }
}

export const connection = new Connection();
