"""The two text formats, read whole. Mirrors ``promparse.go`` and ``openmetricsparse.go``.

Lines of the common shape are matched by one regular expression each; every other line, and every error, goes
through the lexer, so that what is accepted and what is said about the rest is upstream's. The OpenMetrics
reader is as lax as Prometheus' own: it does not check the order of families or the suffixes of samples.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable

import numpy as np

from wavetank.exposition.errors import ExpositionError, go_quote
from wavetank.exposition.lexer import OPENMETRICS, PROMETHEUS, Lexer
from wavetank.exposition.numbers import format_openmetrics_float, parse_float
from wavetank.exposition.samples import Metadata, ScrapedExemplar, ScrapedSamples
from wavetank.model.labels import METRIC_NAME, Labels

__all__ = ["parse_openmetrics", "parse_series", "parse_text", "series_labels"]

_LABEL = rb'[a-zA-Z_][a-zA-Z0-9_]*="(?:\\.|[^\\"\n])*"'
_COMMON = rb"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:" + _LABEL + rb"(?:," + _LABEL + rb")*,?)?\})?"
_SERIES = re.compile(_COMMON, re.DOTALL)
_LINE = re.compile(rb"(" + _COMMON + rb") ([^ \t\n\x00{]+)(?: ([0-9]{1,18}))?\n", re.DOTALL)
_OM_LINE = re.compile(
    rb"(" + _COMMON + rb") ([^ \t\n\x00{]+)(?: ([0-9]{1,13}(?:\.[0-9]{1,9})?))?\n", re.DOTALL
)
_PAIR = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\.|[^\\"])*)"', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\n])')
_HELP_ESCAPE = re.compile(r"\\([\\n])")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_TEXT_TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}
_OM_TYPES = {"counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"}
_WITH_CREATED = ("counter", "histogram", "summary")
_SHOWN_MAX = 200
_Pairs = list[tuple[bytes, bytes]]


def _unescape(text: str, pattern: re.Pattern[str] = _ESCAPE) -> str:
    return pattern.sub(lambda m: _UNESCAPED[m.group(1)], text) if "\\" in text else text


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _normalized(metric_type: str, name: str, value: str) -> str:
    """``le`` and ``quantile`` values in OpenMetrics form, so that 1 and 1.0 are one series."""
    if (name == "le" and metric_type == "histogram") or (name == "quantile" and metric_type == "summary"):
        try:
            return format_openmetrics_float(float(value))
        except ValueError:
            return value
    return value


def series_labels(name: bytes, pairs: _Pairs, metric_type: str) -> Labels:
    """The label set of a sample line, escapes undone; of a repeated name the last value counts."""
    merged = {METRIC_NAME: _unescape(_decode(name))}
    for raw_name, raw_value in pairs:
        label = _unescape(_decode(raw_name))
        value = _normalized(metric_type, label, _unescape(_decode(raw_value)))
        merged[label] = value
    return Labels.of(merged)


def parse_series(raw: bytes, metric_type: str, *, openmetrics: bool = False) -> Labels:
    """Labels of one series as a sample line begins with it. Raises ValueError if it is not one."""
    if _SERIES.fullmatch(raw) is not None and _is_utf8(raw):
        name, _, rest = raw.partition(b"{")
        return series_labels(name, _PAIR.findall(rest), metric_type)
    if openmetrics:
        raise ValueError(f"not a series in the common notation: {go_quote(raw)}")
    data = raw + b" 0\n"  # blanks between labels, which only the lexer knows how to skip
    reader = _Reader(data, Lexer(data, PROMETHEUS), 0)
    reader.type = metric_type
    try:
        _text_sample(reader, reader.lexer.next())
    except ExpositionError as error:
        raise ValueError(error.message) from None
    return reader.labels[0]


class _Reader:
    """State of one body: columns so far, the family's type, the lexer."""

    def __init__(self, data: bytes, lexer: Lexer, default_timestamp_ms: int) -> None:
        self.data = data
        self.lexer = lexer
        self.default_ms = default_timestamp_ms
        self.line_start = 0
        self.type = "unknown"
        self.labels: list[Labels] = []
        self.times = array("q")
        self.explicit = bytearray()
        self.values = array("d")
        self.types: list[str] = []
        self.metadata: dict[str, Metadata] = {}
        self.exemplars: list[ScrapedExemplar] = []
        self._known: dict[tuple[str, bytes], Labels] = {}

    # --- errors -------------------------------------------------------------------------------------

    def fail(self, message: str) -> ExpositionError:
        line = self.data.count(b"\n", 0, self.line_start) + 1
        end = self.data.find(b"\n", self.line_start)
        text = self.data[self.line_start : end if end >= 0 else len(self.data)]
        return ExpositionError(message, line=line, text=_decode(text[:_SHOWN_MAX]))

    def unexpected(self, wanted: str, got: str) -> ExpositionError:
        end = min(len(self.data), self.lexer.position + 1)
        token = go_quote(self.data[self.lexer.start : end])
        entry = go_quote(self.data[self.line_start : end])
        return self.fail(f'{wanted}, got {token} ("{got}") while parsing: {entry}')

    def so_far(self) -> str:
        return go_quote(self.data[self.line_start : self.lexer.position])

    # --- parts of a line ----------------------------------------------------------------------------

    def number(self, raw: bytes) -> float:
        try:
            return parse_float(raw)
        except ValueError as error:
            raise self.fail(f"{error} while parsing: {self.so_far()}") from None

    def label_pairs(
        self, name: bytes | None, *, exemplar: bool, strict_commas: bool
    ) -> tuple[bytes | None, _Pairs]:
        """What stands between the braces: the quoted metric name, if any, and the pairs."""
        lexer = self.lexer
        pairs: _Pairs = []
        token = lexer.next()
        while True:
            if token == "BCLOSE":
                return name, pairs
            if token not in ("LNAME", "QSTRING"):
                raise self.unexpected("expected label name", token)
            quoted = token == "QSTRING"
            word = lexer.text
            token = lexer.next()
            if quoted and token in ("COMMA", "BCLOSE"):
                if exemplar:
                    raise self.unexpected("expected label name", token)
                if name is not None:
                    raise self.fail(f"metric name already set while parsing: {self.so_far()}")
                name = word[1:-1]
                if token == "BCLOSE":
                    return name, pairs
                token = lexer.next()
                continue
            if token != "EQUAL":
                raise self.unexpected("expected equal", token)
            token = lexer.next()
            if token != "LVALUE":
                raise self.unexpected("expected label value", token)
            value = lexer.text
            try:
                value.decode()
            except UnicodeDecodeError:
                raise self.fail(f"invalid UTF-8 label value: {go_quote(value)}") from None
            pairs.append((word[1:-1] if quoted else word, value[1:-1]))
            token = lexer.next()
            if token == "COMMA":
                token = lexer.next()
            elif strict_commas and token != "BCLOSE":
                raise self.unexpected("expected comma or brace close", token)

    def series(self, token: str, *, strict_commas: bool) -> tuple[Labels, str]:
        """A series after its first token; returns it and the token that follows."""
        lexer = self.lexer
        name = lexer.text if token == "MNAME" else None
        pairs: _Pairs = []
        token = lexer.next() if token == "MNAME" else "BOPEN"
        if token == "BOPEN":
            name, pairs = self.label_pairs(name, exemplar=False, strict_commas=strict_commas)
            token = lexer.next()
        if name is None:
            raise self.fail(f"metric name not set while parsing: {self.so_far()}")
        return series_labels(name, pairs, self.type), token

    def known_series(self, raw: bytes) -> Labels:
        """Labels of a series in the common notation, remembered per type."""
        key = (self.type, raw)
        found = self._known.get(key)
        if found is None:
            name, _, rest = raw.partition(b"{")
            try:
                rest.decode()
            except UnicodeDecodeError:
                bad = next(v for _, v in _PAIR.findall(rest) if not _is_utf8(v))
                raise self.fail(f"invalid UTF-8 label value: {go_quote(b'%c%b%c' % (34, bad, 34))}") from None
            found = self._known[key] = series_labels(name, _PAIR.findall(rest), self.type)
        return found

    def add(self, labels: Labels, timestamp_ms: int | None, value: float) -> None:
        self.labels.append(labels)
        self.explicit.append(timestamp_ms is not None)
        self.times.append(self.default_ms if timestamp_ms is None else timestamp_ms)
        self.values.append(value)
        self.types.append(self.type)

    def family(self, token: str, types: set[str]) -> None:
        """A HELP, TYPE or UNIT line after its keyword."""
        lexer = self.lexer
        got = lexer.next()
        if got != "MNAME":
            raise self.unexpected(f"expected metric name after {token}", got)
        name = lexer.text
        if name[:1] == b'"' and name[-1:] == b'"':
            name = name[1:-1]
        got = lexer.next()
        if got != "TEXT":
            raise self.fail(f"expected text in {token}")
        raw = lexer.text[1:].removesuffix(b"\n")
        entry = self.metadata.setdefault(_decode(name), Metadata())
        if token == "TYPE":
            word = _decode(raw)
            if word not in types:
                raise self.fail(f"invalid metric type {go_quote(raw)}")
            self.type = entry.type = "unknown" if word == "untyped" else word
        elif token == "HELP":
            try:
                entry.help = _unescape(raw.decode(), _HELP_ESCAPE if lexer.text[-1:] != b"\n" else _ESCAPE)
            except UnicodeDecodeError:
                raise self.fail(f"help text {go_quote(raw)} is not a valid utf8 string") from None
        else:
            if raw and not name.endswith(b"_" + raw):
                raise self.fail(f"unit {go_quote(raw)} not a suffix of metric {go_quote(name)}")
            entry.unit = _decode(raw)

    def finish(
        self, start_timestamps: Callable[[_Reader], np.ndarray[tuple[int], np.dtype[np.int64]]]
    ) -> ScrapedSamples:
        return ScrapedSamples(
            self.labels,
            np.array(self.times, np.int64),
            np.frombuffer(bytearray(self.explicit), np.bool_),
            np.array(self.values, np.float64),
            start_timestamps(self),
            self.metadata,
            self.exemplars,
        )


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_text(body: bytes, default_timestamp_ms: int) -> ScrapedSamples:
    """Text 0.0.4 or 1.0.0. Raises ExpositionError."""
    data = body + b"\n"
    lexer = Lexer(data, PROMETHEUS)
    reader = _Reader(data, lexer, default_timestamp_ms)
    while True:
        start = reader.line_start = lexer.position
        found = _LINE.match(data, start)
        if found is not None:
            series, raw, stamp = found.groups()
            labels = reader.known_series(series)
            lexer.position = found.end(2)
            value = reader.number(raw)
            reader.add(labels, int(stamp) if stamp else None, value)
            lexer.position = found.end()
            continue
        token = lexer.next()
        if token == "EOF":
            return reader.finish(lambda r: np.zeros(len(r.labels), np.int64))
        if token == "LINEBREAK":
            continue
        if token in ("HELP", "TYPE"):
            reader.family(token, _TEXT_TYPES)
            if (token := lexer.next()) != "LINEBREAK":
                raise reader.unexpected("linebreak expected after metadata", token)
        elif token == "COMMENT":
            if (token := lexer.next()) != "LINEBREAK":
                raise reader.unexpected("linebreak expected after comment", token)
        elif token in ("MNAME", "BOPEN"):
            _text_sample(reader, token)
        else:
            raise reader.unexpected("expected a valid start token", token)


