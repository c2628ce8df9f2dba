// Nodes, workloads, pods and autoscalers, and why these decided what they did.

import { useState } from "preact/hooks";

import { bytes, plain } from "../../report/format";
import { get, getText, message } from "../api";
import { usePoll } from "../hooks";
import { href, useParameter } from "../router";
import { quoted } from "../text";
import { Age, Badge, Empty, Failure, Meter, Page, Scroll, Search, type Tone } from "../ui";

interface Node { name: string; ready: boolean; schedulable: boolean; cpu: number; memory: number; podsMax: number; pods: number; cpuRequests: number; memoryRequests: number; cpuUsed: number; memoryUsed: number }
interface Workload { kind: string; namespace: string; name: string; desired: number; ready: number; updated: number; message: string; images: string[]; createdAt: string }
interface Pod {
  namespace: string; name: string; owner: string; node: string; ip: string; state: string; ready: number; containers: string[]; restarts: number; lastExit: string; message: string;
  createdAt: string; cpu: number | null; memory: number | null; cpuRequest: number; cpuLimit: number; memoryRequest: number; memoryLimit: number;
}
interface Decision { at: number; why: string; from: number; to: number; rescaled: boolean; reason: string; limited: string }
interface Hpa {
  namespace: string; name: string; target: string; min: number; max: number; current: number; desired: number; lastScaleAt: string | null;
  metrics: { type: string; name: string; target: string; current: string }[];
  conditions: { type: string; status: string; reason: string; message: string }[];
  explained: { at: number | null; lines: string[] };
  decisions: Decision[];
}
interface Vpa { namespace: string; name: string; target: string; mode: string; recommendations: { container: string; target: Record<string, string>; lower: Record<string, string>; upper: Record<string, string> }[] }
interface KubeEvent { at: string; type: string; reason: string; object: string; message: string; count: number }
interface Cluster { nodes: Node[]; workloads: Workload[]; pods: Pod[]; hpas: Hpa[]; vpas: Vpa[]; events: KubeEvent[] }

const GOOD = new Set(["Running", "Completed", "Succeeded"]);
const WAITING = new Set(["Pending", "ContainerCreating", "PodInitializing", "Terminating"]);

function tone(pod: Pod): Tone {
  if (GOOD.has(pod.state)) return pod.ready === pod.containers.length || pod.state !== "Running" ? "good" : "warn";
  return WAITING.has(pod.state) ? "busy" : "bad";
}

function cores(value: number | null): string {
  return value === null ? "–" : value < 1 ? `${Math.round(value * 1000)}m` : plain(value);
}

function Use({ used, wanted, limit, format }: { used: number | null; wanted: number; limit: number; format: (value: number | null) => string }) {
  if (used === null) return <span class="dim">–</span>;
  const share = wanted > 0 ? used / wanted : limit > 0 ? used / limit : 0;
  const near = limit > 0 && used > 0.9 * limit;
  return <Meter value={share} {...(near ? { tone: "bad" as const } : {})} text={`${format(used)}${wanted > 0 ? ` / ${format(wanted)}` : ""}`} />;
}

function Logs({ pod }: { pod: Pod }) {
  const [container, setContainer] = useState(pod.containers[0] ?? "");
  const [previous, setPrevious] = useState(false);
  const path = `api/wavetank/kube/api/v1/namespaces/${pod.namespace}/pods/${pod.name}/log`;
  const { data, error } = usePoll<string>(
    (signal) => getText(path, { container, tailLines: 200, ...(previous && { previous: true }) }, signal).catch((reason: unknown) => `(${message(reason)})`), 2, [container, previous],
  );
  return (
    <div class="logs">
      <p class="filters">
        {pod.containers.length > 1 && <select class="field" aria-label="Container" value={container} onChange={(event) => setContainer(event.currentTarget.value)}>{pod.containers.map((name) => <option>{name}</option>)}</select>}
        {pod.restarts > 0 && <label class="tick"><input type="checkbox" checked={previous} onChange={(event) => setPrevious(event.currentTarget.checked)} /> of the run before the restart</label>}
        <a href={href("query", { "g0.expr": `sum by (container) (rate(container_cpu_usage_seconds_total{pod=${quoted(pod.name)}}[1m]))` })}>CPU over time</a>
        <span class="dim">{pod.ip}{pod.message && `, ${pod.message}`}</span>
      </p>
      <Failure text={error} />
      <pre class="yaml" tabIndex={0} role="region" aria-label={`Log of ${pod.name}`}>{data || "(no output)"}</pre>
    </div>
  );
}

