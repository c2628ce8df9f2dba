// What the dashboards' Python side answers and the browser draws. The same shapes are written down in
// docs/dashboards.md; moments are Unix milliseconds, instants on charts are Unix seconds, absent values are null.
// All texts are plain text except Rich, which is a tree of allowed elements: no HTML ever crosses this border.

/** GET /api/wavetank/dashboards/{uid}?from=&to=&var-NAME=VALUE... */
export interface Resolved {
  uid: string;
  title: string;
  description: string;
  tags: string[];
  folder: string;
  time: TimeRange;
  timezone: string; // "browser", "utc" or an IANA name
  refresh: string; // "10s"; "" is off
  refresh_intervals: string[];
  cursor: "off" | "crosshair" | "tooltip";
  variables: Variable[];
  links: Link[];
  rows: Row[];
  annotations: { name: string; colour: string; enabled: boolean; hidden: boolean }[];
  notices: Notice[];
  can_save: boolean;
}

export interface TimeRange {
  from: string; // as written: "now-6h" or milliseconds
  to: string;
  from_ms: number;
  to_ms: number;
}

export type VariableType =
  | "query" | "custom" | "constant" | "interval" | "datasource" | "textbox" | "adhoc" | "switch" | "groupby" | "system";

export interface Variable {
  name: string;
  label: string;
  description: string;
  type: VariableType;
  hide: "" | "label" | "variable";
  multi: boolean;
  include_all: boolean;
  value: string[]; // what to send back as var-NAME, repeated; "$__all" is All
  text: string;
  options: { text: string; value: string; selected: boolean }[];
  options_cut: number; // options left out because there were too many
  error: string;
}

export interface Link {
  title: string;
  url: string; // already interpolated; "" for a drop-down, whose entries are `items`
  tooltip: string;
  new_tab: boolean;
  items: { title: string; url: string }[];
}

export interface Row {
  id: string; // of the row's panel; "" for panels above the first row
  title: string;
  collapsed: boolean; // its panels are not queried until it is opened
  panels: Panel[];
}

export type PanelType =
  | "timeseries" | "stat" | "gauge" | "bargauge" | "table" | "heatmap" | "piechart" | "text" | "barchart" | "histogram"
  | "state-timeline" | "status-history" | "dashlist" | "unsupported";

export interface Panel {
  id: string; // unique on the dashboard: "12", or "12-cpu" for a repetition
  panel_id: number; // as in the JSON
  type: PanelType;
  source_type: string; // as in the JSON: "graph", "nodeGraph", ...
  reason: string; // why it is unsupported
  title: string;
  description: string;
  grid: { x: number; y: number; w: number; h: number }; // 24 columns; y counts from the row's top; h in units of 30 px + 8 px gap
  transparent: boolean;
  links: Link[];
  time_note: string; // "Last 2 h", "timeshift -1d"
}

export interface Notice {
  severity: "info" | "warning" | "error";
  text: string;
}

/** POST /api/wavetank/dashboards/{uid}/frames */
export interface FramesRequest {
  from: string;
  to: string;
  variables: Record<string, string[]>;
  panels?: { id: string; width: number }[]; // absent: all panels of open rows
  width?: number; // pixels of the whole grid, for panels that name none
  annotations?: string[]; // names of those that are on; absent: those that the file has on
}

export interface FramesAnswer {
  from_ms: number;
  to_ms: number;
  took_ms: number;
  queries: number; // asked of the data source, equal ones once
  panels: PanelData[];
  annotations: Annotation[]; // by time
  notices: Notice[];
}

export interface PanelData {
  id: string;
  state: "ok" | "empty" | "error" | "unsupported";
  notices: Notice[];
  queries: { ref: string; expr: string; step_ms: number; series: number; took_ms: number; error: string }[];
  drawing: Drawing | null; // null unless `state` is ok
}

export type Drawing =
  | TimeDrawing | StatDrawing | GaugeDrawing | BarGaugeDrawing | TableDrawing | HeatmapDrawing | PieDrawing | BarDrawing
  | HistogramDrawing | StatesDrawing | TextDrawing | ListDrawing;

