// What this console stands before: a Prometheus server, a standing tank, a rehearsal that runs.

export interface Info {
  kind: "prometheus" | "tank" | "rehearsal";
  title: string;
  subtitle: string;
  version: string;
  startedAt: number;
  ready: boolean;
  dashboards: boolean;
  /** Whether this browser may see the cluster and act on it. */
  signedIn: boolean;
  /** Whether the console may start load. */
  load: boolean;
}
