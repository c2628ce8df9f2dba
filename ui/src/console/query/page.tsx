// Queries one below the other; the address holds them all.

import { useMemo } from "preact/hooks";

import { useSetting } from "../hooks";
import { go, usePlace } from "../router";
import { Page } from "../ui";
import { QueryPanel } from "./panel";
import { addressOf, FRESH, panelsOf, type Panel } from "./state";

export function QueryPage() {
  const { search } = usePlace();
  const [zone] = useSetting("timezone", "local");
  const panels = useMemo(() => panelsOf(search), [search.toString()]);
  const change = (i: number, part: Partial<Panel>) => go(addressOf(panels.map((panel, j) => (i === j ? { ...panel, ...part } : panel))), !("expr" in part));
  const remove = (i: number) => go(addressOf(panels.filter((_, j) => i !== j)));
  return (
    <Page title="Query" wide>
      {panels.map((panel, i) => (
        <QueryPanel
          key={i} number={i + 1} panel={panel} utc={zone === "utc"} change={(part) => change(i, part)}
          remove={panels.length > 1 ? () => remove(i) : undefined}
        />
      ))}
      <button type="button" class="plain add" onClick={() => go(addressOf([...panels, FRESH]))}>Add a query</button>
    </Page>
  );
}
