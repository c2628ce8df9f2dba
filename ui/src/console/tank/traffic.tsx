// Who calls whom, how often and with how many errors; the routes; and why a request takes the one it takes.

import { useEffect, useMemo, useState } from "preact/hooks";

import { milliseconds, percent, plain, rate } from "../../report/format";
import { ask, get, message } from "../api";
import { usePoll } from "../hooks";
import { Badge, Empty, Failure, Page, Scroll } from "../ui";
import type { QueryResult } from "../query/results";

export interface Edge { from: string; to: string; rps: number; errors: number; p95: number | null }
interface Route {
  kind: string; namespace: string; name: string; hosts: string[]; gateways: string[];
  rules: { name: string; matches: string[]; to: { to: string; weight: number }[]; extras: string[] }[];
}
interface Explanation {
  request: string; listener: string; vhost: string; route: number; judge: string; outcome: string;
  considered: { number: number; source: string; at: string; reason: string }[];
  destinations: { cluster: string; percent: number; endpoints: string[]; policy: Record<string, unknown> }[];
  effective: Record<string, unknown>;
}

const WINDOW = "30s";
const BY = "source_workload, destination_service_name, destination_workload, destination_version";

type Sample = { metric: Record<string, string>; value: number };

async function vector(query: string, signal: AbortSignal): Promise<Sample[]> {
  const data = await get<QueryResult>("api/v1/query", { query }, signal);
  return data.resultType === "vector" ? data.result.map((one) => ({ metric: one.metric, value: Number(one.value?.[1] ?? NaN) })) : [];
}

/** Two edges for each source, service and workload: to the service, and on to the workload behind it. */
export function edgesOf(all: Sample[], bad: Sample[], p95: Sample[]): Edge[] {
  const key = (m: Record<string, string>) => JSON.stringify([m["source_workload"], m["destination_service_name"], m["destination_workload"], m["destination_version"]]);
  const errors = new Map(bad.map((one) => [key(one.metric), one.value]));
  const slow = new Map(p95.map((one) => [key(one.metric), one.value]));
  const edges = new Map<string, Edge>();
  const add = (from: string, to: string, rps: number, failing: number, late: number | null) => {
    const edge = edges.get(`${from}\n${to}`) ?? { from, to, rps: 0, errors: 0, p95: null };
    edge.rps += rps;
    edge.errors += failing;
    edge.p95 = late === null ? edge.p95 : Math.max(edge.p95 ?? 0, late);
    edges.set(`${from}\n${to}`, edge);
  };
  for (const { metric, value } of all) {
    const [service, version] = [metric["destination_service_name"] || "unknown", metric["destination_version"]];
    const workload = `${metric["destination_workload"] || "unknown"}${version && version !== "unknown" ? ` ${version}` : ""}`;
    const failing = errors.get(key(metric)) ?? 0;
    const late = slow.get(key(metric)) ?? NaN;
    add(metric["source_workload"] || "unknown", `service ${service}`, value, failing, null);
    add(`service ${service}`, workload, value, failing, Number.isFinite(late) ? late : null);
  }
  return [...edges.values()].sort((a, b) => b.rps - a.rps);
}

const [BOX_W, BOX_H, GAP_X, GAP_Y] = [190, 38, 170, 22];

function layers(edges: Edge[]): string[][] {
  const names = [...new Set(edges.flatMap((edge) => [edge.from, edge.to]))];
  const depth = new Map(names.map((name) => [name, 0]));
  // Longest paths; a cycle stops growing after as many rounds as there are nodes.
  for (let round = 0; round < Math.min(names.length, 12); round += 1) {
    for (const { from, to } of edges) if (from !== to) depth.set(to, Math.max(depth.get(to)!, Math.min(11, depth.get(from)! + 1)));
  }
  const found: string[][] = [];
  for (const name of names) (found[depth.get(name)!] ??= []).push(name);
  return found.filter(Boolean);
}

