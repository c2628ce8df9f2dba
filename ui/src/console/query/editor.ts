// The PromQL editor: loaded after the first paint, in a chunk of its own.

import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { lintKeymap } from "@codemirror/lint";
import { EditorState, Prec } from "@codemirror/state";
import { EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { PromQLExtension } from "@prometheus-io/codemirror-promql";

export interface Editor {
  set(text: string): void;
  insert(text: string): void;
  focus(): void;
  destroy(): void;
}

interface Wishes {
  text: string;
  label: string;
  nonce: string;
  /** Prefix of the API, without a slash at its end. */
  api: string;
  onChange: (text: string) => void;
  onRun: () => void;
}

// Colours are custom properties of the page's style sheet, so that light and dark need nothing here.
const highlight = HighlightStyle.define([
  { tag: tags.number, color: "var(--code-number)" },
  { tag: tags.string, color: "var(--code-string)" },
  { tag: tags.keyword, color: "var(--code-keyword)" },
  { tag: tags.function(tags.variableName), color: "var(--code-function)" },
  { tag: tags.labelName, color: "var(--code-label)" },
  { tag: tags.operator, color: "var(--muted)" },
  { tag: tags.modifier, color: "var(--code-keyword)" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
  { tag: tags.invalid, color: "var(--bad)" },
]);

const look = EditorView.theme({
  "&": { backgroundColor: "transparent", color: "var(--ink)", fontSize: "13px" },
  "&.cm-focused": { outline: "none" },
  ".cm-content": { fontFamily: "var(--mono)", padding: "6px 0", caretColor: "var(--ink)" },
  ".cm-line": { padding: "0 8px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", maxHeight: "50vh" },
  ".cm-placeholder": { color: "var(--muted)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--band)", outline: "1px solid var(--rule-strong)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": { backgroundColor: "var(--selection)" },
  ".cm-tooltip": { backgroundColor: "var(--paper)", border: "1px solid var(--rule-strong)", borderRadius: "4px", boxShadow: "0 4px 16px #0003" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "12px", maxHeight: "280px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--link)", color: "var(--paper)" },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal", marginLeft: "12px" },
  "li[aria-selected] .cm-completionDetail": { color: "inherit" },
  ".cm-completionInfo": { maxWidth: "360px", padding: "6px 10px", fontFamily: "system-ui, sans-serif", fontSize: "12px" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionIcon": { color: "var(--muted)" },
  ".cm-diagnostic": { padding: "4px 10px", fontSize: "12px" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--bad)" },
});

export function createEditor(parent: HTMLElement, wishes: Wishes): Editor {
  const promql = new PromQLExtension().setComplete({
    remote: { url: wishes.api, httpMethod: "GET", fetchFn: (input, init) => fetch(input, init), lookbackInterval: 12 * 3600 * 1000 },
  });
  const run = { key: "Enter", run: () => (wishes.onRun(), true) };
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: wishes.text,
      extensions: [
        EditorView.cspNonce.of(wishes.nonce),
        EditorView.contentAttributes.of({ "aria-label": wishes.label }),
        look,
        history(),
        bracketMatching(),
        closeBrackets(),
        indentOnInput(),
        autocompletion(),
        syntaxHighlighting(highlight),
        promql.asExtension(),
        EditorView.lineWrapping,
        placeholder("PromQL expression: Enter runs it, Shift-Enter starts a line"),
        EditorView.updateListener.of((update) => update.docChanged && wishes.onChange(update.state.doc.toString())),
        Prec.high(keymap.of([{ key: "Tab", run: acceptCompletion }, { key: "Shift-Enter", run: insertNewlineAndIndent }])),
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...lintKeymap, run, ...historyKeymap, ...defaultKeymap]),
      ],
    }),
  });
  return {
    set: (text) => {
      if (text !== view.state.doc.toString()) view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    insert: (text) => {
      view.dispatch(view.state.replaceSelection(text));
      view.focus();
    },
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}
