import { Page } from "../ui";
export function FlagsPage() { return <Page title="Flags">{null}</Page>; }
