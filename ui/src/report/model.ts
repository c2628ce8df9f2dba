// The report's JSON, as src/wavetank/rehearsal/report/model.py defines and documents it. A Python test holds
// the field names of the two together.

export type Series = (number | null)[];
export type Phase = "metrics" | "autoscaler" | "pod" | "traffic" | "other";
export type Severity = "info" | "warning" | "error";

export interface Machine {
  cpu_model: string;
  cpu_count: number;
  memory_bytes: number;
  kernel: string;
  architecture: string;
}

export interface Environment {
  machine: Machine;
  python: string;
  versions: Record<string, string>;
  seed: number;
  enforcer: string;
  runtime: string;
  command: string;
}

export interface Modelled {
  what: string;
  how: string;
}

export interface Slo {
  name: string;
  kind: "ratio" | "threshold";
  expr: string;
  unit: string;
  objective: number | null;
  max: number | null;
  min: number | null;
  value: number | null;
  ok: boolean | null;
  budget_burn: number | null;
  worst_value: number | null;
  worst_at_seconds: number | null;
  series: Series;
}

export interface LoadStage {
  index: number;
  start_seconds: number;
  end_seconds: number;
  kind: "users" | "rps";
  users: number | null;
  rps: number | null;
  arrivals: string;
  requests: number | null;
  failures: number | null;
  p99_ms: number | null;
}

export interface Generator {
  cpu_ratio: Series;
  machine_cpu_ratio: Series;
  lateness_ms: Series;
  in_flight: Series;
}

export interface Timeline {
  step_seconds: number;
  at_seconds: number[];
  arrival_rps: Series;
  completed_rps: Series;
  failed_rps: Series;
  success_ratio: Series;
  p50_ms: Series;
  p95_ms: Series;
  p99_ms: Series;
  users: Series;
  nodes: Series;
  generator: Generator;
}

export interface Workload {
  namespace: string;
  name: string;
  kind: string;
  hpa: string | null;
  min_replicas: number | null;
  max_replicas: number | null;
  cpu_request_cores: number | null;
  cpu_limit_cores: number | null;
  memory_limit_bytes: number | null;
  cpu_target_ratio: number | null;
  desired: Series;
  ready: Series;
  cpu_utilization_ratio: Series;
  cpu_cores: Series;
  throttled_ratio: Series;
  memory_bytes: Series;
}

export interface LagStage {
  name: string;
  start_seconds: number;
  end_seconds: number;
  seconds: number;
  phase: Phase;
  modelled: boolean;
  note: string;
  source: string;
}

export interface ScaledPod {
  pod: string;
  node: string;
  stages: LagStage[];
}

export interface Service {
  name: string;
  requests: number;
  failures: number;
  tries: number;
  retries: number;
  retries_refused: number;
  overflows: number;
  ejections: number;
  requests_rps: Series;
  failed_rps: Series;
  tries_rps: Series;
  ejected: Series;
}

export interface Scaling {
  workload: string;
  direction: "up" | "down";
  from_replicas: number;
  to_replicas: number;
  decided_at_seconds: number;
  start_seconds: number;
  total_seconds: number;
  cause: string;
  stages: LagStage[];
  unexplained_seconds: number;
  through_pod: string;
  pods: ScaledPod[];
}

export interface Event {
  at_seconds: number;
  kind: string;
  subject: string;
  message: string;
  severity: Severity;
}

export interface Bottleneck {
  what: string;
  at_seconds: number | null;
  evidence: string[];
}

export interface Node {
  name: string;
  autoscaled: boolean;
  ordered_at_seconds: number | null;
  started_at_seconds: number | null;
  ended_at_seconds: number | null;
}

export interface Pod {
  name: string;
  workload: string;
  node: string;
  created_at_seconds: number | null;
  started_at_seconds: number | null;
  ready_at_seconds: number | null;
  ended_at_seconds: number | null;
  restarts: number;
  reason: string;
  requests: number | null;
}

export interface LoadRow {
  name: string;
  method: string;
  requests: number;
  failures: number;
  rps: number | null;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
  max_ms: number | null;
}

export interface LoadError {
  name: string;
  error: string;
  count: number;
  method: string;
}

export interface Load {
  requests: number;
  failures: number;
  dropped: number;
  lateness_p99_ms: number | null;
  total: LoadRow | null;
  rows: LoadRow[];
  errors: LoadError[];
}

export interface Figures {
  time_to_first_request_seconds: number | null;
  endpoint_ack_p50_ms: number | null;
  endpoint_ack_p99_ms: number | null;
  control_plane_rss_bytes: number | null;
  control_plane_cpu_cores: number | null;
  monitoring_rss_bytes: number | null;
  samples: number | null;
  series: number | null;
  node_seconds: number | null;
}

export interface Report {
  name: string;
  started_at: number;
  ended_at: number;
  duration_seconds: number;
  outcome: "held" | "failed" | "incomplete";
  environment: Environment;
  timeline: Timeline;
  schema_version: number;
  kind: "rehearsal" | "simulation";
  reason: string;
  modelled: Modelled[];
  slos: Slo[];
  stages: LoadStage[];
  workloads: Workload[];
  services: Service[];
  scalings: Scaling[];
  events: Event[];
  bottleneck: Bottleneck | null;
  pods: Pod[];
  nodes: Node[];
  load: Load | null;
  figures: Figures;
  recommendations: string[];
  notes: string[];
  files: Record<string, string>;
  dashboards: unknown[]; // drawn by a script of their own; empty in the page
}
