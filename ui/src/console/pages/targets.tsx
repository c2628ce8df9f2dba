import { Page } from "../ui";
export function TargetsPage() { return <Page title="Targets">{null}</Page>; }
