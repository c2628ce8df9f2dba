import { Page } from "../ui";
export function StatusPage() { return <Page title="Status">{null}</Page>; }
