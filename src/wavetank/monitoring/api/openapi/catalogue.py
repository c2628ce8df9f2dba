"""Every endpoint below ``/api/v1`` with its parameters, as data. Tests compare it with the routing table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

__all__ = ["ENDPOINTS", "PATHS", "TAGS", "Endpoint", "Parameter"]

Kind = Literal["text", "texts", "integer", "boolean", "time", "duration"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """``one_of`` are all values there are; ``least`` and ``default`` are for integers."""

    name: str
    text: str
    kind: Kind = "text"
    required: bool = False
    in_path: bool = False
    one_of: Sequence[str] = ()
    least: int | None = None
    default: int | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``operation`` names the first of the methods, ``answer`` the schema of the body, or its media type.

    ``form`` says that a POST takes the parameters as a form, ``newest_only`` that OpenAPI 3.1 cannot say it.
    """

    path: str
    operation: str
    tag: str
    text: str
    parameters: Sequence[Parameter] = ()
    answer: str = ""
    methods: Sequence[str] = ("GET",)
    form: bool = False
    newest_only: bool = False


TAGS: Final = {
    "query": "Evaluating PromQL",
    "metadata": "What metrics are",
    "labels": "Names and values of labels",
    "series": "Which series there are",
    "targets": "What is scraped",
    "rules": "Recording and alerting rules",
    "alerts": "Alerts, and who hears of them",
    "status": "How the server is set up and how it stands",
    "admin": "Changing the storage; off by default",
    "features": "What this server can do",
    "remote": "Remote write and read",
    "otlp": "OpenTelemetry metrics",
    "notifications": "What an operator should know now",
}


def _times(whole: str) -> tuple[Parameter, Parameter]:
    return (
        Parameter("start", f"Start of the time {whole}.", "time"),
        Parameter("end", f"End of the time {whole}.", "time"),
    )


def _needed(parameter: Parameter) -> Parameter:
    return replace(parameter, required=True)


_QUERY: Final = Parameter("query", "A PromQL expression.", required=True)
_MATCH: Final = Parameter("match[]", "A selector of series; several are alternatives.", "texts")
_LIMIT: Final = Parameter("limit", "At most so many entries; 0 is all.", "integer")
_NUMBER: Final = Parameter("limit", "At most so many entries; negative is all.", "integer")
_POOL: Final = Parameter("scrapePool", "Name of a scrape pool.")
_HOW: Final = (
    Parameter("timeout", "When to give up; --query.timeout at the latest.", "duration"),
    Parameter("lookback_delta", "How old a sample may be to count.", "duration"),
    Parameter("stats", "Statistics of the query: true, or all for those of each step too."),
    Parameter("advice", "Infos on how exact rate() and increase() can be here.", "boolean"),
)
_RANGE: Final = (*map(_needed, _times("queried")), Parameter("step", "Step of the range.", "duration", True))
_SEARCH: Final = (
    _MATCH,
    Parameter("search[]", "What to look for; several are alternatives.", "texts"),
    Parameter("fuzz_threshold", "The least score accepted, from 0 to 100.", "integer", least=0),
    Parameter("fuzz_alg", "How likeness is judged.", one_of=("subsequence", "jarowinkler")),
    Parameter("case_sensitive", "Whether capital letters matter; they do by default.", "boolean"),
    Parameter("sort_by", "The order of results.", one_of=("alpha", "score")),
    Parameter("sort_dir", "Its direction, for alpha.", one_of=("asc", "dsc")),
    Parameter("include_score", "Give each result's score.", "boolean"),
    *_times("searched, the last hour by default"),
    Parameter("limit", "At most so many results.", "integer", least=1, default=100),
    Parameter("batch_size", "Results in a line of the answer.", "integer", least=1, default=100),
)
_WITH_METADATA: Final = Parameter("include_metadata", "Give type, help and unit of metrics.", "boolean")
_BOTH: Final = ("GET", "POST")
_CHANGE: Final = ("PUT", "POST")
_LINES: Final = "application/x-ndjson"

