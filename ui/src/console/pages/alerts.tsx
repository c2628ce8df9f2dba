import { Page } from "../ui";
export function AlertsPage() { return <Page title="Alerts">{null}</Page>; }