function Pods({ pods }: { pods: Pod[] }) {
  const [text, setText] = useParameter("pods");
  const [open, setOpen] = useParameter("pod");
  const shown = pods.filter((pod) => `${pod.name} ${pod.node} ${pod.state} ${pod.namespace}`.toLowerCase().includes(text.toLowerCase()));
  return (
    <section>
      <h2>Pods <small>{pods.length}; use against requests</small><span class="end"><Search value={text} onChange={setText} label="Search pods" /></span></h2>
      <Scroll label="Pods">
        <table>
          <thead>
            <tr><th scope="col">pod</th><th scope="col">state</th><th scope="col" class="number">ready</th><th scope="col" class="number">restarts</th><th scope="col">CPU</th><th scope="col">memory</th><th scope="col">node</th><th scope="col" class="number">age</th></tr>
          </thead>
          <tbody>
            {shown.slice(0, 500).map((pod) => {
              const isOpen = open === pod.name;
              return (
                <>
                  <tr key={pod.name}>
                    <td><button type="button" class="link" aria-expanded={isOpen} onClick={() => setOpen(isOpen ? "" : pod.name)} title="Its log">{pod.name}</button> <span class="dim small">{pod.namespace}</span></td>
                    <td><Badge tone={tone(pod)} title={pod.message}>{pod.state}</Badge></td>
                    <td class="number">{pod.ready}/{pod.containers.length}</td>
                    <td class={pod.restarts ? "number error" : "number"} title={pod.lastExit}>{pod.restarts}{pod.lastExit && <span class="small"> {pod.lastExit}</span>}</td>
                    <td><Use used={pod.cpu} wanted={pod.cpuRequest} limit={pod.cpuLimit} format={cores} /></td>
                    <td><Use used={pod.memory} wanted={pod.memoryRequest} limit={pod.memoryLimit} format={bytes} /></td>
                    <td>{pod.node || <span class="dim">none</span>}</td>
                    <td class="number"><Age at={pod.createdAt} /></td>
                  </tr>
                  {isOpen && <tr key={`${pod.name}/log`}><td colSpan={8} class="wrap"><Logs pod={pod} /></td></tr>}
                </>
              );
            })}
          </tbody>
        </table>
      </Scroll>
      {!shown.length && <Empty>{pods.length ? "No pod matches." : "There are no pods."}</Empty>}
    </section>
  );
}