ENDPOINTS: Final[Sequence[Endpoint]] = (
    Endpoint(
        "/query",
        "query",
        "query",
        "Evaluate an expression at one time",
        (_LIMIT, Parameter("time", "When; now by default.", "time"), _QUERY, *_HOW),
        "QueryOutputBody",
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/query_range",
        "query-range",
        "query",
        "Evaluate an expression over a range of times",
        (_LIMIT, *_RANGE, _QUERY, *_HOW),
        "QueryRangeOutputBody",
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/query_exemplars",
        "query-exemplars",
        "query",
        "Exemplars of the series an expression selects",
        (*_times("of the exemplars"), _QUERY),
        "QueryExemplarsOutputBody",
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/format_query",
        "format-query",
        "query",
        "An expression, set out nicely",
        (_QUERY,),
        "FormatQueryOutputBody",
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/parse_query",
        "parse-query",
        "query",
        "The syntax tree of an expression",
        (_QUERY,),
        "ParseQueryOutputBody",
        _BOTH,
        form=True,
    ),
    Endpoint("/queries", "get-queries", "query", "Queries that run or wait", answer="QueriesOutputBody"),
    Endpoint(
        "/queries/{id}/cancel",
        "cancel-query",
        "query",
        "End a running query",
        (Parameter("id", "As /queries gives it.", "integer", True, in_path=True),),
        "CancelQueryOutputBody",
        ("POST",),
    ),
    Endpoint(
        "/labels",
        "labels",
        "labels",
        "Names of labels",
        (*_times("looked at"), _MATCH, _LIMIT),
        "LabelsOutputBody",
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/label/{name}/values",
        "label-values",
        "labels",
        "Values of a label",
        (
            Parameter("name", "The label; may be escaped (U__).", required=True, in_path=True),
            *_times("looked at"),
            _MATCH,
            _LIMIT,
        ),
        "LabelValuesOutputBody",
    ),
    Endpoint(
        "/search/metric_names",
        "search-metric-names",
        "metadata",
        "Find metrics by name",
        (*_SEARCH[:8], _WITH_METADATA, *_SEARCH[8:]),
        _LINES,
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/search/label_names",
        "search-label-names",
        "labels",
        "Find labels by name",
        _SEARCH,
        _LINES,
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/search/label_values",
        "search-label-values",
        "labels",
        "Find values of a label",
        (Parameter("label", "The label.", required=True), *_SEARCH),
        _LINES,
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/series",
        "series",
        "series",
        "Series that match",
        (*_times("looked at"), _needed(_MATCH), _LIMIT),
        "SeriesOutputBody",
        _BOTH,
        form=True,
    ),
    Endpoint(
        "/metadata",
        "get-metadata",
        "metadata",
        "Type, help and unit of metrics, as targets say them",
        (
            _NUMBER,
            Parameter("limit_per_metric", "At most so many entries a metric.", "integer"),
            Parameter("metric", "One metric alone."),
        ),
        "MetadataOutputBody",
    ),
    Endpoint(
        "/scrape_pools", "get-scrape-pools", "targets", "Names of scrape pools", (), "ScrapePoolsOutputBody"
    ),
    Endpoint(
        "/scrape_pools/config",
        "get-scrape-pool-config",
        "targets",
        "The configuration of a scrape pool",
        (_needed(_POOL),),
        "ScrapePoolConfigOutputBody",
    ),
    Endpoint(
        "/targets",
        "get-targets",
        "targets",
        "Targets that are scraped, and those that were dropped",
        (_POOL, Parameter("state", "active, dropped or any.")),
        "TargetsOutputBody",
    ),
    Endpoint(
        "/targets/metadata",
        "get-targets-metadata",
        "targets",
        "What targets say of their metrics",
        (
            Parameter("match_target", "A selector of targets by their labels."),
            Parameter("metric", "One metric alone."),
            _NUMBER,
        ),
        "TargetMetadataOutputBody",
    ),
    Endpoint(
        "/targets/relabel_steps",
        "get-targets-relabel-steps",
        "targets",
        "What each relabelling rule does to some labels",
        (_needed(_POOL), Parameter("labels", "Discovered labels, as a JSON object.", required=True)),
        "TargetRelabelStepsOutputBody",
    ),
    Endpoint(
        "/rules",
        "rules",
        "rules",
        "Rule groups and how their rules stand",
        (
            Parameter("type", "alert or record."),
            Parameter("rule_name[]", "Rules of these names.", "texts"),
            Parameter("rule_group[]", "Groups of these names.", "texts"),
            Parameter("file[]", "Groups of these files.", "texts"),
            Parameter("match[]", "A selector of rules by their labels.", "texts"),
            Parameter("exclude_alerts", "true leaves the active alerts out."),
            Parameter("group_limit", "At most so many groups.", "integer"),
            Parameter("group_next_token", "Where the answer before ended."),
        ),
        "RulesOutputBody",
    ),
    Endpoint("/alerts", "alerts", "alerts", "Active alerts", answer="AlertsOutputBody"),
    Endpoint(
        "/alertmanagers",
        "alertmanagers",
        "alerts",
        "Alertmanagers, heard and dropped",
        answer="AlertmanagersOutputBody",
    ),
    Endpoint(
        "/status/config", "get-status-config", "status", "The configuration", (), "StatusConfigOutputBody"
    ),
    Endpoint(
        "/status/runtimeinfo",
        "get-status-runtimeinfo",
        "status",
        "The running process",
        answer="StatusRuntimeInfoOutputBody",
    ),
    Endpoint(
        "/status/buildinfo", "get-status-buildinfo", "status", "Versions", (), "StatusBuildInfoOutputBody"
    ),
    Endpoint("/status/flags", "get-status-flags", "status", "Flags", answer="StatusFlagsOutputBody"),
    Endpoint(
        "/status/tsdb",
        "status-tsdb",
        "status",
        "What takes most room in the storage",
        (Parameter("limit", "Entries a list, 10 by default.", "integer"),),
        "StatusTSDBOutputBody",
    ),
    Endpoint(
        "/status/tsdb/blocks",
        "status-tsdb-blocks",
        "status",
        "Blocks of the storage",
        answer="StatusTSDBBlocksOutputBody",
    ),
    Endpoint(
        "/status/walreplay",
        "get-status-walreplay",
        "status",
        "How far the log has been read at the start",
        answer="StatusWALReplayOutputBody",
    ),
    Endpoint(
        "/status/self_metrics",
        "get-status-self-metrics",
        "status",
        "The server's own metrics as JSON",
        (Parameter("metric_name_pattern", "A regular expression that names match as a whole."),),
        "StatusSelfMetricsOutputBody",
    ),
    Endpoint(
        "/admin/tsdb/delete_series",
        "deleteSeries",
        "admin",
        "Delete samples",
        (_needed(_MATCH), *_times("deleted")),
        methods=_CHANGE,
    ),
    Endpoint(
        "/admin/tsdb/clean_tombstones",
        "cleanTombstones",
        "admin",
        "Free the room of deleted samples",
        methods=_CHANGE,
    ),
    Endpoint(
        "/admin/tsdb/snapshot",
        "snapshot",
        "admin",
        "Copy the storage into its snapshots directory",
        (Parameter("skip_head", "Leave out what is not in blocks yet."),),
        "SnapshotOutputBody",
        _CHANGE,
    ),
    Endpoint("/read", "remoteRead", "remote", "Remote read", methods=("POST",)),
    Endpoint("/write", "remoteWrite", "remote", "Remote write", methods=("POST",)),
    Endpoint("/otlp/v1/metrics", "otlpWrite", "otlp", "Metrics by OTLP over HTTP", methods=("POST",)),
    Endpoint(
        "/notifications",
        "get-notifications",
        "notifications",
        "Notifications now in force",
        answer="NotificationsOutputBody",
    ),
    Endpoint(
        "/notifications/live",
        "notifications-live",
        "notifications",
        "Notifications as they come and go, as server-sent events",
        answer="text/event-stream",
        newest_only=True,
    ),
    Endpoint(
        "/features", "get-features", "features", "What is built in and switched on", (), "FeaturesOutputBody"
    ),
)
#: All paths, and that of the document itself.
PATHS: Final = frozenset([*(endpoint.path for endpoint in ENDPOINTS), "/openapi.yaml"])
