import { Page } from "../ui";
export function ConfigPage() { return <Page title="Config">{null}</Page>; }