/** How to write a number: made in Python from unit and decimals, applied by format.ts. */
export type Format =
  | { kind: "scaled"; factor: number; units: string[]; start: number; prefix: string; decimals: number | null }
  | { kind: "steps"; steps: { below: number | null; factor: number; suffix: string }[]; plain: string; decimals: number | null }
  | { kind: "fixed"; factor: number; prefix: string; suffix: string; decimals: number | null }
  | { kind: "number"; style: "hex" | "0x" | "scientific" | "locale" | "string"; decimals: number | null }
  | { kind: "clock"; style: string; decimals: number | null }
  | { kind: "bool"; yes: string; no: string }
  | { kind: "date"; pattern: string };

/** A value with everything already decided. */
export interface Shown {
  text: string;
  colour: string; // CSS colour, or "" for the theme's text colour
  value: number | null;
  percent: number; // 0 to 1 of min..max, for gauges and bars
}

export interface Legend {
  show: boolean;
  table: boolean;
  side: "bottom" | "right";
  calcs: string[]; // column titles
  sort_by: string;
  descending: boolean;
  width: number | null;
}

export interface Axis {
  key: string; // unit and side; series name it
  side: "left" | "right" | "hidden";
  label: string;
  format: Format;
  scale: "linear" | "log" | "symlog";
  base: number; // of log and symlog
  min: number | null;
  max: number | null;
  soft_min: number | null;
  soft_max: number | null;
  centred_zero: boolean;
}

export interface Series {
  label: string;
  ref: string;
  colour: string;
  axis: string; // key
  format: Format;
  mappings: { value: number; text: string }[]; // texts for single values
  values: (number | null)[]; // as long as the drawing's times
  draw: "line" | "bars" | "points";
  interpolation: "linear" | "smooth" | "stepBefore" | "stepAfter";
  width: number;
  dash: number[];
  fill: number; // 0 to 1
  gradient: "none" | "opacity" | "hue" | "scheme";
  points: "auto" | "never" | "always";
  point_size: number;
  span_gaps: boolean | number; // milliseconds
  bar_align: number; // -1 before, 0 centre, 1 after
  bar_width: number; // 0 to 1
  stack: "" | "normal" | "percent";
  stack_group: string;
  fill_below_to: string; // label of the series to fill down to
  hide: { legend: boolean; tooltip: boolean; viz: boolean };
  calcs: Shown[]; // one per legend.calcs
  links: Link[];
}

export interface ThresholdMark {
  axis: string;
  value: number | null; // null: from below
  until: number | null;
  colour: string;
  line: boolean;
  dashed: boolean;
  area: boolean;
}

export interface Annotation {
  name: string; // of its query
  time: number; // seconds
  end: number | null;
  title: string;
  text: string;
  tags: string[];
  colour: string;
  panels: number[]; // ids in the file that it is for, all where empty
  others: boolean; // for all but `panels`
}

/** A single observation behind a series. */
export interface Exemplar {
  time: number; // seconds
  value: number;
  labels: Record<string, string>; // its own, such as trace_id
  series: Record<string, string>;
}

export interface TimeDrawing {
  draw: "timeseries";
  from: number;
  to: number;
  step: number;
  incomplete_from: number | null; // the newest step is still filling from here on
  times: number[];
  axes: Axis[];
  series: Series[];
  series_cut: number; // series that were not sent because there were too many
  exemplars: Exemplar[];
  thresholds: ThresholdMark[];
  legend: Legend;
  tooltip: { mode: "single" | "multi" | "none"; sort: "none" | "asc" | "desc"; hide_zeros: boolean };
}

export interface StatItem extends Shown {
  title: string;
  background: boolean;
  colour_text: boolean;
  spark: { times: number[]; values: (number | null)[]; min: number; max: number } | null;
  change: string; // percent change, "" if not shown
  change_colour: string;
  links: Link[];
}

export interface StatDrawing {
  draw: "stat";
  orientation: "auto" | "horizontal" | "vertical";
  text_mode: "auto" | "value" | "value_and_name" | "name" | "none";
  justify: "auto" | "center";
  graph: "none" | "area" | "line";
  wide: boolean;
  title_size: number | null;
  value_size: number | null;
  items: StatItem[];
}

