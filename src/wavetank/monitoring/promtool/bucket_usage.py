"""``promtool query analyze``: how the buckets of histograms are used, classic ones or native ones.

Mirrors cmd/promtool/analyze.go and prints its lines. Where upstream lists labels in any order, their
values unescaped, here they are sorted and quoted, so that every series can be asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeAlias

from wavetank.errors import CheckFailed, InputError
from wavetank.model.labels import BUCKET_LABEL, METRIC_NAME, Labels
from wavetank.model.quoting import go_duration

__all__ = ["TYPES", "Ask", "bucket_usage"]

#: A query at the time of the analysis: its result type and result.
Ask: TypeAlias = Callable[[str], Mapping[str, Any]]
Counts: TypeAlias = dict[Any, float]
TYPES: Final = ("classichistograms", "nativehistograms")
_SUM: Final = re.compile(r"_sum\b")
_NONE_YET: Final = (1 << 63) - 1


@dataclass(slots=True)
class _Distribution:
    """Least, mean and greatest of numbers; the least of none is Go's greatest integer, as upstream."""

    min: int = _NONE_YET
    max: int = 0
    count: int = 0
    avg: float = 0.0

    def add(self, number: int) -> None:
        self.min, self.max = min(self.min, number), max(self.max, number)
        self.count += 1
        self.avg += number / self.count - self.avg / self.count

    def __str__(self) -> str:
        return f"min/avg/max: {self.min}/{self.avg:.3f}/{self.max}"


@dataclass(slots=True)
class _Usage:
    """One histogram: changed buckets, the sum of their changes and populated buckets, for each sample."""

    changed: _Distribution = field(default_factory=_Distribution)
    delta: _Distribution = field(default_factory=_Distribution)
    populated: _Distribution = field(default_factory=_Distribution)
    total: int = 0

    def add(self, before: Counts, after: Counts, populated: int) -> int:
        """One step from sample to sample; how many buckets it changed."""
        steps = [abs(int(after.get(b, 0) - before.get(b, 0))) for b in _differing(before, after)]
        self.changed.add(len(steps))
        self.delta.add(sum(steps))
        self.populated.add(populated)
        return len(steps)

    def __str__(self) -> str:
        def three(d: _Distribution) -> str:
            return f"{d.min}/{d.avg:.3f}/{d.max}"

        return (
            f"Bucket stats (min/avg/max) - number of buckets changed: {three(self.changed)} "
            f"total delta of changed buckets: {three(self.delta)} "
            f"number of populated buckets: {three(self.populated)}. total number of buckets: {self.total}"
        )


def _differing(before: Counts, after: Counts) -> list[Any]:
    """Buckets that one has and the other lacks, or whose counts differ."""
    return [b for b in before.keys() | after.keys() if before.get(b) != after.get(b)]


@dataclass(slots=True)
class _Overall:
    """What all histograms make together."""

    parts: dict[str, _Distribution] = field(
        default_factory=lambda: (
            {
                f"{kind}{what}": _Distribution()
                for what in ("Changed", "Delta", "Pop")
                for kind in ("min", "avg", "max")
            }
            | {"total": _Distribution()}
        )
    )
    changes: Counter[int] = field(default_factory=Counter)

    def add(self, usage: _Usage) -> None:
        for what, found in (("Changed", usage.changed), ("Delta", usage.delta), ("Pop", usage.populated)):
            self.parts[f"min{what}"].add(found.min)
            self.parts[f"avg{what}"].add(int(found.avg))
            self.parts[f"max{what}"].add(found.max)
        self.parts["total"].add(usage.total)

    def lines(self) -> Iterator[str]:
        for name, distribution in self.parts.items():
            yield f"{name} - {distribution}"
        yield f"count - {self.parts['total'].count}"
        # A Go map printed by its default format: upstream's last line.
        yield "&{map[" + " ".join(f"{n}:{times}" for n, times in sorted(self.changes.items())) + "]}"


def bucket_usage(ask: Ask, kind: str, matches: Sequence[str], duration_seconds: float) -> Iterator[str]:
    """The lines of the analysis, one for each histogram as soon as it is known, then those of all together.

    Raises InputError for arguments that do not fit, CheckFailed for answers that cannot be analysed.
    """
    if kind not in TYPES:
        raise InputError(f"analyze type is {kind}, must be 'classichistograms' or 'nativehistograms'")
    classic = kind == "classichistograms"
    for match in matches if classic else ():
        if not _SUM.search(match):
            raise InputError(
                "every classic histogram matcher must have a '_sum' suffix in the metric name, "
                f"but the matcher '{match}' does not"
            )
    overall, span = _Overall(), go_duration(duration_seconds)
    for match in matches:
        found = _classic(ask, match, span, overall) if classic else _native(ask, match, span, overall)
        for name, usage in found:
            overall.add(usage)
            yield f"{name}={usage}"
    yield from overall.lines()


def _result(ask: Ask, query: str, kind: str, what: str) -> list[dict[str, Any]]:
    data = ask(query)
    if data["resultType"] != kind:
        raise CheckFailed(f"{what} resulted in non-{kind.capitalize()}")
    found: list[dict[str, Any]] = data["result"]
    return found


def _classic(ask: Ask, match: str, span: str, overall: _Overall) -> Iterator[tuple[str, _Usage]]:
    for sample in _result(ask, f"last_over_time({match}[{span}])", "vector", "query for metrics"):
        labels = dict(sample["metric"])
        labels[METRIC_NAME] = _SUM.sub("_bucket", labels.get(METRIC_NAME, ""))
        selector = str(Labels.of(labels))
        if "{" not in selector:
            selector += "{}"
        query = f"{selector}[{span}]"
        usage = _classic_usage(_result(ask, query, "matrix", "query of buckets"), overall)
        if usage is not None:
            yield query, usage


def _classic_usage(matrix: list[dict[str, Any]], overall: _Overall) -> _Usage | None:
    """None where there are fewer than two samples. Raises CheckFailed where buckets' samples do not pair."""
    series = sorted(matrix, key=lambda entry: _bound(entry["metric"].get(BUCKET_LABEL, "")))
    columns = [entry.get("values", []) for entry in series]
    if not columns or len(columns[0]) < 2:
        return None
    if any([t for t, _ in column] != [t for t, _ in columns[0]] for column in columns):
        raise CheckFailed("matrix result is not time aligned")
    usage = _Usage(total=len(series))
    before: Counts = {}
    for j, row in enumerate(zip(*columns, strict=True)):
        sums = [0.0, *(float(value) for _, value in row)]
        counts: Counts = {i: int(b - a) for i, (a, b) in enumerate(pairwise(sums))}
        if j:
            populated = sum(count != 0 for count in counts.values())
            overall.changes[usage.add(before, counts, populated)] += 1
        before = counts
    return usage


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _native(ask: Ask, match: str, span: str, overall: _Overall) -> Iterator[tuple[str, _Usage]]:
    for entry in _result(ask, f"{match}[{span}]", "matrix", "query of buckets"):
        samples = [_native_counts(histogram) for _, histogram in entry.get("histograms", [])]
        if len(samples) < 2:
            continue
        usage = _Usage(total=len(set().union(*samples)))
        for before, after in pairwise(samples):
            overall.changes[usage.add(before, after, len(after))] += 1
        yield str(Labels.of(entry["metric"])), usage


def _native_counts(histogram: Mapping[str, Any]) -> Counts:
    """Counts by bounds: which are inclusive, the lower and the upper one."""
    return {
        (rule, float(lower), float(upper)): float(count)
        for rule, lower, upper, count in histogram.get("buckets") or ()
    }
