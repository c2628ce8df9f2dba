import { Page } from "../ui";
export function TsdbPage() { return <Page title="Tsdb">{null}</Page>; }