def _text_sample(reader: _Reader, token: str) -> None:
    lexer = reader.lexer
    labels, token = reader.series(token, strict_commas=False)
    if token != "VALUE":
        raise reader.unexpected("expected value after metric", token)
    value = reader.number(lexer.text)
    token = lexer.next()
    stamp: int | None = None
    if token == "TIMESTAMP":
        stamp = int(lexer.text)
        if stamp >= 1 << 63:
            text = lexer.text.decode()
            raise reader.fail(
                f'strconv.ParseInt: parsing "{text}": value out of range while parsing: {reader.so_far()}'
            )
        if (token := lexer.next()) != "LINEBREAK":
            raise reader.unexpected("expected next entry after timestamp", token)
    elif token != "LINEBREAK":
        raise reader.unexpected("expected timestamp or new record", token)
    reader.add(labels, stamp, value)


def parse_openmetrics(body: bytes, default_timestamp_ms: int, *, read_starts: bool = True) -> ScrapedSamples:
    """OpenMetrics 0.0.1 or 1.0.0. With ``read_starts``, ``_created`` samples become start timestamps.

    Raises ExpositionError.
    """
    lexer = Lexer(body, OPENMETRICS)
    reader = _Reader(body, lexer, default_timestamp_ms)
    while True:
        start = reader.line_start = lexer.position
        found = _OM_LINE.match(body, start)
        if found is not None:
            labels = reader.known_series(found.group(1))
            lexer.position = found.end(2)
            stamp = found.group(3)
            reader.add(labels, int(float(stamp) * 1000) if stamp else None, reader.number(found.group(2)))
            lexer.position = found.end()
            continue
        token = lexer.next()
        if token == "EOFWORD":
            if lexer.next() != "EOF" or lexer.position < len(body):
                raise reader.fail("unexpected data after # EOF")
            return _without_created(reader) if read_starts else _without_starts(reader)
        if token == "EOF":
            raise reader.fail("data does not end with # EOF")
        if token in ("HELP", "TYPE", "UNIT"):
            reader.family(token, _OM_TYPES)
        elif token in ("MNAME", "BOPEN"):
            _openmetrics_sample(reader, token)
        else:
            raise reader.unexpected("expected a valid start token", token)


