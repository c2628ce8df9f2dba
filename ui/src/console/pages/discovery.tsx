import { Page } from "../ui";
export function DiscoveryPage() { return <Page title="Discovery">{null}</Page>; }
