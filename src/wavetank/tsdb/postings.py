"""Which series match: sorted integer lists per label pair, and the set arithmetic of matchers over them.

Mirrors ``tsdb/index/postings.go`` and ``PostingsForMatchers`` of ``tsdb/querier.go``. Any index that can name
the values of a label and the union of their postings can be asked; the head and the blocks both are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.model.labels import Matcher, MatchType
from wavetank.tsdb.chunkenc.bits import Word

__all__ = ["Index", "intersect", "literal_set", "matching_rows", "matching_values", "plain_test", "subtract"]

Int64s = npt.NDArray[np.int64]

_FEW: Final = 8  # looking at one row costs as much as passing this many in a list
_NEGATIVE: Final = (MatchType.NOT_EQUAL, MatchType.NOT_REGEXP)
_SPECIAL = re.compile(r"[\\.+*?()\[\]{}^$]")
_PLAIN = r"[^\\.+*?()\[\]{}^$|]*"
_GROUPED = re.compile(rf"({_PLAIN})\(([^\\.+*?()\[\]{{}}^$]+)\)({_PLAIN})")
_AROUND = re.compile(rf"(\.\*|\.\+)?({_PLAIN})(\.\*|\.\+)?")


class Index(Protocol):
    """Postings of label pairs. Rows are non-negative, sorted, without duplicates."""

    def values(self, name: str) -> Sequence[str]:
        """All values of a label, in any order."""
        ...

    def has_value(self, name: str, value: str) -> bool: ...

    def postings(self, name: str, values: Sequence[str]) -> Int64s:
        """Rows with one of these values; values that do not exist are passed over."""
        ...

    def count(self, name: str, values: Sequence[str]) -> int:
        """About how many rows ``postings`` would give, at little cost."""
        ...

    def having(self, rows: Int64s, name: str, values: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of some rows ``postings`` would give."""
        ...

    def all_rows(self) -> Int64s: ...


@kernel("int64(int64[::1], int64[::1], int64[::1])")
def _intersect(a: Int64s, b: Int64s, out: Int64s) -> Word:
    i = j = n = 0
    while i < len(a) and j < len(b):
        if a[i] < b[j]:
            i += 1
        elif a[i] > b[j]:
            j += 1
        else:
            out[n] = a[i]
            n += 1
            i += 1
            j += 1
    return n


@kernel("int64(int64[::1], int64[::1], int64[::1])")
def _subtract(a: Int64s, b: Int64s, out: Int64s) -> Word:
    j = n = 0
    for i in range(len(a)):
        while j < len(b) and b[j] < a[i]:
            j += 1
        if j == len(b) or b[j] != a[i]:
            out[n] = a[i]
            n += 1
    return n


def intersect(a: Int64s, b: Int64s) -> Int64s:
    """What is in both sorted lists."""
    if len(a) > len(b):
        a, b = b, a
    if len(a) * 32 < len(b):  # few in many: look each one up
        at = np.searchsorted(b, a)
        at[at == len(b)] = 0
        return a[b[at] == a] if len(b) else a[:0]
    out = np.empty(len(a), np.int64)
    return out[: _intersect(a, b, out)]


def subtract(a: Int64s, b: Int64s) -> Int64s:
    """What is in sorted list ``a`` and not in ``b``."""
    if not len(b):
        return a
    out = np.empty(len(a), np.int64)
    return out[: _subtract(a, b, out)]


def literal_set(pattern: str) -> list[str] | None:
    """What a regular expression matches if that can be listed, as ``a|b|c`` or ``x(a|b|c)y``; else None."""
    if not _SPECIAL.search(pattern):
        return pattern.split("|")
    grouped = _GROUPED.fullmatch(pattern)
    if grouped is None:
        return None
    before, choices, after = grouped.groups()
    return [before + choice + after for choice in choices.split("|")]


def plain_test(pattern: str) -> Callable[[str], bool] | None:
    """A test without a regular expression for a literal with ``.*`` or ``.+`` around it, else None."""
    found = _AROUND.fullmatch(pattern)
    if found is None:
        return None
    before, literal, after = found.groups()
    if before is None and after is None:
        return lambda value: value == literal
    skip, stop = int(before == ".+"), int(after == ".+")
    if before is None:
        return lambda value: value.startswith(literal) and len(value) >= len(literal) + stop
    if after is None:
        return lambda value: value.endswith(literal) and len(value) >= len(literal) + skip
    return lambda value: literal in value[skip : len(value) - stop]


def _regex_values(index: Index, matcher: Matcher, invert: bool) -> list[str]:
    literals = literal_set(matcher.value)
    if literals is not None:
        if not invert:
            return [v for v in dict.fromkeys(literals) if index.has_value(matcher.name, v)]
        apart = set(literals)
        return [v for v in index.values(matcher.name) if v not in apart]
    test = plain_test(matcher.value) or Matcher(MatchType.REGEXP, matcher.name, matcher.value).matches
    values = index.values(matcher.name)
    return [v for v in values if not test(v)] if invert else [v for v in values if test(v)]


def matching_values(index: Index, matcher: Matcher, *, invert: bool = False) -> list[str]:
    """The existing values of the matcher's label that it matches, or does not match if inverted."""
    negative = matcher.type in _NEGATIVE
    if matcher.type in (MatchType.REGEXP, MatchType.NOT_REGEXP):
        return _regex_values(index, matcher, invert is not negative)
    if invert is negative:
        return [matcher.value] if index.has_value(matcher.name, matcher.value) else []
    return [v for v in index.values(matcher.name) if v != matcher.value]


def matching_rows(index: Index, matchers: Sequence[Matcher]) -> Int64s:
    """Sorted rows that satisfy all matchers; a missing label has the empty value.

    Begins with the rarest; where many rows have what the next one asks for, and few are left, those are
    looked at one by one: nearly every matcher on a metric's name would otherwise be the list of a million.
    """
    wanted: list[tuple[int, str, list[str]]] = []
    unwanted: list[tuple[str, list[str]]] = []
    for matcher in matchers:
        if matcher.matches(""):
            if matcher.type is MatchType.REGEXP and matcher.value == ".*":
                continue
            unwanted.append((matcher.name, matching_values(index, matcher, invert=True)))
        else:
            values = matching_values(index, matcher)
            count = index.count(matcher.name, values)
            if not count:
                return index.postings(matcher.name, values)  # of which a block looks at the checksum
            wanted.append((count, matcher.name, values))
    wanted.sort(key=lambda each: each[0])
    result = index.postings(*wanted[0][1:]) if wanted else index.all_rows()
    for count, name, values in wanted[1:]:
        if len(result) * _FEW < count:
            result = result[index.having(result, name, values)]
        else:
            result = intersect(result, index.postings(name, values))
    for name, values in unwanted:
        if len(result) * _FEW < index.count(name, values):
            result = result[~index.having(result, name, values)]
        else:
            result = subtract(result, index.postings(name, values))
    return result
