// Text panels: a tree of elements from a fixed list becomes elements; a string is always text.
import { h, type ComponentChild } from "preact";

import type { Rich, TextDrawing } from "./contract";

const TAGS = new Set("p h1 h2 h3 h4 h5 h6 ul ol li b i s code pre a hr br blockquote table thead tbody tr th td span div".split(" "));
const SAFE = /^(https?:|mailto:|[/?#.]|[^:]*$)/i;

function element(node: Rich): ComponentChild {
  if (typeof node === "string") return node;
  const tag = TAGS.has(node.tag) ? node.tag : "span";
  const link = tag === "a" && node.url && SAFE.test(node.url) ? { href: node.url, rel: "noopener noreferrer" } : {};
  return h(tag, link, ...(node.children ?? []).map(element));
}

export function Text({ drawing }: { drawing: TextDrawing }) {
  return <div class="wt-text" tabIndex={0} role="region" aria-label="Text">{drawing.content.map(element)}</div>;
}
