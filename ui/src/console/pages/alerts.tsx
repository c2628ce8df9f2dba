// Alerting rules by state, with what each alert waits for or fires on.

import { get } from "../api";
import { usePoll } from "../hooks";
import { href, useParameter } from "../router";
import { duration, full, type Labels } from "../text";
import { Age, Badge, Check, Empty, Failure, LabelList, Page, Search, type Tone } from "../ui";

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: string;
  activeAt: string;
  value: string;
  keepFiringSince?: string;
}
export interface Rule {
  name: string;
  query: string;
  labels: Labels;
  health: string;
  lastError?: string;
  evaluationTime: number;
  lastEvaluation: string;
  type: "alerting" | "recording";
  state?: string;
  duration?: number;
  keepFiringFor?: number;
  annotations?: Labels;
  alerts?: Alert[];
}
export interface Group {
  name: string;
  file: string;
  interval: number;
  rules: Rule[];
  evaluationTime: number;
  lastEvaluation: string;
}

export const STATES: Record<string, Tone> = { firing: "bad", pending: "warn", inactive: "good", unknown: "plain" };

export function queryLink(expr: string): string {
  return href("query", { "g0.expr": expr, "g0.tab": "table" });
}

function AlertRow({ alert }: { alert: Alert }) {
  const notes = Object.entries(alert.annotations);
  return (
    <tr>
      <td><Badge tone={STATES[alert.state] ?? "plain"}>{alert.state}</Badge></td>
      <td class="wrap">
        <LabelList labels={alert.labels} without={["alertname"]} />
        {notes.map(([name, text]) => <div class="dim small">{name}: {text}</div>)}
      </td>
      <td><Age at={alert.activeAt} /></td>
      <td class="number">{full(Number(alert.value))}</td>
    </tr>
  );
}

function RuleBlock({ rule, group }: { rule: Rule; group: Group }) {
  const alerts = rule.alerts ?? [];
  return (
    <article class="rule">
      <header>
        <Badge tone={STATES[rule.state ?? "inactive"] ?? "plain"}>{rule.state ?? "inactive"}</Badge>
        <b>{rule.name}</b>
        <span class="dim small">{group.name}</span>
        {rule.duration ? <span class="dim small">for {duration(rule.duration)}</span> : null}
        <LabelList labels={rule.labels} />
        <span class="end dim small">{alerts.length ? `${alerts.length} active` : ""}</span>
      </header>
      <a class="expr" href={queryLink(rule.query)}><code>{rule.query}</code></a>
      <Failure text={rule.lastError ?? ""} />
      {alerts.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={`Alerts of ${rule.name}`}>
          <table>
            <thead><tr><th scope="col">state</th><th scope="col">labels</th><th scope="col">active since</th><th scope="col" class="number">value</th></tr></thead>
            <tbody>{alerts.slice(0, 100).map((alert) => <AlertRow alert={alert} />)}</tbody>
          </table>
          {alerts.length > 100 && <p class="dim small">the first 100 of {alerts.length}</p>}
        </div>
      )}
    </article>
  );
}

const ORDER = ["firing", "pending", "unknown", "inactive"];

export function AlertsPage() {
  const { data, error } = usePoll<{ groups: Group[] }>((signal) => get("api/v1/rules", { type: "alert" }, signal), 5);
  const [text, setText] = useParameter("search");
  const [hidden, setHidden] = useParameter("hide");
  const off = new Set(hidden.split(",").filter(Boolean));
  const all = (data?.groups ?? []).flatMap((group) => group.rules.map((rule) => ({ group, rule })));
  const by = (state: string) => all.filter(({ rule }) => (rule.state ?? "inactive") === state).length;
  const word = text.toLowerCase();
  const shown = all
    .filter(({ rule }) => !off.has(rule.state ?? "inactive") && `${rule.name} ${rule.query} ${JSON.stringify(rule.labels)}`.toLowerCase().includes(word))
    .sort((a, b) => ORDER.indexOf(a.rule.state ?? "inactive") - ORDER.indexOf(b.rule.state ?? "inactive"));
  const toggle = (state: string, on: boolean) => {
    if (on) off.delete(state);
    else off.add(state);
    setHidden([...off].join(","));
  };
  return (
    <Page title="Alerts">
      <div class="filters">
        {ORDER.filter((state) => state !== "unknown" || by(state)).map((state) => <Check checked={!off.has(state)} onChange={(on) => toggle(state, on)}>{state} {by(state)}</Check>)}
        <Search value={text} onChange={setText} label="Search alerts" />
      </div>
      <Failure text={error} />
      {shown.map(({ rule, group }) => <RuleBlock key={`${group.file}/${group.name}/${rule.name}`} rule={rule} group={group} />)}
      {data && !shown.length && <Empty>{all.length ? "No alert matches." : "The configuration has no alerting rules."}</Empty>}
    </Page>
  );
}
