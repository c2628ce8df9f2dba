// What this console stands before: a Prometheus server, a standing tank, a rehearsal that runs.

export interface Info {
  kind: "prometheus" | "tank" | "rehearsal";
  title: string;
  subtitle: string;
  version: string;
  startedAt: number;
  ready: boolean;
  dashboards: boolean;
  /** Whether this browser may see the cluster, and whether it may act. */
  signedIn: boolean;
  actions: boolean;
  locustUrl: string;
}
