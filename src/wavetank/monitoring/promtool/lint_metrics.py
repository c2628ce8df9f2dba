"""Linting expositions: ``promtool check metrics``. Follows promlint of prometheus/client_golang."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from wavetank.monitoring.promtool.families import Family

__all__ = ["cardinality", "problems"]

_CAMEL: Final = re.compile("[a-z][A-Z]")
_ABBREVIATED: Final = ("s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d")
_UNITS: Final = {
    **{unit: unit for unit in ("amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters")},
    **{unit: unit for unit in ("metres", "seconds", "volts")},
    **dict.fromkeys(("minutes", "hours", "days", "weeks"), "seconds"),
    **dict.fromkeys(("fahrenheit", "rankine"), "celsius"),
    **dict.fromkeys(("inches", "yards", "miles"), "meters"),
    **dict.fromkeys(("pounds", "ounces"), "grams"),
    "kelvins": "kelvin",
    "bits": "bytes",
    "calories": "joules",
}
_PREFIXES: Final = re.compile(
    "pico|nano|micro|milli|centi|deci|deca|hecto|kilo|kibi|mega|mibi|giga|gibi|tera|tebi|peta|pebi"
)


def problems(families: Sequence[Family]) -> list[str]:
    """``name text`` of everything that is not as it should be, by name and then by text."""
    found = [(family.name, text) for family in families for text in _lint(family)]
    return [f"{name} {text}" for name, text in sorted(found)]


def _lint(family: Family) -> Iterator[str]:
    if not family.has_help:
        yield "no help text"
    yield from _unit(family.name)
    yield from _counter(family)
    yield from _reserved(family)
    yield from _spelling(family)
    seen = set()
    for labels, _ in family.metrics:
        if labels in seen:
            yield "metric not unique"
        seen.add(labels)


def _unit(name: str) -> Iterator[str]:
    for part in name.split("_"):
        prefix = _PREFIXES.match(part)
        base = _UNITS.get(part) or (_UNITS.get(part[prefix.end() :]) if prefix else None)
        if base is not None:
            if base != part:
                yield f'use base unit "{base}" instead of "{part}"'
            return


def _counter(family: Family) -> Iterator[str]:
    total = family.name.endswith("_total")
    if family.type == "counter" and not total:
        yield 'counter metrics should have "_total" suffix'
    if family.type not in ("counter", "untyped") and total:
        yield 'non-counter metrics should not have "_total" suffix'


def _reserved(family: Family) -> Iterator[str]:
    if family.type == "untyped":
        return
    histogram, summary = family.type == "histogram", family.type == "summary"
    if not histogram and family.name.endswith("_bucket"):
        yield 'non-histogram metrics should not have "_bucket" suffix'
    for suffix in ("_count", "_sum"):
        if not histogram and not summary and family.name.endswith(suffix):
            yield f'non-histogram and non-summary metrics should not have "{suffix}" suffix'
    for labels, _ in family.metrics:
        if not histogram and "le" in labels:
            yield 'non-histogram metrics should not have "le" label'
        if not summary and "quantile" in labels:
            yield 'non-summary metrics should not have "quantile" label'


def _spelling(family: Family) -> Iterator[str]:
    name, lower = family.name, family.name.lower()
    if family.type != "untyped" and f"_{family.type}_" in f"{lower}_":
        yield f"metric name should not include type '{family.type}'"
    if ":" in name:
        yield "metric names should not contain ':'"
    if _CAMEL.search(name):
        yield "metric names should be written in 'snake_case' not 'camelCase'"
    for labels, _ in family.metrics:
        for label, _ in labels:
            if _CAMEL.search(label):
                yield "label names should be written in 'snake_case' not 'camelCase'"
    for unit in _ABBREVIATED:
        if f"_{unit}_" in f"{lower}_":
            yield "metric names should not contain abbreviated units"


def cardinality(families: Sequence[Family]) -> list[str]:
    """A table of how many series each metric has, the most first."""
    counts = [(family.name, _series(family)) for family in families]
    total = sum(count for _, count in counts)
    rows = [("Metric", "Cardinality", "Percentage")]
    for name, count in sorted(counts, key=lambda pair: (-pair[1], pair[0])):
        rows.append((name, str(count), f"{100 * count / total:.2f}%"))
    rows.append(("Total", str(total), "100%"))
    widths = [4 + max(len(row[i]) for row in rows) for i in range(3)]
    return ["".join(map(str.ljust, row, widths)) for row in rows]


def _series(family: Family) -> int:
    """As upstream counts: every metric of a histogram has the buckets of the first."""
    if family.type not in ("histogram", "summary"):
        return len(family.metrics)
    parts = {f"{family.name}_sum", f"{family.name}_count"}
    own = sum(name not in parts for name, *_ in family.metrics[0][1])
    return len(family.metrics) * (2 + own)