function Autoscaler({ hpa }: { hpa: Hpa }) {
  const shown = hpa.decisions;
  return (
    <article class="hpa">
      <header>
        <b>{hpa.name}</b> <span class="dim small">{hpa.namespace}, scales {hpa.target}</span>
        <span class="replicas"><b>{hpa.current}</b> replicas <span class="dim">of {hpa.min} to {hpa.max}{hpa.desired !== hpa.current && hpa.desired > 0 && `, ${hpa.desired} wanted`}</span></span>
        {hpa.metrics.map((metric) => <span class="small">{metric.name} <b>{metric.current || "?"}</b> <span class="dim">target {metric.target}</span></span>)}
        <span class="dim small end">last scaled <Age at={hpa.lastScaleAt} /></span>
      </header>
      {hpa.explained.lines.length > 0 && (
        <div class="why">
          <h3>Why <small class="dim"><Age at={hpa.explained.at} /></small></h3>
          <ol>{hpa.explained.lines.map((line) => <li>{line}</li>)}</ol>
        </div>
      )}
      <details open={shown.some((decision) => decision.rescaled)}>
        <summary>Decisions before</summary>
        <table>
          <thead><tr><th scope="col">when</th><th scope="col">replicas</th><th scope="col">measured</th><th scope="col">outcome</th></tr></thead>
          <tbody>
            {shown.slice(0, 12).map((decision) => (
              <tr class={decision.rescaled ? "rescaled" : ""}>
                <td><Age at={decision.at} /></td>
                <td>{decision.from === decision.to ? decision.from : `${decision.from} → ${decision.to}`}</td>
                <td class="wrap">{decision.why}</td>
                <td class="wrap dim">{decision.reason || decision.limited}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
      {hpa.conditions.filter((condition) => (condition.status === "False") === (condition.type !== "ScalingLimited")).map((condition) => (
        <p class="note warn"><b>{condition.reason}</b> {condition.message}</p>
      ))}
    </article>
  );
}

function Nodes({ nodes }: { nodes: Node[] }) {
  return (
    <section>
      <h2>Nodes <small>budgets for the scheduler, all on this machine</small></h2>
      <Scroll label="Nodes">
        <table>
          <thead><tr><th scope="col">node</th><th scope="col">state</th><th scope="col" class="number">pods</th><th scope="col">CPU requested</th><th scope="col">CPU used</th><th scope="col">memory requested</th><th scope="col">memory used</th></tr></thead>
          <tbody>
            {nodes.map((node) => (
              <tr key={node.name}>
                <td>{node.name}</td>
                <td><Badge tone={!node.ready ? "bad" : node.schedulable ? "good" : "warn"}>{!node.ready ? "NotReady" : node.schedulable ? "Ready" : "Cordoned"}</Badge></td>
                <td class="number">{node.pods} of {node.podsMax}</td>
                <td><Meter value={node.cpuRequests / node.cpu} text={`${cores(node.cpuRequests)} of ${cores(node.cpu)}`} /></td>
                <td><Meter value={node.cpuUsed / node.cpu} text={cores(node.cpuUsed)} /></td>
                <td><Meter value={node.memoryRequests / node.memory} text={`${bytes(node.memoryRequests)} of ${bytes(node.memory)}`} /></td>
                <td><Meter value={node.memoryUsed / node.memory} text={bytes(node.memoryUsed)} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

function Workloads({ workloads }: { workloads: Workload[] }) {
  return (
    <section>
      <h2>Workloads</h2>
      <Scroll label="Workloads">
        <table>
          <thead><tr><th scope="col">workload</th><th scope="col">ready</th><th scope="col" class="number">updated</th><th scope="col">images</th><th scope="col" class="number">age</th></tr></thead>
          <tbody>
            {workloads.map((one) => (
              <tr key={`${one.kind}/${one.namespace}/${one.name}`}>
                <td>{one.kind} <b>{one.name}</b> <span class="dim small">{one.namespace}</span>{one.message && <div class="error small">{one.message}</div>}</td>
                <td><Meter value={one.desired ? one.ready / one.desired : 1} tone={one.ready < one.desired ? "warn" : "good"} text={`${one.ready} of ${one.desired}`} /></td>
                <td class="number">{one.updated}</td>
                <td class="wrap dim small">{one.images.join(", ")}</td>
                <td class="number"><Age at={one.createdAt} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {!workloads.length && <Empty>No workloads yet: kubectl apply -f …</Empty>}
    </section>
  );
}

function Vpas({ vpas }: { vpas: Vpa[] }) {
  return (
    <section>
      <h2>Vertical autoscalers</h2>
      <table>
        <thead><tr><th scope="col">target</th><th scope="col">mode</th><th scope="col">container</th><th scope="col">recommended</th><th scope="col">between</th></tr></thead>
        <tbody>
          {vpas.flatMap((vpa) => (vpa.recommendations.length ? vpa.recommendations : [null]).map((advice) => (
            <tr>
              <td>{vpa.target} <span class="dim small">{vpa.namespace}</span></td><td>{vpa.mode}</td><td>{advice?.container ?? "–"}</td>
              <td>{advice ? `${advice.target["cpu"] ?? "–"} CPU, ${advice.target["memory"] ?? "–"}` : <span class="dim">no recommendation yet</span>}</td>
              <td class="dim">{advice && `${advice.lower["cpu"] ?? "–"}, ${advice.lower["memory"] ?? "–"} and ${advice.upper["cpu"] ?? "–"}, ${advice.upper["memory"] ?? "–"}`}</td>
            </tr>
          )))}
        </tbody>
      </table>
    </section>
  );
}

function Events({ events }: { events: KubeEvent[] }) {
  return (
    <section>
      <h2>Events</h2>
      <Scroll label="Events" tall>
        <table>
          <tbody>
            {events.map((event) => (
              <tr>
                <td><Age at={event.at} /></td>
                <td class={event.type === "Warning" ? "error" : ""}>{event.reason}{event.count > 1 && <span class="dim small"> ×{event.count}</span>}</td>
                <td>{event.object}</td>
                <td class="wrap">{event.message}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

export function ClusterPage() {
  const { data, error } = usePoll<Cluster>((signal) => get("api/wavetank/cluster", {}, signal), 2);
  return (
    <Page title="Cluster" wide>
      <Failure text={error} />
      {data && (
        <>
          {data.hpas.length > 0 && <section><h2>Horizontal autoscalers</h2>{data.hpas.map((hpa) => <Autoscaler key={`${hpa.namespace}/${hpa.name}`} hpa={hpa} />)}</section>}
          <Workloads workloads={data.workloads} />
          <Pods pods={data.pods} />
          {data.vpas.length > 0 && <Vpas vpas={data.vpas} />}
          <Nodes nodes={data.nodes} />
          <Events events={data.events} />
        </>
      )}
    </Page>
  );
}
