// The configuration at work, as the server reads it.

import { useState } from "preact/hooks";

import { get } from "../api";
import { usePoll } from "../hooks";
import { Failure, Page } from "../ui";

export function ConfigPage() {
  const { data, error } = usePoll<{ yaml: string }>((signal) => get("api/v1/status/config", {}, signal), 30);
  const [copied, setCopied] = useState(false);
  const copy = () => void navigator.clipboard?.writeText(data?.yaml ?? "").then(() => setCopied(true), () => undefined);
  return (
    <Page title="Configuration" aside={<button type="button" class="plain" onClick={copy}>{copied ? "Copied" : "Copy"}</button>}>
      <Failure text={error} />
      {data && <pre class="yaml" tabIndex={0} role="region" aria-label="Configuration">{data.yaml}</pre>}
    </Page>
  );
}
