"""Series descriptions: ``metric{label="x"} 1+2x3 _ stale {{schema:0 buckets:[1 2]}}``.

Mirrors the series part of upstream's grammar (``ParseSeriesDesc``), which the ``.test`` files and promtool's
rule unit tests use to write samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wavetank.limits import PROMQL_SERIES_VALUES_MAX
from wavetank.model.duration import parse_duration
from wavetank.model.histogram import CounterResetHint, FloatHistogram, Span
from wavetank.model.histogram_math import Notes, add, subtract
from wavetank.model.labels import Labels
from wavetank.model.value import STALE_NAN
from wavetank.promql.literals import parse_number
from wavetank.promql.parser import ParseError, ParseIssue, parse_metric

__all__ = ["SequenceValue", "parse_series_description"]

_NUMBER = r"(?:[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|[Ii]nf|[Nn]a[Nn])"
_DURATION = r"[0-9]+[a-z]+(?:[0-9]+[a-z]+)*"
_ITEM = re.compile(
    rf"(?P<blank>_)(?:x(?P<blanks>[0-9]+))?"
    rf"|(?P<stale>stale)(?:x(?P<stales>[0-9]+))?"
    rf"|(?P<sign>[+-]?)(?P<number>(?i:{_NUMBER}))"
    rf"(?:(?P<op>[+-])(?P<delta>(?i:{_NUMBER})))?(?:x(?P<times>[0-9]+))?"
)
_HISTOGRAM = re.compile(r"\{\{(.*?)\}\}")
_REPEAT = re.compile(r"x([0-9]+)")
_FIELD = re.compile(r"([a-z_]+):(\[[^\]]*\]|[^ \t]+)")
_FIELDS: Final = frozenset(
    ("sum", "count", "schema", "offset", "n_offset", "buckets", "n_buckets", "z_bucket", "z_bucket_w")
).union(("custom_values", "counter_reset_hint"))
_HINTS: Final = {
    "unknown": CounterResetHint.UNKNOWN,
    "reset": CounterResetHint.RESET,
    "not_reset": CounterResetHint.NOT_RESET,
    "gauge": CounterResetHint.GAUGE,
}


@dataclass(frozen=True, slots=True)
class SequenceValue:
    """One place of a series: a float, a histogram, or nothing (``omitted``).

    ``hint_given``: the histogram's counter reset hint was written out, so a test means it.
    """

    value: float = 0.0
    histogram: FloatHistogram | None = None
    omitted: bool = False
    hint_given: bool = False


def parse_series_description(text: str) -> tuple[Labels, list[SequenceValue]]:
    """The labels and the values. Raises ParseError."""
    text = text.strip()
    end = _end_of_metric(text)
    pairs = parse_metric(text[:end]) if text[:end].replace(" ", "") != "{}" else []
    return Labels.of(pairs), _Values(text, end).parse()


def _end_of_metric(text: str) -> int:
    """Where the metric ends: after its closing brace, or at the first space."""
    quote, braces = "", 0
    at = 0
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\" and quote != "`":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "\"'`":
            quote = char
        elif char == "{":
            braces += 1
        elif char == "}":
            return at + 1
        elif char in " \t" and not braces:
            rest = text[at:].lstrip()
            if not rest.startswith("{") or rest.startswith("{{"):
                return at
        at += 1
    return at


class _Values:
    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self._at = at

    def parse(self) -> list[SequenceValue]:
        out: list[SequenceValue] = []
        while True:
            begin = self._at
            while self._at < len(self._text) and self._text[self._at] in " \t":
                self._at += 1
            if self._at >= len(self._text):
                return out
            if self._at == begin and out:
                raise self._unexpected()
            out += self._histogram() if self._text.startswith("{{", self._at) else self._number()
            if len(out) > PROMQL_SERIES_VALUES_MAX:
                raise self._fail(f"more than {PROMQL_SERIES_VALUES_MAX} values in a series")

    def _fail(self, message: str) -> ParseError:
        return ParseError(self._text, [ParseIssue(message, self._at, len(self._text))])

    def _unexpected(self) -> ParseError:
        return self._fail(f'unexpected "{self._text[self._at : self._at + 10]}" in series values')

    def _times(self, text: str | None) -> int:
        count = int(text) if text is not None and len(text) < 12 else 0
        if text is not None and (len(text) >= 12 or count > PROMQL_SERIES_VALUES_MAX):
            raise self._fail(f"more than {PROMQL_SERIES_VALUES_MAX} values in a series")
        return count

    def _number(self) -> list[SequenceValue]:
        found = _ITEM.match(self._text, self._at)
        if found is None:
            raise self._unexpected()
        after = self._text[found.end() : found.end() + 1]
        if after not in ("", " ", "\t"):
            raise self._unexpected()
        if found["op"] is not None and found["times"] is None:
            raise self._unexpected()
        self._at = found.end()
        if found["blank"]:
            count = 1 if found["blanks"] is None else self._times(found["blanks"])
            return [SequenceValue(omitted=True)] * count
        if found["stale"]:
            return [SequenceValue(STALE_NAN)] * (1 + self._times(found["stales"]))
        value = self._value(found["number"])
        if found["sign"] == "-":
            value = -value
        if found["times"] is None:
            return [SequenceValue(value)]
        delta = self._value(found["delta"]) if found["delta"] is not None else 0.0
        if found["op"] == "-":
            delta = -delta
        out = []
        for _ in range(self._times(found["times"]) + 1):
            out.append(SequenceValue(value))
            value += delta
        return out

    def _value(self, text: str) -> float:
        try:
            return parse_number(text)
        except ValueError as error:
            raise self._fail(f"error parsing number: {error}") from None

    def _histogram(self) -> list[SequenceValue]:
        base, hint = self._one_histogram()
        step: FloatHistogram | None = None
        combine: Callable[[FloatHistogram, FloatHistogram], tuple[FloatHistogram, Notes]] = add
        op = self._text[self._at : self._at + 1]
        if op in ("+", "-") and self._text.startswith("{{", self._at + 1):
            self._at += 1
            step, hint = self._one_histogram()
            combine = add if op == "+" else subtract
        repeat = _REPEAT.match(self._text, self._at)
        if repeat is None:
            if step is not None:
                raise self._unexpected()
            return [SequenceValue(histogram=base, hint_given=hint)]
        self._at = repeat.end()
        out = [SequenceValue(histogram=base, hint_given=hint)]
        for _ in range(self._times(repeat[1])):
            if step is not None:
                if base.schema > step.schema:
                    raise self._fail(
                        f"error combining histograms: cannot merge from schema {step.schema} to {base.schema}"
                    )
                base, _found = combine(base, step)
            out.append(SequenceValue(histogram=base, hint_given=hint))
        return out

    def _one_histogram(self) -> tuple[FloatHistogram, bool]:
        found = _HISTOGRAM.match(self._text, self._at)
        if found is None:
            raise self._fail("histogram description incomplete")
        fields: dict[str, str] = {}
        inner, at = found[1], 0
        while at < len(inner):
            if inner[at] in " \t":
                at += 1
                continue
            field = _FIELD.match(inner, at)
            if field is None or field[1] not in _FIELDS:
                raise self._fail(f'bad histogram descriptor found: "{inner[at:].split(":")[0]}"')
            if field[1] in fields:
                raise self._fail(f'duplicate key "{field[1]}" in histogram')
            fields[field[1]] = field[2]
            at = field.end()
        self._at = found.end()
        return self._built(fields), "counter_reset_hint" in fields

    def _built(self, fields: dict[str, str]) -> FloatHistogram:
        hint = fields.get("counter_reset_hint", "unknown")
        if hint not in _HINTS:
            raise self._fail(f"error parsing counter_reset_hint: unknown value {hint}")
        positive = self._counts(fields.get("buckets"))
        negative = self._counts(fields.get("n_buckets"))
        return FloatHistogram(
            int(self._float(fields.get("schema", "0"))),
            self._float(fields.get("count", "0")),
            self._float(fields.get("sum", "0")),
            self._float(fields.get("z_bucket_w", "0")),
            self._float(fields.get("z_bucket", "0")),
            self._spans(fields.get("offset", "0"), positive),
            positive,
            self._spans(fields.get("n_offset", "0"), negative),
            negative,
            self._counts(fields.get("custom_values")),
            _HINTS[hint],
        )

    def _spans(self, offset: str, counts: tuple[float, ...]) -> tuple[Span, ...]:
        return ((int(self._float(offset)), len(counts)),) if counts else ()

    def _counts(self, text: str | None) -> tuple[float, ...]:
        return () if text is None else tuple(self._float(t) for t in text.strip("[]").split())

    def _float(self, text: str) -> float:
        sign = -1.0 if text.startswith("-") else 1.0
        body = text.lstrip("+-")
        try:
            if re.fullmatch(_DURATION, body) and body.lower() not in ("inf", "nan"):
                return sign * parse_duration(body) / 1000
            return sign * parse_number(body)
        except ValueError as error:
            raise self._fail(f"error parsing number: {error}") from None
