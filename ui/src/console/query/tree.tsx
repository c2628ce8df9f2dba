// The query as a tree: what each part gives at one instant, and what it costs.

import { useState } from "preact/hooks";

import { get } from "../api";
import { usePoll } from "../hooks";
import { Empty, Failure } from "../ui";
import { count, seconds } from "../../report/format";

interface Node {
  kind: string;
  name: string;
  expr: string;
  type: string;
  series?: number;
  samples?: number;
  samplesRead: number;
  seconds: number;
  labels?: { name: string; values: number }[];
  error?: string;
  children: Node[];
}

function own(node: Node): number {
  return Math.max(0, node.seconds - node.children.reduce((sum, child) => sum + (child.seconds ?? 0), 0));
}

function Row({ node, total, depth, choose }: { node: Node; total: number; depth: number; choose: (expr: string) => void }) {
  const [open, setOpen] = useState(true);
  const hollow = node.series === 0;
  return (
    <li role="treeitem" aria-expanded={node.children.length ? open : undefined}>
      <div class={`node${node.error ? " failed" : hollow ? " hollow" : ""}`} style={{ paddingLeft: `${depth * 20}px` }}>
        <span class="node-name">
          {node.children.length > 0 ? (
            <button type="button" class="twist" aria-label={open ? "Close" : "Open"} onClick={() => setOpen(!open)}>{open ? "▾" : "▸"}</button>
          ) : (
            <span class="twist" />
          )}
          <button type="button" class="link" title={`Run this part alone:\n${node.expr}`} onClick={() => choose(node.expr)}>
            <code>{node.name}</code>
          </button>
          <small>{node.kind}</small>
        </span>
        <span class="node-labels">{(node.labels ?? []).map((label) => <small>{label.name} <b>{label.values}</b></small>)}</span>
        <span class="node-count">{node.error ? <em>{node.error}</em> : node.type === "scalar" ? "scalar" : `${count(node.series)} series`}</span>
        <span class="node-read">{count(node.samplesRead)} read</span>
        <span class="node-time" title={`${seconds(own(node))} of its own`}>
          <i aria-hidden="true"><i style={{ width: `${Math.min(100, (node.seconds / Math.max(total, 1e-9)) * 100)}%` }} /></i>
          {seconds(node.seconds)}
        </span>
      </div>
      {open && node.children.length > 0 && (
        <ul role="group">{node.children.map((child) => <Row node={child} total={total} depth={depth + 1} choose={choose} />)}</ul>
      )}
    </li>
  );
}

export function Tree({ expr, at, turn, choose }: { expr: string; at: number; turn: number; choose: (expr: string) => void }) {
  const { data, error, loading } = usePoll<Node>((signal) => get("api/wavetank/query_tree", { query: expr, time: at / 1000 }, signal), 0, [expr, turn]);
  if (error) return <Failure text={error} />;
  if (!data) return <Empty>{loading ? "Evaluating every part…" : "Nothing to show."}</Empty>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Query tree">
      <ul class="tree" role="tree" aria-label="Parts of the query"><Row node={data} total={data.seconds} depth={0} choose={choose} /></ul>
      <p class="dim small">At one instant. Time includes the parts below; a click on a part runs it alone.</p>
    </div>
  );
}
