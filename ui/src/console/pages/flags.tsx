// The command line's flags and their values.

import { get } from "../api";
import { usePoll } from "../hooks";
import { useParameter } from "../router";
import { Empty, Failure, Page, Search } from "../ui";

export function FlagsPage() {
  const { data, error } = usePoll<Record<string, string>>((signal) => get("api/v1/status/flags", {}, signal), 0);
  const [text, setText] = useParameter("search");
  const rows = Object.entries(data ?? {}).filter(([name, value]) => `${name} ${value}`.toLowerCase().includes(text.toLowerCase()));
  return (
    <Page title="Flags" aside={<Search value={text} onChange={setText} label="Search flags" />}>
      <Failure text={error} />
      <table>
        <tbody>{rows.map(([name, value]) => <tr><td class="wrap"><code>--{name}</code></td><td class="wrap">{value || <span class="dim">empty</span>}</td></tr>)}</tbody>
      </table>
      {data && !rows.length && <Empty>No flag matches.</Empty>}
    </Page>
  );
}
