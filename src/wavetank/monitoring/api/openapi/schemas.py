"""What answers look like, in short, and as JSON schemas.

A shape is the name of another shape or of a kind, ``=text`` for just that text, a list of one shape, a tuple
of alternatives, a ``Pair``, or a dict: an object with these fields, of which those with ``?`` may be absent,
or with fields of any name (``*``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["SHAPES", "schema", "schemas"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A list of two: a time and a value."""

    value: Any


Shape = Any  # recursive: str | list | tuple | dict | Pair

_KINDS: Final[dict[str, dict[str, Any]]] = {
    "any": {},
    "text": {"type": "string"},
    "number": {"type": "number"},
    "integer": {"type": "integer", "format": "int64"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date-time"},
}
_POINT: Final = Pair("text")
_HISTOGRAM_POINT: Final = Pair("HistogramValue")
_PER_STEP: Final = Pair("number")
_RULE: Final[dict[str, Shape]] = {
    "name": "text",
    "query": "text",
    "labels": "Labels",
    "health": "text",
    "lastError?": "text",
    "evaluationTime": "number",
    "lastEvaluation": "date",
}

SHAPES: Final[dict[str, Shape]] = {
    "Labels": {"*": "text"},
    "HistogramValue": {"count": "text", "sum": "text", "buckets?": [["any"]]},
    "FloatSample": {"metric": "Labels", "value": _POINT},
    "HistogramSample": {"metric": "Labels", "histogram": _HISTOGRAM_POINT},
    "FloatSeries": {"metric": "Labels", "values": [_POINT]},
    "HistogramSeries": {"metric": "Labels", "histograms": [_HISTOGRAM_POINT]},
    "QueryStats": {
        "timings?": {
            "evalTotalTime?": "number",
            "resultSortTime?": "number",
            "queryPreparationTime?": "number",
            "innerEvalTime?": "number",
            "execQueueTime?": "number",
            "execTotalTime?": "number",
        },
        "samples?": {
            "totalQueryableSamples?": "integer",
            "totalQueryableSamplesPerStep?": [_PER_STEP],
            "samplesRead?": "integer",
            "samplesReadPerStep?": [_PER_STEP],
            "peakSamples?": "integer",
        },
    },
    "QueryData": (
        {"resultType": "=vector", "result": [("FloatSample", "HistogramSample")], "stats?": "QueryStats"},
        {"resultType": "=matrix", "result": [("FloatSeries", "HistogramSeries")], "stats?": "QueryStats"},
        {"resultType": "=scalar", "result": _POINT, "stats?": "QueryStats"},
        {"resultType": "=string", "result": _POINT, "stats?": "QueryStats"},
    ),
    "Query": {
        "id": "integer",
        "query": "text",
        "params": {"query": "text", "start": "date", "end": "date", "step": "number"},
        "startedAt": "date",
        "runningSeconds": "number",
        "samplesRead": "integer",
        "samplesHeld": "integer",
        "bytesHeld": "integer",
        "bytesPeak": "integer",
    },
    "Exemplars": {
        "seriesLabels": "Labels",
        "exemplars": [{"labels": "Labels", "value": "text", "timestamp": "number"}],
    },
    "Metadata": {"type": "text", "unit": "text", "help": "text"},
    "MetricMetadata": {"target": "Labels", "metric?": "text", "type": "text", "help": "text", "unit": "text"},
    "Target": {
        "discoveredLabels": "Labels",
        "labels": "Labels",
        "scrapePool": "text",
        "scrapeUrl": "text",
        "globalUrl": "text",
        "lastError": "text",
        "lastScrape": "date",
        "lastScrapeDuration": "number",
        "health": "text",
        "scrapeInterval": "text",
        "scrapeTimeout": "text",
    },
    "DroppedTarget": {"discoveredLabels": "Labels", "scrapePool": "text"},
    "TargetDiscovery": {
        "activeTargets": ["Target"],
        "droppedTargets": ["DroppedTarget"],
        "droppedTargetCounts": ({"*": "integer"}, "null"),
    },
    "ScrapePoolsDiscovery": {"scrapePools": ["text"]},
    "RelabelStep": {"rule": "any", "output": "Labels", "keep": "boolean"},
    "RelabelStepsResponse": {"steps": ["RelabelStep"]},
    "Alert": {
        "labels": "Labels",
        "annotations": "Labels",
        "state": "text",
        "activeAt?": "date",
        "keepFiringSince?": "date",
        "value": "text",
    },
    "AlertingRule": {
        **_RULE,
        "type": "=alerting",
        "state": "text",
        "duration": "number",
        "keepFiringFor": "number",
        "annotations": "Labels",
        "alerts": (["Alert"], "null"),
    },
    "RecordingRule": {**_RULE, "type": "=recording"},
    "RuleGroup": {
        "name": "text",
        "file": "text",
        "rules": [("AlertingRule", "RecordingRule")],
        "interval": "number",
        "limit": "integer",
        "evaluationTime": "number",
        "lastEvaluation": "date",
    },
    "RuleDiscovery": {"groups": ["RuleGroup"], "groupNextToken?": "text"},
    "AlertDiscovery": {"alerts": ["Alert"]},
    "AlertmanagerTarget": {"url": "text"},
    "AlertmanagerDiscovery": {
        "activeAlertmanagers": ["AlertmanagerTarget"],
        "droppedAlertmanagers": ["AlertmanagerTarget"],
    },
    "RuntimeInfo": {
        "startTime": "date",
        "CWD": "text",
        "hostname": "text",
        "serverTime": "date",
        "reloadConfigSuccess": "boolean",
        "lastConfigTime": "date",
        "corruptionCount": "integer",
        "goroutineCount": "integer",
        "GOMAXPROCS": "integer",
        "GOMEMLIMIT": "integer",
        "GOGC": "text",
        "GODEBUG": "text",
        "storageRetention": "text",
    },
    "PrometheusVersion": dict.fromkeys(
        ("version", "revision", "branch", "buildUser", "buildDate", "goVersion"), "text"
    ),
    "HeadStats": dict.fromkeys(("numSeries", "numLabelPairs", "chunkCount", "minTime", "maxTime"), "integer"),
    "TSDBStat": {"name": "text", "value": "integer"},
    "TSDBStatus": {
        "headStats": "HeadStats",
        "seriesCountByMetricName": ["TSDBStat"],
        "labelValueCountByLabelName": ["TSDBStat"],
        "memoryInBytesByLabelName": ["TSDBStat"],
        "seriesCountByLabelValuePair": ["TSDBStat"],
    },
    "BlockMeta": {
        "ulid": "text",
        "minTime": "integer",
        "maxTime": "integer",
        "stats?": {"*": "integer"},
        "compaction": {"level": "integer", "*": "any"},
        "version": "integer",
    },
    "Notification": {"text": "text", "date": "date", "active": "boolean"},
}

_TEXTS: Final = ["text"]
_YAML: Final = {"yaml": "text"}
#: ``data`` of each answer.
_ANSWERS: Final[dict[str, Shape]] = {
    "QueryOutputBody": "QueryData",
    "QueryRangeOutputBody": "QueryData",
    "QueryExemplarsOutputBody": ["Exemplars"],
    "FormatQueryOutputBody": "text",
    "ParseQueryOutputBody": "any",
    "QueriesOutputBody": ["Query"],
    "CancelQueryOutputBody": {"id": "integer"},
    "LabelsOutputBody": _TEXTS,
    "LabelValuesOutputBody": _TEXTS,
    "SeriesOutputBody": ["Labels"],
    "MetadataOutputBody": {"*": ["Metadata"]},
    "ScrapePoolsOutputBody": "ScrapePoolsDiscovery",
    "ScrapePoolConfigOutputBody": _YAML,
    "TargetsOutputBody": "TargetDiscovery",
    "TargetMetadataOutputBody": ["MetricMetadata"],
    "TargetRelabelStepsOutputBody": "RelabelStepsResponse",
    "RulesOutputBody": "RuleDiscovery",
    "AlertsOutputBody": "AlertDiscovery",
    "AlertmanagersOutputBody": "AlertmanagerDiscovery",
    "StatusConfigOutputBody": _YAML,
    "StatusRuntimeInfoOutputBody": "RuntimeInfo",
    "StatusBuildInfoOutputBody": "PrometheusVersion",
    "StatusFlagsOutputBody": "Labels",
    "StatusTSDBOutputBody": "TSDBStatus",
    "StatusTSDBBlocksOutputBody": {"blocks": ["BlockMeta"]},
    "StatusWALReplayOutputBody": {"min": "integer", "max": "integer", "current": "integer"},
    "StatusSelfMetricsOutputBody": [{"name": "text", "help": "text", "type": "text", "metric": ["any"]}],
    "SnapshotOutputBody": {"name": "text"},
    "NotificationsOutputBody": ["Notification"],
    "FeaturesOutputBody": {"*": {"*": "boolean"}},
}


def schemas() -> dict[str, dict[str, Any]]:
    """All of them, by name."""
    error = {"status": "=error", "errorType": "text", "error": "text", "data?": "any"}
    answers = {
        name: {"status": "=success", "data": data, "warnings?": _TEXTS, "infos?": _TEXTS}
        for name, data in _ANSWERS.items()
    }
    return {name: schema(shape) for name, shape in {"Error": error, **SHAPES, **answers}.items()}


def schema(shape: Shape) -> dict[str, Any]:
    """The JSON schema of a shape."""
    if isinstance(shape, str):
        if shape.startswith("="):
            return {"type": "string", "enum": [shape[1:]]}
        if shape == "null":
            return {"type": "null"}
        kind = _KINDS.get(shape)
        return {"$ref": f"#/components/schemas/{shape}"} if kind is None else dict(kind)
    if isinstance(shape, list):
        return {"type": "array", "items": schema(shape[0])}
    if isinstance(shape, tuple):
        return {"anyOf": [schema(entry) for entry in shape]}
    if isinstance(shape, Pair):
        items = {"anyOf": [schema("number"), schema(shape.value)]}
        return {"type": "array", "items": items, "minItems": 2, "maxItems": 2}
    fields = {name: entry for name, entry in shape.items() if name != "*"}
    made: dict[str, Any] = {"type": "object"}
    if fields:
        made["properties"] = {name.rstrip("?"): schema(entry) for name, entry in fields.items()}
        made["required"] = [name for name in fields if not name.endswith("?")]
    made["additionalProperties"] = schema(shape["*"]) if "*" in shape else False
    return made