function ServiceGraph({ edges }: { edges: Edge[] }) {
  const columns = layers(edges);
  const tallest = Math.max(...columns.map((column) => column.length));
  const height = tallest * (BOX_H + GAP_Y) + GAP_Y;
  const width = columns.length * BOX_W + (columns.length - 1) * GAP_X;
  const at = new Map<string, { x: number; y: number }>();
  columns.forEach((column, c) => column.forEach((name, r) => at.set(name, { x: c * (BOX_W + GAP_X), y: ((r + 0.5) / column.length) * height - BOX_H / 2 })));
  const most = Math.max(...edges.map((edge) => edge.rps), 1e-9);
  const most_errors = (edge: Edge) => (edge.rps ? edge.errors / edge.rps : 0);
  return (
    <Scroll label="Service graph">
      <svg class="services" viewBox={`-1 0 ${width + 2} ${height}`} width={width + 2} height={height} role="img" aria-label="Service graph; the table below has the same">
        {edges.map((edge) => {
          const [a, b] = [at.get(edge.from)!, at.get(edge.to)!];
          const [x1, y1, x2, y2] = [a.x + BOX_W, a.y + BOX_H / 2, b.x, b.y + BOX_H / 2];
          const failing = most_errors(edge);
          return (
            <g class={failing > 0.01 ? "edge failing" : edge.rps > 0 ? "edge" : "edge idle"}>
              <path d={`M${x1} ${y1}C${x1 + 70} ${y1} ${x2 - 70} ${y2} ${x2} ${y2}`} style={{ strokeWidth: `${1 + 5 * Math.sqrt(edge.rps / most)}px` }} />
              <text x={(x1 + x2) / 2} y={(y1 + y2) / 2 - 8}>{rate(edge.rps)}{failing > 0 && `, ${percent(failing)} errors`}</text>
              {edge.p95 !== null && <text class="late" x={(x1 + x2) / 2} y={(y1 + y2) / 2 + 18}>p95 {milliseconds(edge.p95)}</text>}
            </g>
          );
        })}
        {[...at].map(([name, { x, y }]) => (
          <g class={name.startsWith("service ") ? "box service" : "box"} transform={`translate(${x} ${y})`}>
            <rect width={BOX_W} height={BOX_H} rx="4" />
            <text x={BOX_W / 2} y={BOX_H / 2 + 5}>{cut(name.replace(/^service /, ""), 26)}</text>
            <title>{name}</title>
          </g>
        ))}
      </svg>
    </Scroll>
  );
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function EdgeTable({ edges }: { edges: Edge[] }) {
  return (
    <details>
      <summary>The same as a table</summary>
      <table class="fixed">
        <thead><tr><th scope="col">from</th><th scope="col">to</th><th scope="col" class="number">rate</th><th scope="col" class="number">errors</th><th scope="col" class="number">p95</th></tr></thead>
        <tbody>
          {edges.map((edge) => (
            <tr><td>{edge.from}</td><td>{edge.to}</td><td class="number">{rate(edge.rps)}</td><td class="number">{edge.rps ? percent(edge.errors / edge.rps) : "–"}</td><td class="number">{milliseconds(edge.p95)}</td></tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

/** Moves one weight; the others keep their proportions and all still add up to 100. */
export function shifted(weights: number[], index: number, value: number): number[] {
  const others = weights.reduce((sum, weight, i) => (i === index ? sum : sum + weight), 0);
  const rest = 100 - value;
  const next = weights.map((weight, i) => (i === index ? value : others ? Math.floor((weight / others) * rest) : Math.floor(rest / (weights.length - 1))));
  const lacking = 100 - next.reduce((sum, weight) => sum + weight, 0);
  const taker = next.findIndex((_, i) => i !== index);
  if (taker >= 0) next[taker] = next[taker]! + lacking;
  return next;
}

function Weights({ route, rule, refresh }: { route: Route; rule: number; refresh: () => void }) {
  const to = route.rules[rule]!.to;
  const served = to.map((one) => one.weight);
  const [weights, set] = useState(served);
  const [error, setError] = useState("");
  useEffect(() => set(served), [served.join()]);
  const changed = weights.some((weight, i) => weight !== served[i]);
  const apply = async () => {
    try {
      await ask("api/wavetank/weights", { action: { kind: route.kind, namespace: route.namespace, name: route.name, rule, weights } });
      setError("");
      refresh();
    } catch (reason) {
      setError(message(reason));
    }
  };
  return (
    <div class="weights">
      {to.map((one, i) => (
        <div class="weight">
          <span>{one.to}</span>
          {to.length > 1 && <input type="range" min="0" max="100" aria-label={`Weight of ${one.to}`} value={weights[i]} onInput={(event) => set(shifted(weights, i, Number(event.currentTarget.value)))} />}
          <b>{to.length > 1 ? weights[i] : one.weight || 100} %</b>
        </div>
      ))}
      {changed && (
        <p class="filters">
          <button type="button" class="primary" onClick={() => void apply()}>Shift traffic</button>
          <button type="button" class="plain" onClick={() => set(served)}>Back</button>
        </p>
      )}
      <Failure text={error} />
    </div>
  );
}

function Routes({ routes, refresh }: { routes: Route[]; refresh: () => void }) {
  return (
    <section>
      <h2>Routes</h2>
      {routes.map((route) => (
        <article class="rule" key={`${route.kind}/${route.namespace}/${route.name}`}>
          <header><b>{route.name}</b> <span class="dim small">{route.kind} in {route.namespace}</span> <span>{route.hosts.join(", ")}</span> <span class="dim small">through {route.gateways.join(", ")}</span></header>
          {route.rules.map((rule, i) => (
            <div class="route">
              <div>
                <span class="dim">{i + 1}.</span> {rule.matches.length ? rule.matches.map((match) => <code>{match}</code>) : <span>every request</span>}
                {rule.extras.length > 0 && <span class="dim small"> with {rule.extras.join(", ")}</span>}
              </div>
              <Weights route={route} rule={i} refresh={refresh} />
            </div>
          ))}
        </article>
      ))}
      {!routes.length && <Empty>No VirtualService and no HTTPRoute yet.</Empty>}
    </section>
  );
}

function Explain({ host }: { host: string }) {
  const [address, setAddress] = useState("");
  const [method, setMethod] = useState("GET");
  const [header, setHeader] = useState("");
  const [found, setFound] = useState<Explanation | null>(null);
  const [error, setError] = useState("");
  const run = async (event: Event) => {
    event.preventDefault();
    try {
      setFound(await get<Explanation>("api/wavetank/explain", { url: address || `http://${host}/`, method, header: header ? header.split(/;\s*/) : [] }));
      setError("");
    } catch (reason) {
      setError(message(reason));
    }
  };
  return (
    <section>
      <h2>Explain a request <small>which rule it takes, and why not the others</small></h2>
      <form class="filters" onSubmit={(event) => void run(event)}>
        <select class="field" aria-label="Method" value={method} onChange={(event) => setMethod(event.currentTarget.value)}>{["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"].map((name) => <option>{name}</option>)}</select>
        <input class="address" aria-label="Address" placeholder={`http://${host}/`} value={address} spellcheck={false} onInput={(event) => setAddress(event.currentTarget.value)} />
        <input aria-label="Headers" placeholder="x-user: a; x-beta: 1" value={header} spellcheck={false} onInput={(event) => setHeader(event.currentTarget.value)} />
        <button class="primary">Explain</button>
      </form>
      <Failure text={error} />
      {found && (
        <div class="explained">
          <p><code>{found.request}</code> <span class="dim">at listener {found.listener}, host {found.vhost || "none"}</span></p>
          <ol>
            {found.considered.map((one) => (
              <li class={one.reason ? "passed" : "taken"}>
                <Badge tone={one.reason ? "plain" : "good"}>{one.reason ? "passed over" : "taken"}</Badge> <code>{one.source}</code> {one.reason && <span class="dim">{one.reason}</span>}
              </li>
            ))}
          </ol>
          <p><b>{found.outcome}</b></p>
          {found.destinations.map((one) => (
            <p>{plain(one.percent)} % <code>{one.cluster}</code> <span class="dim">{one.endpoints.length} endpoints{one.endpoints.length > 0 && `: ${one.endpoints.slice(0, 6).join(", ")}`}</span></p>
          ))}
          <dl class="cost">{Object.entries(found.effective).map(([name, value]) => <div><dt>{name}</dt><dd>{typeof value === "string" ? value : JSON.stringify(value)}</dd></div>)}</dl>
        </div>
      )}
    </section>
  );
}

export function TrafficPage() {
  const rates = usePoll<Edge[]>(
    async (signal) => {
      const [all, bad, late] = await Promise.all([
        vector(`sum by (${BY}) (rate(istio_requests_total[${WINDOW}]))`, signal),
        vector(`sum by (${BY}) (rate(istio_requests_total{response_code=~"5..|0"}[${WINDOW}]))`, signal),
        vector(`histogram_quantile(0.95, sum by (le, ${BY}) (rate(istio_request_duration_milliseconds_bucket[${WINDOW}])))`, signal),
      ]);
      return edgesOf(all, bad, late);
    }, 3);
  const routes = usePoll<{ routes: Route[] }>((signal) => get("api/wavetank/traffic", {}, signal), 5);
  const host = useMemo(() => routes.data?.routes[0]?.hosts[0] ?? "example.com", [routes.data]);
  const edges = rates.data ?? [];
  return (
    <Page title="Traffic" wide>
      <Failure text={rates.error || routes.error} />
      {edges.length > 0 && <><p class="dim small">Requests of the last {WINDOW}; wider is more, red has more than 1 % errors.</p><ServiceGraph edges={edges} /><EdgeTable edges={edges} /></>}
      {rates.data && !edges.length && <Empty>No request has come through the gateway yet.</Empty>}
      {routes.data && <Routes routes={routes.data.routes} refresh={routes.refresh} />}
      <Explain host={host} />
    </Page>
  );
}
