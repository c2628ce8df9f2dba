"""From an OTLP request to series.

Mirrors prometheusremotewrite of storage/remote/otlptranslator: labels from resource, scope and data point,
histograms as classic, native or custom-bucket ones, ``target_info`` for what a resource says beyond its
identity. Data points that cannot be taken are counted with the reason; the others are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wavetank.exposition.numbers import format_openmetrics_float
from wavetank.limits import OTLP_TARGET_INFOS_MAX, REMOTE_HISTOGRAM_BUCKETS_MAX
from wavetank.model.histogram import (
    CUSTOM_BUCKETS_SCHEMA,
    STALE_HISTOGRAM,
    CounterResetHint,
    FloatHistogram,
    spans_of,
)
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.model.quoting import format_float_g
from wavetank.model.value import STALE_NAN
from wavetank.monitoring.config.model import OTLP
from wavetank.monitoring.otlp.names import Namer
from wavetank.monitoring.otlp.totals import Totals
from wavetank.monitoring.remote.codec import Incoming, IncomingExemplar, MetadataEntry

__all__ = ["Converted", "convert"]

_IDENTIFYING: Final = ("service.namespace", "service.name", "service.instance.id")
_NO_RECORDED_VALUE: Final = 1
_DELTA: Final = 1
_CUMULATIVE: Final = 2
_SCALE_MIN, _SCALE_MAX = -4, 8
_DEFAULT_ZERO_THRESHOLD: Final = 1e-128


@dataclass(slots=True)
class Converted:
    """Series by labels, and how many data points were refused and why."""

    series: dict[Labels, Incoming] = field(default_factory=dict)
    refused: int = 0
    reasons: dict[str, None] = field(default_factory=dict)

    def refuse(self, points: int, reason: str) -> None:
        self.refused += points
        self.reasons[reason] = None

    def at(self, labels: Labels, metadata: MetadataEntry | None) -> Incoming:
        found = self.series.get(labels)
        if found is None:
            found = self.series[labels] = Incoming(labels, metadata=metadata)
        return found


def convert(
    request: Any,
    settings: OTLP,
    *,
    totals: Totals | None = None,
    keep_deltas: bool = False,
    lookback_ms: int = 300_000,
) -> Converted:
    """All data points of an ExportMetricsServiceRequest.

    Deltas are added up by ``totals``, or stored as they are if ``keep_deltas``, or refused.
    """
    out = Converted()
    deltas = _Deltas(totals, keep_deltas)
    namer = Namer(
        settings.translation_strategy or "UnderscoreEscapingWithSuffixes",
        settings.label_name_underscore_sanitization,
        settings.label_name_preserve_multiple_underscores,
    )
    for entry in request.resource_metrics:
        resource = _Resource.of(entry.resource.attributes, settings, namer)
        times: list[int] = []
        for scope in entry.scope_metrics:
            common = resource.common | _scope_labels(scope, settings, namer)
            deltas.begin(entry.resource, scope)
            for metric in scope.metrics:
                times += _Metric(metric, common, namer, settings, out, deltas).convert()
        if times and resource.info is not None:
            known = MetadataEntry("gauge", "Target metadata", "")
            info = out.at(resource.info, known)
            seen = {at_ms for at_ms, _ in info.samples}
            wanted = _info_times(min(times), max(times), max(1, lookback_ms // 2))
            info.samples += [(at_ms, 1.0) for at_ms in wanted if at_ms not in seen]
    return out


def _info_times(earliest_ms: int, latest_ms: int, every_ms: int) -> list[int]:
    """When ``target_info`` is written, so that it is found at any time between."""
    begin = max(earliest_ms, latest_ms - every_ms * (OTLP_TARGET_INFOS_MAX - 1))
    return [*range(begin, latest_ms, every_ms), latest_ms]


class _Deltas:
    """What becomes of deltas."""

    def __init__(self, totals: Totals | None, keep: bool) -> None:
        self.totals = totals
        self.keep = keep
        self._owner: tuple[bytes, ...] = ()

    def begin(self, resource: Any, scope: Any) -> None:
        """The streams that follow are of this resource and scope."""
        if self.totals is not None:
            self._owner = (*_attributes(resource.attributes), b"", scope.scope.name.encode(), b"")
            self._owner += (scope.scope.version.encode(), *_attributes(scope.scope.attributes))

    def total(self, metric: Any, kind: str, data: Any, point: Any) -> Any:
        """A delta's stream until now. Raises ValueError."""
        assert self.totals is not None
        monotonic = kind == "sum" and data.is_monotonic
        key = (self._owner, metric.name, metric.unit, kind, monotonic, _attributes(point.attributes))
        return self.totals.add(key, kind, point)


