import { Page } from "../ui";
export function RulesPage() { return <Page title="Rules">{null}</Page>; }