export interface GaugeDrawing {
  draw: "gauge";
  orientation: "auto" | "horizontal" | "vertical";
  shape: "gauge" | "circle";
  labels: boolean;
  markers: boolean;
  items: (Shown & { title: string; min_text: string; max_text: string; steps: { from: number; to: number; colour: string; label: string }[]; links: Link[] })[];
}

export interface BarGaugeDrawing {
  draw: "bargauge";
  orientation: "horizontal" | "vertical";
  mode: "basic" | "gradient" | "lcd";
  values: "color" | "text" | "hidden";
  names: "auto" | "top" | "left" | "hidden";
  unfilled: boolean;
  items: (Shown & { title: string; steps: { from: number; to: number; colour: string }[]; links: Link[] })[];
}

export interface Column {
  name: string;
  numeric: boolean;
  width: number | null;
  align: "left" | "center" | "right";
  cell: "text" | "color-text" | "color-background" | "gauge" | "sparkline" | "json" | "pill";
  gauge_mode: "basic" | "gradient" | "lcd";
  filterable: boolean;
  wrap: boolean;
  footer: string;
}

export interface Cell {
  text: string;
  sort: number | string | null;
  colour: string;
  percent: number;
  url: string;
  title: string; // of the link
  spark: (number | null)[] | null;
}

export interface TableDrawing {
  draw: "table";
  header: boolean;
  height: "sm" | "md" | "lg";
  columns: Column[];
  rows: Cell[][];
  rows_cut: number;
  sort_by: { column: number; descending: boolean }[];
  page_size: number | null;
  frames: { title: string; selected: boolean }[]; // when more than one table was answered
}

export interface HeatmapDrawing {
  draw: "heatmap";
  from: number;
  to: number;
  times: number[];
  step: number;
  labels: string[]; // of the buckets, from below
  counts: (number | null)[][]; // [bucket][time]
  colours: string[]; // steps from low to high
  low: number;
  high: number;
  exponent: number;
  gap: number;
  format: Format;
  legend: boolean;
}

export interface PieDrawing {
  draw: "piechart";
  donut: boolean;
  labels: ("name" | "value" | "percent")[];
  legend: Legend;
  legend_values: ("value" | "percent")[];
  items: (Shown & { title: string; share: number; percent_text: string; links: Link[] })[];
}

export interface BarDrawing {
  draw: "barchart";
  horizontal: boolean;
  categories: string[];
  stack: "" | "normal" | "percent";
  show_values: "auto" | "always" | "never";
  group_width: number;
  bar_width: number;
  rotation: number;
  axis: Axis;
  series: { label: string; colour: string; values: (number | null)[]; texts: string[]; fill: number; calcs: Shown[] }[];
  legend: Legend;
}

export interface HistogramDrawing {
  draw: "histogram";
  edges: number[]; // one more than counts
  format: Format;
  series: { label: string; colour: string; counts: number[]; fill: number }[];
  legend: Legend;
}

export interface StatesDrawing {
  draw: "state-timeline" | "status-history";
  from: number;
  to: number;
  row_height: number;
  cell_width: number;
  show_value: "auto" | "always" | "never";
  rows: { label: string; spans: { start: number; end: number; text: string; colour: string }[] }[];
  legend: { text: string; colour: string }[];
}

/** Text panels: a tree of elements out of a fixed list; `url` only http(s), mailto or relative. */
export type Rich = string | { tag: RichTag; url?: string; children: Rich[] };
export type RichTag =
  | "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "li" | "b" | "i" | "s" | "code" | "pre" | "a" | "hr" | "br"
  | "blockquote" | "table" | "thead" | "tbody" | "tr" | "th" | "td" | "span" | "div";

export interface TextDrawing {
  draw: "text";
  content: Rich[];
  code: boolean;
}

export interface ListDrawing {
  draw: "dashlist";
  groups: { title: string; items: { title: string; url: string; tags: string[] }[] }[];
}
