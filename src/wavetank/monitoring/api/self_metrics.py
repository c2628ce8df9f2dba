"""``/status/self_metrics``: the server's own metrics as JSON, in the shape of protobuf's MetricFamily."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import re2
from starlette.requests import Request
from starlette.responses import Response

from wavetank.exposition.render import MetricFamily, Sample
from wavetank.monitoring.api.answer import answer, bad_data
from wavetank.monitoring.api.params import read_params
from wavetank.monitoring.api.services import Services

__all__ = ["self_metrics"]

_TYPES = {"counter": "COUNTER", "gauge": "GAUGE", "histogram": "HISTOGRAM", "summary": "SUMMARY"}


def self_metrics(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint; ``metric_name_pattern`` is anchored."""

    async def metrics(request: Request) -> Response:
        pattern = (await read_params(request)).text("metric_name_pattern")
        try:
            wanted = re2.compile(pattern) if pattern else None
        except re2.error as error:
            raise bad_data(f"invalid metric_name_pattern: {error}") from None
        return answer(
            [
                _family(family)
                for family in services.registry.gather()
                if wanted is None or wanted.fullmatch(family.name)
            ]
        )

    return metrics


def _family(family: MetricFamily) -> dict[str, Any]:
    kind = _TYPES.get(family.type, "UNTYPED")
    metrics = _histograms(family) if kind == "HISTOGRAM" else _plain(family.samples, kind.lower())
    return {"name": family.name, "help": family.help, "type": kind, "metric": metrics}


def _plain(samples: Iterable[Sample], field: str) -> list[dict[str, Any]]:
    return [{"label": _labels(sample.labels), field: {"value": _number(sample.value)}} for sample in samples]


def _histograms(family: MetricFamily) -> list[dict[str, Any]]:
    """One entry a label set, without ``le``."""
    found: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for sample in family.samples:
        own = {name: value for name, value in sample.labels.items() if name != "le"}
        entry = found.setdefault(tuple(sorted(own.items())), {"label": _labels(own), "histogram": {}})
        histogram = entry["histogram"]
        if sample.name.endswith("_sum"):
            histogram["sampleSum"] = _number(sample.value)
        elif sample.name.endswith("_count"):
            histogram["sampleCount"] = str(int(sample.value))
        elif "le" in sample.labels:
            bucket = {"cumulativeCount": str(int(sample.value)), "upperBound": sample.labels["le"]}
            histogram.setdefault("bucket", []).append(bucket)
    return list(found.values())


def _labels(labels: Any) -> list[dict[str, str]]:
    return [{"name": name, "value": str(value)} for name, value in labels.items()]


def _number(value: float) -> float | str:
    """ProtoJSON writes what JSON has no number for as text."""
    if value != value:
        return "NaN"
    return value if abs(value) != float("inf") else "Infinity" if value > 0 else "-Infinity"
