// All rules by group, with how their evaluation went.

import { seconds } from "../../report/format";
import { get } from "../api";
import { usePoll } from "../hooks";
import { useParameter } from "../router";
import { duration } from "../text";
import { Age, Badge, Empty, Failure, Page, Scroll, Search } from "../ui";
import { queryLink, type Group, type Rule } from "./alerts";

function Row({ rule }: { rule: Rule }) {
  const failed = rule.health === "err";
  return (
    <tr class={failed ? "down" : ""}>
      <td><Badge tone={failed ? "bad" : rule.health === "ok" ? "good" : "plain"}>{failed ? "error" : rule.health}</Badge></td>
      <td class="wrap">
        <b>{rule.name}</b> <span class="dim small">{rule.type}{rule.duration ? `, for ${duration(rule.duration)}` : ""}</span>
        <div><a class="expr" href={queryLink(rule.query)}><code>{rule.query}</code></a></div>
        {rule.lastError && <div class="error small">{rule.lastError}</div>}
      </td>
      <td class="number">{seconds(rule.evaluationTime)}</td>
      <td class="number"><Age at={rule.lastEvaluation} /></td>
    </tr>
  );
}

export function RulesPage() {
  const { data, error } = usePoll<{ groups: Group[] }>((signal) => get("api/v1/rules", { exclude_alerts: true }, signal), 5);
  const [text, setText] = useParameter("search");
  const word = text.toLowerCase();
  const groups = (data?.groups ?? [])
    .map((group) => ({ ...group, rules: group.rules.filter((rule) => `${group.name} ${rule.name} ${rule.query}`.toLowerCase().includes(word)) }))
    .filter((group) => group.rules.length);
  return (
    <Page title="Rules" aside={<Search value={text} onChange={setText} label="Search rules" />}>
      <Failure text={error} />
      {groups.map((group) => (
        <section key={`${group.file}/${group.name}`}>
          <h2>
            {group.name}
            <small>every {duration(group.interval)}, took {seconds(group.evaluationTime)}, <Age at={group.lastEvaluation} /></small>
            <small class="end">{group.file}</small>
          </h2>
          <Scroll label={`Rules of ${group.name}`}>
            <table>
              <thead><tr><th scope="col">health</th><th scope="col">rule</th><th scope="col" class="number">took</th><th scope="col" class="number">evaluated</th></tr></thead>
              <tbody>{group.rules.map((rule) => <Row rule={rule} />)}</tbody>
            </table>
          </Scroll>
        </section>
      ))}
      {data && !groups.length && <Empty>{data.groups.length ? "No rule matches." : "The configuration has no rules."}</Empty>}
    </Page>
  );
}
