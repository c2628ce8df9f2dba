// How relabelling made a target's labels, rule by rule: what each changed.

import { get } from "../api";
import { usePoll } from "../hooks";
import { labelPairs, type Labels } from "../text";
import { Failure, LabelList } from "../ui";

interface Step {
  rule: Record<string, unknown>;
  output: Labels;
  keep: boolean;
}

/** Labels that a step added or changed, and those it took away. */
export function difference(before: Labels, after: Labels): { changed: Labels; gone: string[] } {
  const changed = Object.fromEntries(Object.entries(after).filter(([name, value]) => before[name] !== value));
  return { changed, gone: Object.keys(before).filter((name) => !(name in after)) };
}

function ruleText(rule: Record<string, unknown>): string {
  const { action = "replace", source_labels: from, regex, target_label: to, replacement } = rule as Record<string, string | string[] | undefined>;
  const parts = [String(action)];
  if (Array.isArray(from) && from.length) parts.push(from.join(" ; "));
  if (regex !== undefined && regex !== "(.*)") parts.push(`~ ${String(regex)}`);
  if (to) parts.push(`→ ${String(to)}`);
  if (replacement !== undefined && replacement !== "$1") parts.push(`= ${String(replacement)}`);
  return parts.join(" ");
}

export function RelabelSteps({ pool, labels }: { pool: string; labels: Labels }) {
  const { data, error } = usePoll<{ steps: Step[] }>((signal) => get("api/v1/targets/relabel_steps", { scrapePool: pool, labels: JSON.stringify(labels) }, signal), 0, [pool, JSON.stringify(labels)]);
  const steps = data?.steps ?? [];
  return (
    <div class="relabel">
      <p class="dim">Discovered</p>
      <LabelList labels={labels} />
      <Failure text={error} />
      {data && !steps.length && <p class="dim">No relabelling rules.</p>}
      <ol>
        {steps.map((step, i) => {
          const before = i ? steps[i - 1]!.output : labels;
          const { changed, gone } = difference(before, step.output);
          return (
            <li>
              <code>{ruleText(step.rule)}</code>
              {!step.keep ? <b class="error">dropped here</b> : labelPairs(changed).length || gone.length ? null : <span class="dim">no change</span>}
              {step.keep && <LabelList labels={changed} />}
              {step.keep && gone.length > 0 && <s class="dim">{gone.join(", ")}</s>}
            </li>
          );
        })}
      </ol>
    </div>
  );
}