def _attributes(attributes: Iterable[Any]) -> tuple[bytes, ...]:
    return tuple(sorted(attribute.SerializeToString(deterministic=True) for attribute in attributes))


def _text(value: Any) -> str:
    """An attribute's value as a label's."""
    match value.WhichOneof("value"):
        case "string_value":
            return str(value.string_value)
        case "bool_value":
            return str(value.bool_value).lower()
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return format_float_g(value.double_value)
        case None:
            return ""
        case _:
            return json.dumps(_plain(value), separators=(",", ":"))


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(entry) for entry in value.array_value.values]
    if kind == "kvlist_value":
        return {entry.key: _plain(entry.value) for entry in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return None if kind is None else getattr(value, kind)


def _named(attributes: Iterable[Any], namer: Namer, prefix: str = "") -> dict[str, str]:
    """Attributes as labels; values of names that become the same are joined, in the order of the names."""
    found: dict[str, str] = {}
    for attribute in sorted(attributes, key=lambda a: a.key):
        name = namer.label(prefix + attribute.key)
        text = _text(attribute.value)
        if name:
            found[name] = f"{found[name]};{text}" if name in found else text
    return found


@dataclass(frozen=True, slots=True)
class _Resource:
    """The labels every series of a resource has, and those of its ``target_info``."""

    common: dict[str, str]
    info: Labels | None

    @classmethod
    def of(cls, attributes: Sequence[Any], settings: OTLP, namer: Namer) -> _Resource:
        values = {attribute.key: attribute.value for attribute in attributes}
        identity: dict[str, str] = {}
        if "service.name" in values:
            name = _text(values["service.name"])
            space = _text(values["service.namespace"]) if "service.namespace" in values else ""
            identity["job"] = f"{space}/{name}" if space else name
        if "service.instance.id" in values:
            identity["instance"] = _text(values["service.instance.id"])
        if settings.promote_all_resource_attributes:
            promoted = [a for a in attributes if a.key not in settings.ignore_resource_attributes]
        else:
            promoted = [a for a in attributes if a.key in settings.promote_resource_attributes]
        rest = [
            a
            for a in attributes
            if settings.keep_identifying_resource_attributes or a.key not in _IDENTIFYING
        ]
        info = None
        if rest and identity:
            info = _labels({**_named(rest, namer), **identity, METRIC_NAME: "target_info"})
        return cls(_named(promoted, namer) | identity, info)


def _scope_labels(scope: Any, settings: OTLP, namer: Namer) -> dict[str, str]:
    if not settings.promote_scope_metadata:
        return {}
    return {
        **_named(scope.scope.attributes, namer, "otel_scope_"),
        "otel_scope_name": scope.scope.name,
        "otel_scope_version": scope.scope.version,
        "otel_scope_schema_url": scope.schema_url,
    }


def _labels(named: Mapping[str, str]) -> Labels:
    return Labels.of([(name, value) for name, value in named.items() if value])


class _Metric:
    """One metric of a request."""

    def __init__(
        self,
        metric: Any,
        common: Mapping[str, str],
        namer: Namer,
        settings: OTLP,
        out: Converted,
        deltas: _Deltas,
    ) -> None:
        self._metric = metric
        self._common = common
        self._namer = namer
        self._settings = settings
        self._out = out
        self._deltas = deltas
        self._is_delta = False

    def convert(self) -> list[int]:
        """Add its data points; their times in ms."""
        metric = self._metric
        kind = metric.WhichOneof("data")
        if kind is None:
            return []
        data = getattr(metric, kind)
        if kind in ("sum", "histogram", "exponential_histogram"):
            temporality = data.aggregation_temporality
            self._is_delta = temporality == _DELTA
            known = self._is_delta and (self._deltas.keep or self._deltas.totals is not None)
            if temporality != _CUMULATIVE and not known:
                reason = f'invalid temporality and type combination for metric "{metric.name}"'
                self._out.refuse(len(data.data_points), reason)
                return []
        times = []
        for point in data.data_points:
            times.append(_ms(point))
            try:
                if self._is_delta and self._deltas.totals is not None:
                    point = self._deltas.total(metric, kind, data, point)
                getattr(self, f"_{kind}")(point, data)
            except ValueError as error:
                self._out.refuse(1, f'metric "{metric.name}": {error}')
        return times

    def _name(self, **kind: bool) -> str:
        return self._namer.metric(self._metric.name, self._metric.unit, **kind)

    def _series(self, point: Any, name: str, kind: str, **extra: str) -> Incoming:
        labels = _labels(
            {**_named(point.attributes, self._namer), **self._common, **extra, METRIC_NAME: name}
        )
        metric = self._metric
        raw = self._is_delta and self._deltas.keep
        if raw:
            kind = "unknown"  # there is no word for deltas yet
        series = self._out.at(labels, MetadataEntry(kind, metric.description, metric.unit))
        if point.start_time_unix_nano and not raw:
            series.starts[_ms(point)] = int(point.start_time_unix_nano // 1_000_000)
        return series

    def _kept(self, histogram: FloatHistogram) -> FloatHistogram:
        """Deltas that stay deltas are gauges to the storage: nothing in them is a counter reset."""
        if self._is_delta and self._deltas.keep and not histogram.is_stale:
            return histogram.with_hint(CounterResetHint.GAUGE)
        return histogram

    def _gauge(self, point: Any, data: Any) -> None:
        self._number(point, self._series(point, self._name(gauge=True), "gauge"))

    def _sum(self, point: Any, data: Any) -> None:
        monotonic = data.is_monotonic
        series = self._series(point, self._name(counter=monotonic), "counter" if monotonic else "gauge")
        self._number(point, series)
        if monotonic:
            series.exemplars += [_exemplar(e) for e in point.exemplars]

    def _number(self, point: Any, series: Incoming) -> None:
        value = float(point.as_int) if point.WhichOneof("value") == "as_int" else point.as_double
        series.samples.append((_ms(point), STALE_NAN if _is_gone(point) else value))

    def _add(self, point: Any, name: str, kind: str, value: float, **extra: str) -> Incoming:
        series = self._series(point, name, kind, **extra)
        series.samples.append((_ms(point), STALE_NAN if _is_gone(point) else value))
        return series

    def _summary(self, point: Any, data: Any) -> None:
        name = self._name()
        for entry in point.quantile_values:
            quantile = format_openmetrics_float(entry.quantile)
            self._add(point, name, "summary", entry.value, quantile=quantile)
        self._add(point, name + "_sum", "summary", point.sum)
        self._add(point, name + "_count", "summary", float(point.count))

    def _histogram(self, point: Any, data: Any) -> None:
        counts, bounds = list(point.bucket_counts), list(point.explicit_bounds)
        if counts and len(counts) != len(bounds) + 1:
            raise ValueError(f"{len(counts)} bucket counts for {len(bounds)} bounds")
        if bounds != sorted(set(bounds)):
            raise ValueError("bounds do not rise")
        name = self._name()
        if self._settings.convert_histograms_to_nhcb:
            series = self._series(point, name, "histogram")
            series.histograms.append((_ms(point), self._kept(_custom(point, counts, bounds))))
            series.exemplars += [_exemplar(e) for e in point.exemplars]
            return
        if point.HasField("sum"):
            self._add(point, name + "_sum", "histogram", point.sum)
        self._add(point, name + "_count", "histogram", float(point.count))
        exemplars = sorted((_exemplar(e) for e in point.exemplars), key=lambda e: e.value)
        total = 0
        for bound, count in zip(bounds, counts, strict=False):
            total += count
            le = format_openmetrics_float(bound)
            bucket = self._add(point, name + "_bucket", "histogram", float(total), le=le)
            while exemplars and exemplars[0].value <= bound:
                bucket.exemplars.append(exemplars.pop(0))
        last = self._add(point, name + "_bucket", "histogram", float(point.count), le="+Inf")
        last.exemplars += exemplars

    def _exponential_histogram(self, point: Any, data: Any) -> None:
        series = self._series(point, self._name(), "histogram")
        series.histograms.append((_ms(point), self._kept(_native(point))))
        series.exemplars += [_exemplar(e) for e in point.exemplars]


def _ms(point: Any) -> int:
    return int(point.time_unix_nano // 1_000_000)


def _is_gone(point: Any) -> bool:
    return bool(point.flags & _NO_RECORDED_VALUE)


def _exemplar(exemplar: Any) -> IncomingExemplar:
    named = {a.key.replace(".", "_"): _text(a.value) for a in exemplar.filtered_attributes}
    if exemplar.trace_id:
        named["trace_id"] = exemplar.trace_id.hex()
    if exemplar.span_id:
        named["span_id"] = exemplar.span_id.hex()
    integer = exemplar.WhichOneof("value") == "as_int"
    value = float(exemplar.as_int) if integer else exemplar.as_double
    return IncomingExemplar(_labels(named), value, int(exemplar.time_unix_nano // 1_000_000))


def _custom(point: Any, counts: Sequence[int], bounds: Sequence[float]) -> FloatHistogram:
    """An explicit histogram as a native one with custom buckets."""
    if _is_gone(point):
        return STALE_HISTOGRAM
    filled = [i for i, count in enumerate(counts) if count]
    return FloatHistogram(
        CUSTOM_BUCKETS_SCHEMA,
        float(point.count),
        point.sum,
        0.0,
        0.0,
        spans_of(filled),
        tuple(float(counts[i]) for i in filled),
        (),
        (),
        tuple(bounds),
        CounterResetHint.UNKNOWN,
    )


def _native(point: Any) -> FloatHistogram:
    """An exponential histogram; scales finer than Prometheus' finest are merged down."""
    if point.scale < _SCALE_MIN:
        raise ValueError(
            f"cannot convert exponential to native histogram. Scale must be >= -4, was {point.scale}"
        )
    if _is_gone(point):
        return STALE_HISTOGRAM
    down = max(0, point.scale - _SCALE_MAX)
    positive_spans, positive = _buckets(point.positive, down)
    negative_spans, negative = _buckets(point.negative, down)
    return FloatHistogram(
        point.scale - down,
        float(point.count),
        point.sum,
        point.zero_threshold or _DEFAULT_ZERO_THRESHOLD,
        float(point.zero_count),
        positive_spans,
        positive,
        negative_spans,
        negative,
        (),
        CounterResetHint.UNKNOWN,
    )


def _buckets(buckets: Any, down: int) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """Spans and counts. OTLP's bucket i begins at base^i, Prometheus' ends there: hence the one more."""
    if len(buckets.bucket_counts) > REMOTE_HISTOGRAM_BUCKETS_MAX:
        raise ValueError(f"{len(buckets.bucket_counts)} buckets")
    merged: dict[int, int] = {}
    for i, count in enumerate(buckets.bucket_counts):
        if count:
            index = ((buckets.offset + i) >> down) + 1
            merged[index] = merged.get(index, 0) + count
    indexes = sorted(merged)
    return spans_of(indexes), tuple(float(merged[index]) for index in indexes)
