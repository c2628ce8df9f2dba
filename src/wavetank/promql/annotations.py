"""Every warning and info a query can carry: upstream's texts, each with the place in the query.

Mirrors ``util/annotations`` of prometheus/prometheus. One function per annotation makes it; ``Annotations``
collects them, one per text, and renders them with `` (line:column)`` at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from wavetank.model.quoting import format_float_g, quote
from wavetank.promql.ast import Expr
from wavetank.promql.parser import position

__all__ = ["Annotation", "Annotations", "ForcedMonotonicity", "Operation"]

Operation: TypeAlias = Literal["addition", "subtraction", "aggregation"]


@dataclass(frozen=True, slots=True)
class ForcedMonotonicity:
    """Where histogram_quantile() mended counts that fall: times in ms, bounds, largest fall, how often."""

    ts_min: int
    ts_max: int
    bucket_min: float
    bucket_max: float
    diff_max: float
    count: int

    def merge(self, other: ForcedMonotonicity) -> ForcedMonotonicity:
        return ForcedMonotonicity(
            min(self.ts_min, other.ts_min),
            max(self.ts_max, other.ts_max),
            min(self.bucket_min, other.bucket_min),
            max(self.bucket_max, other.bucket_max),
            max(self.diff_max, other.diff_max),
            self.count + other.count,
        )

    def __str__(self) -> str:
        g = format_float_g
        diff = f"{self.diff_max:.2g}"
        return (
            f", from buckets {g(self.bucket_min)} to {g(self.bucket_max)}, with a max diff of {diff}, "
            f"over {self.count} samples from {_rfc3339(self.ts_min)} to {_rfc3339(self.ts_max)}"
        )


def _rfc3339(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Annotation:
    """``start`` is the place in the query; ``detail`` and ``count`` grow when equal ones meet."""

    level: Literal["warning", "info"]
    text: str
    start: int
    detail: ForcedMonotonicity | None = None
    count: int = 0

    @property
    def key(self) -> str:
        return f"PromQL {self.level}: {self.text}"

    def render(self, query: str) -> str:
        times = f" ({self.count} occurrences)" if self.count > 1 else ""
        detail = "" if self.detail is None else str(self.detail)
        return f"{self.key}{detail}{times} ({position(query, self.start)})"


class Annotations:
    """The annotations of one query. Truthy if there are any."""

    def __init__(self) -> None:
        self._by_key: dict[str, Annotation] = {}
        self.storage_warnings: list[str] = []

    def add(self, annotation: Annotation) -> None:
        earlier = self._by_key.get(annotation.key)
        if earlier is not None and (earlier.count or earlier.detail is not None):
            if earlier.detail is not None and annotation.detail is not None:
                annotation = replace(annotation, detail=earlier.detail.merge(annotation.detail))
            annotation = replace(annotation, count=earlier.count + annotation.count)
        self._by_key[annotation.key] = annotation

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def warnings(self, query: str) -> list[str]:
        own = [a.render(query) for a in self._by_key.values() if a.level == "warning"]
        return own + self.storage_warnings

    def infos(self, query: str) -> list[str]:
        return [a.render(query) for a in self._by_key.values() if a.level == "info"]


def _warning(text: str, at: Expr) -> Annotation:
    return Annotation("warning", text, at.start)


def _info(text: str, at: Expr) -> Annotation:
    return Annotation("info", text, at.start)


def _named(text: str, name: str) -> str:
    return f"{text} for metric name {quote(name)}" if name else text


# --- warnings


def invalid_quantile(value: float, at: Expr) -> Annotation:
    return _warning(f"quantile value should be between 0 and 1, got {format_float_g(value)}", at)


def invalid_ratio(value: float, capped_to: float, at: Expr) -> Annotation:
    got, capped = format_float_g(value), format_float_g(capped_to)
    return _warning(f"ratio value should be between -1 and 1, got {got}, capping to {capped}", at)


def bad_bucket_label(name: str, label: str, at: Expr) -> Annotation:
    return _warning(
        _named(f'bucket label "le" is missing or has a malformed value of {quote(label)}', name), at
    )


def mixed_floats_histograms(name: str, at: Expr) -> Annotation:
    return _warning(f"encountered a mix of histograms and floats for metric name {quote(name)}", at)


def mixed_floats_histograms_aggregation(at: Expr) -> Annotation:
    return _warning("encountered a mix of histograms and floats for aggregation", at)


def mixed_classic_native(name: str, at: Expr) -> Annotation:
    return _warning(_named("vector contains a mix of classic and native histograms", name), at)


def histogram_not_counter(name: str, at: Expr) -> Annotation:
    return _warning(f"this native histogram metric is not a counter: {quote(name)}", at)


def histogram_not_gauge(name: str, at: Expr) -> Annotation:
    return _warning(f"this native histogram metric is not a gauge: {quote(name)}", at)


def mixed_exponential_custom(name: str, at: Expr) -> Annotation:
    return _warning(
        "vector contains a mix of histograms with exponential and custom buckets schemas for metric name "
        f"{quote(name)}",
        at,
    )


def incompatible_bucket_layout(op: str, at: Expr) -> Annotation:
    return _warning(f"incompatible bucket layout encountered for binary operator {op}", at)


def sort_in_range_query(at: Expr) -> Annotation:
    return _warning("sort is ineffective for range queries since results are always ordered by labels", at)


def counter_reset_collision(operation: Operation, at: Expr) -> Annotation:
    return _warning(f"conflicting counter resets during histogram {operation}", at)


def start_time_overlap(name: str, at: Expr) -> Annotation:
    text = f"sample has start time that overlaps with previous sample timestamp for metric {quote(name)}"
    return Annotation("warning", text, at.start, count=1)


# --- infos


def possible_non_counter(name: str, at: Expr) -> Annotation:
    return _info(
        "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: " + quote(name), at
    )


def possible_non_counter_label(name: str, type_label: str, at: Expr) -> Annotation:
    return _info(
        'metric might not be a counter, __type__ label is not set to "counter" or "histogram", got '
        f"{quote(type_label)}: {quote(name)}",
        at,
    )


def forced_monotonicity(name: str, detail: ForcedMonotonicity, at: Expr) -> Annotation:
    text = (
        "input to histogram_quantile needed to be fixed for monotonicity (see "
        "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
    )
    return Annotation("info", _named(text, name), at.start, detail)


def incompatible_types(left: str, op: str, right: str, at: Expr) -> Annotation:
    return _info(
        f"incompatible sample types encountered for binary operator {quote(op)}: {left} {op} {right}", at
    )


def histogram_ignored_in_aggregation(aggregation: str, at: Expr) -> Annotation:
    return _info(f"ignored histogram in {aggregation} aggregation", at)


def histogram_ignored_in_mixed_range(name: str, at: Expr) -> Annotation:
    return _info(
        f"ignored histograms in a range containing both floats and histograms for metric name {quote(name)}",
        at,
    )


def quantile_nan_result(name: str, at: Expr) -> Annotation:
    return _info(_named("input to histogram_quantile has NaN observations, result is NaN", name), at)


def quantile_nan_skew(name: str, at: Expr) -> Annotation:
    return _info(
        _named("input to histogram_quantile has NaN observations, result is skewed higher", name), at
    )


def fraction_nans(name: str, at: Expr) -> Annotation:
    text = "input to histogram_fraction has NaN observations, which are excluded from all fractions"
    return _info(_named(text, name), at)


def mismatched_custom_buckets(operation: Operation, at: Expr) -> Annotation:
    return _info(f"mismatched custom buckets were reconciled during {operation}", at)