def _openmetrics_sample(reader: _Reader, token: str) -> None:
    lexer = reader.lexer
    labels, token = reader.series(token, strict_commas=True)
    if token != "VALUE":
        raise reader.unexpected("expected value after metric", token)
    value = reader.number(lexer.text[1:])
    token = lexer.next()
    stamp: int | None = None
    if token == "TIMESTAMP":
        seconds = reader.number(lexer.text[1:])
        stamp = _milliseconds(reader, seconds, "timestamp")
        token = lexer.next()
        if token not in ("LINEBREAK", "COMMENT"):
            raise reader.unexpected("expected next entry after timestamp", token)
    if token == "EOF":
        raise reader.fail("data does not end with # EOF")
    if token not in ("LINEBREAK", "COMMENT"):
        raise reader.unexpected("expected timestamp or comment", token)
    if token == "COMMENT":
        exemplar = _exemplar(reader)
        reader.exemplars.append(exemplar)
    reader.add(labels, stamp, value)


def _milliseconds(reader: _Reader, seconds: float, what: str) -> int:
    if math.isnan(seconds) or math.isinf(seconds):
        shown = "NaN" if math.isnan(seconds) else "+Inf" if seconds > 0 else "-Inf"
        raise reader.fail(f"invalid {what} {shown}")
    scaled = seconds * 1000
    if not -(2.0**63) <= scaled < 2.0**63:
        raise reader.fail(f"invalid {what} {seconds:f}")
    return int(scaled)


