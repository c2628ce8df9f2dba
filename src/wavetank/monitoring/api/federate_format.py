"""The formats of federation: which one a client wants, and samples written in it.

Mirrors Negotiate and EscapeName of prometheus/common (expfmt, model) and makeNativeHistogram and
makeClassicHistogram of web/federate.go. The two readable forms of protobuf are not offered.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from wavetank.exposition.render import MetricFamily, Sample, render_text
from wavetank.model.histogram import CounterResetHint, FloatHistogram, Span
from wavetank.model.quoting import format_float_g

__all__ = ["Family", "Format", "Labelled", "escape_name", "negotiate", "render"]

_LEGACY: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_PROTOBUF: Final = "application/vnd.google.protobuf"
_FAMILY: Final = "io.prometheus.client.MetricFamily"
_SCHEMES: Final = ("allow-utf-8", "underscores", "dots", "values")
_UNTYPED, _HISTOGRAM, _GAUGE_HISTOGRAM = 3, 4, 5


@dataclass(frozen=True, slots=True)
class Format:
    """``escaping`` is what becomes of names beyond letters, digits, ``_`` and ``:``."""

    protobuf: bool = False
    escaping: str = "underscores"
    version: str = "0.0.4"

    @property
    def content_type(self) -> str:
        if self.protobuf:
            return f"{_PROTOBUF}; proto={_FAMILY}; encoding=delimited; escaping={self.escaping}"
        return f"text/plain; version={self.version}; charset=utf-8; escaping={self.escaping}"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A sample: its labels without the name, in their order, its time and its value."""

    labels: Sequence[tuple[str, str]]
    timestamp_ms: int
    value: float | FloatHistogram


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name and kind."""

    name: str
    samples: Sequence[Labelled]

    @property
    def kind(self) -> int:
        first = self.samples[0].value
        if not isinstance(first, FloatHistogram):
            return _UNTYPED
        return _GAUGE_HISTOGRAM if first.counter_reset_hint is CounterResetHint.GAUGE else _HISTOGRAM


def negotiate(accept: str) -> Format:
    """The first format of an ``Accept`` header that is ours, by its weights; text otherwise."""
    clauses = []
    for i, clause in enumerate(accept.split(",")):
        kind, *rest = (part.strip() for part in clause.split(";"))
        given = {name.strip().lower(): value.strip() for name, _, value in (p.partition("=") for p in rest)}
        clauses.append((-_weight(given.get("q", "1")), i, kind.lower(), given))
    for weight, _, kind, given in sorted(clauses, key=lambda clause: clause[:2]):
        escaping = given.get("escaping", "underscores")
        escaping = escaping if escaping in _SCHEMES else "underscores"
        if not weight:
            continue
        if kind == _PROTOBUF and given.get("proto") == _FAMILY and given.get("encoding") == "delimited":
            return Format(True, escaping)
        if kind == "text/plain" and given.get("version", "") in ("", "0.0.4", "1.0.0"):
            return Format(False, escaping, given.get("version") or "0.0.4")
    return Format()


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def escape_name(name: str, scheme: str) -> str:
    """A name as clients of this scheme can read it."""
    if scheme == "allow-utf-8" or (scheme != "dots" and _LEGACY.fullmatch(name)):
        return name
    if scheme == "underscores":
        return "".join(c if _fits(c, i) else "_" for i, c in enumerate(name))
    if scheme == "dots":
        words = {"_": "__", ".": "_dot_"}
        return "".join(words.get(c) or (c if _fits(c, i) else "__") for i, c in enumerate(name))
    letters = ("__" if c == "_" else c if _fits(c, i) else f"_{ord(c):x}_" for i, c in enumerate(name))
    return "U__" + "".join(letters)


def _fits(char: str, place: int) -> bool:
    return _LEGACY.fullmatch(char if place == 0 else "_" + char) is not None


def render(families: Iterable[Family], form: Format) -> bytes:
    """The body. Native histograms are in protobuf alone; those of custom buckets are classic everywhere."""
    if form.protobuf:
        return b"".join(_delimited(_family(family, form.escaping)) for family in families)
    return render_text(_text_family(family, form.escaping) for family in families)


# --- text


def _text_family(family: Family, escaping: str) -> MetricFamily:
    name = escape_name(family.name, escaping)
    samples: list[Sample] = []
    for sample in family.samples:
        labels = {escape_name(label, escaping): value for label, value in sample.labels}
        if isinstance(sample.value, FloatHistogram):
            samples += _classic_lines(name, labels, sample.timestamp_ms, sample.value)
        else:
            samples.append(Sample(name, labels, sample.value, sample.timestamp_ms))
    return MetricFamily(name, "unknown" if family.kind == _UNTYPED else "histogram", samples=samples)


def _classic_lines(
    name: str, labels: dict[str, str], timestamp_ms: int, histogram: FloatHistogram
) -> Iterable[Sample]:
    for upper, count in [*_cumulative(histogram), (float("inf"), histogram.count)]:
        own = {**labels, "le": format_float_g(upper)}
        yield Sample(f"{name}_bucket", own, count, timestamp_ms)
    yield Sample(f"{name}_sum", labels, histogram.sum, timestamp_ms)
    yield Sample(f"{name}_count", labels, histogram.count, timestamp_ms)


def _cumulative(histogram: FloatHistogram) -> list[tuple[float, float]]:
    """The finite upper bounds of custom buckets, and how many observations are below each."""
    counts = {bucket.index: bucket.count for bucket in histogram.positive()}
    total, found = 0.0, []
    for i, upper in enumerate(histogram.custom_values):
        total += counts.get(i, 0.0)
        found.append((upper, total))
    return found


# --- protobuf, the messages of client_model's metrics.proto


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & (1 << 64) - 1)


def _signed(field: int, value: int) -> bytes:
    return _integer(field, value << 1 if value >= 0 else (-value << 1) - 1)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _delimited(body)


def _delimited(body: bytes) -> bytes:
    return _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode("utf-8", "surrogateescape"))


def _family(family: Family, escaping: str) -> bytes:
    head = _text(1, escape_name(family.name, escaping)) + _integer(3, family.kind)
    return head + b"".join(_message(4, _metric(sample, escaping)) for sample in family.samples)


def _metric(sample: Labelled, escaping: str) -> bytes:
    pairs = (_text(1, escape_name(name, escaping)) + _text(2, value) for name, value in sample.labels)
    labels = b"".join(_message(1, pair) for pair in pairs)
    value = sample.value
    if not isinstance(value, FloatHistogram):
        shown = _message(5, _double(1, value))
    elif value.has_custom_buckets:
        shown = _message(7, _classic(value))
    else:
        shown = _message(7, _native(value))
    return labels + shown + _integer(6, sample.timestamp_ms)


def _classic(histogram: FloatHistogram) -> bytes:
    head = _double(4, histogram.count) + _double(2, histogram.sum)
    buckets = (_double(2, upper) + _double(4, count) for upper, count in _cumulative(histogram))
    return head + b"".join(_message(3, bucket) for bucket in buckets)


def _native(histogram: FloatHistogram) -> bytes:
    return b"".join(
        (
            _double(4, histogram.count),
            _double(2, histogram.sum),
            _signed(5, histogram.schema),
            _double(6, histogram.zero_threshold),
            _double(8, histogram.zero_count),
            *(_message(9, _span(span)) for span in histogram.negative_spans),
            _doubles(11, histogram.negative_buckets),
            *(_message(12, _span(span)) for span in histogram.positive_spans),
            _doubles(14, histogram.positive_buckets),
        )
    )


def _span(span: Span) -> bytes:
    offset, length = span
    return _signed(1, offset) + _integer(2, length)


def _doubles(field: int, values: Sequence[float]) -> bytes:
    """Each by itself: the fields are not packed."""
    return b"".join(_double(field, value) for value in values)
