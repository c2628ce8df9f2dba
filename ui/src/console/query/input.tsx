// Where the query is written: a plain field at once, the editor as soon as it is there.

import { useEffect, useRef, useState } from "preact/hooks";

import { url } from "../api";
import type { Editor } from "./editor";

interface Props {
  value: string;
  /** A text from elsewhere than this field. What is typed here never comes back into it, or fast typing would be undone. */
  given: { text: string };
  label: string;
  onChange: (text: string) => void;
  onRun: () => void;
  inserting?: { text: string; turn: number } | undefined;
}

const nonce = document.querySelector<HTMLMetaElement>("meta[name=style-nonce]")?.content ?? "";

export function QueryInput(props: Props) {
  const holder = useRef<HTMLDivElement>(null);
  const editor = useRef<Editor | null>(null);
  const latest = useRef(props);
  const [loaded, setLoaded] = useState(false);
  latest.current = props;

  useEffect(() => {
    let gone = false;
    void import("./editor").then(({ createEditor }) => {
      if (gone) return;
      const typing = holder.current!.parentElement!.contains(document.activeElement);
      editor.current = createEditor(holder.current!, {
        text: latest.current.value,
        label: props.label,
        nonce,
        api: url("").replace(/\/$/, ""),
        onChange: (text) => latest.current.onChange(text),
        onRun: () => latest.current.onRun(),
      });
      if (typing) editor.current.focus();
      setLoaded(true);
    }).catch(() => undefined); // the plain field does, too
    return () => {
      gone = true;
      editor.current?.destroy();
    };
  }, []);
  useEffect(() => editor.current?.set(props.given.text), [props.given]);
  useEffect(() => {
    if (props.inserting?.turn) editor.current?.insert(props.inserting.text);
  }, [props.inserting?.turn]);

  return (
    <div class={loaded ? "input loaded" : "input"}>
      {!loaded && (
        <textarea
          rows={1} aria-label={props.label} spellcheck={false} value={props.value} placeholder="PromQL expression"
          onInput={(event) => props.onChange(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Enter" && !event.shiftKey && (event.preventDefault(), props.onRun())}
        />
      )}
      <div ref={holder} />
    </div>
  );
}