def _exemplar(reader: _Reader) -> ScrapedExemplar:
    lexer = reader.lexer
    _, pairs = reader.label_pairs(None, exemplar=True, strict_commas=True)
    token = lexer.next()
    if token != "VALUE":
        raise reader.unexpected("expected value after exemplar labels", token)
    value = reader.number(lexer.text[1:])
    token = lexer.next()
    stamp: int | None = None
    if token == "EOF":
        raise reader.fail("data does not end with # EOF")
    if token == "TIMESTAMP":
        stamp = _milliseconds(reader, reader.number(lexer.text[1:]), "exemplar timestamp")
        if (token := lexer.next()) != "LINEBREAK":
            raise reader.unexpected("expected next entry after exemplar timestamp", token)
    elif token != "LINEBREAK":
        raise reader.unexpected("expected timestamp or comment", token)
    labels = Labels.of({_decode(n): _unescape(_decode(v)) for n, v in pairs})
    return ScrapedExemplar(len(reader.labels), labels, value, stamp)


def _without_starts(reader: _Reader) -> ScrapedSamples:
    return reader.finish(lambda r: np.zeros(len(r.labels), np.int64))


def _without_created(reader: _Reader) -> ScrapedSamples:
    """Turn ``_created`` samples into start timestamps of the other samples of their series."""
    created: dict[tuple[str, Labels], int] = {}
    keep = []
    for i, (labels, kind) in enumerate(zip(reader.labels, reader.types, strict=True)):
        name = labels.name
        if kind in _WITH_CREATED and name.endswith("_created"):
            value = reader.values[i] * 1000
            created[(name[:-8], labels.without(METRIC_NAME))] = int(value) if math.isfinite(value) else 0
        else:
            keep.append(i)
    if len(keep) == len(reader.labels):
        return _without_starts(reader)
    starts = []
    for i in keep:
        labels, kind = reader.labels[i], reader.types[i]
        name = labels.name
        start = 0
        if kind in _WITH_CREATED:
            base = labels.without(METRIC_NAME, "le" if kind == "histogram" else "quantile")
            for suffix in ("_total", "_bucket", "_count", "_sum", ""):
                if name.endswith(suffix) and (
                    found := created.get(
                        (
                            name.removesuffix(suffix),
                            base if kind != "counter" else labels.without(METRIC_NAME),
                        )
                    )
                ):
                    start = found
                    break
        starts.append(start)
    moved = {old: new for new, old in enumerate(keep)}
    exemplars = [
        ScrapedExemplar(moved[e.index], e.labels, e.value, e.timestamp_ms)
        for e in reader.exemplars
        if e.index in moved
    ]
    at = np.array(keep, np.int64)
    return ScrapedSamples(
        [reader.labels[i] for i in keep],
        np.array(reader.times, np.int64)[at],
        np.frombuffer(bytearray(reader.explicit), np.bool_)[at],
        np.array(reader.values, np.float64)[at],
        np.array(starts, np.int64),
        reader.metadata,
        exemplars,
    )
