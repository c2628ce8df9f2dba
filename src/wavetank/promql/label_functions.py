"""Functions of labels: label_replace, label_join, the sorts, and the labels of absent().

Mirrors ``evalLabelReplace``, ``evalLabelJoin``, ``funcSort*`` and ``createLabelsForAbsentFunction`` of
``promql/functions.go``.
"""

from __future__ import annotations

import functools
import re
from bisect import insort
from collections.abc import Sequence

import numpy as np

from wavetank.limits import PROMQL_CACHED_REPLACEMENTS
from wavetank.model.labels import METRIC_NAME, Labels, MatchType, compile_regex, is_valid_label_name
from wavetank.promql import ast
from wavetank.promql.ast import Expr
from wavetank.promql.failures import QueryError
from wavetank.promql.vector import Vector, merge_same_labels

__all__ = ["absent_labels", "label_join", "label_replace", "sort_by_label", "sort_by_value"]

_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)
_CHUNK = re.compile(r"\d+|\D+")


def label_replace(vector: Vector, dst: str, replacement: str, src: str, pattern: str) -> Vector:
    """Sets ``dst`` from what ``pattern`` found in ``src``. Raises QueryError."""
    try:
        compile_regex(pattern)
    except ValueError:
        raise QueryError(f"invalid regular expression in label_replace(): {pattern}") from None
    if not is_valid_label_name(dst):
        raise QueryError(f"invalid destination label name in label_replace(): {dst}")
    labels, drop = list(vector.labels), vector.drop.copy()
    for i, label in enumerate(labels):
        new = _replaced(pattern, replacement, label.get(src))
        if new is not None:
            labels[i] = _with_label(label, dst, new)
            drop[i] &= dst != METRIC_NAME
    return merge_same_labels(
        Vector(labels, vector.values, vector.mask, drop, vector.histograms, vector.is_histogram)
    )


@functools.lru_cache(maxsize=PROMQL_CACHED_REPLACEMENTS)
def _replaced(pattern: str, replacement: str, value: str) -> str | None:
    """What a value becomes, None if the pattern does not match; dashboards ask for the same again."""
    found = compile_regex(pattern).search(value)
    return None if found is None else _expand(replacement, found)


def _with_label(labels: Labels, name: str, value: str) -> Labels:
    """With this label set; an empty value removes it."""
    pairs = [pair for pair in labels.pairs if pair[0] != name]
    if value:
        insort(pairs, (name, value))
    return Labels(tuple(pairs))


def _expand(template: str, found: re.Match[str]) -> str:
    """Go's Regexp.Expand: ``$1``, ``${1}``, ``$name``; unknown references are empty."""

    def value(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        try:
            return found[int(name) if name.isdigit() else name] or ""
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(value, template)


def label_join(vector: Vector, dst: str, separator: str, sources: Sequence[str]) -> Vector:
    """Sets ``dst`` to the values of ``sources``, joined. Raises QueryError."""
    for src in sources:
        if not is_valid_label_name(src):
            raise QueryError(f"invalid source label name in label_join(): {src}")
    if not is_valid_label_name(dst):
        raise QueryError(f"invalid destination label name in label_join(): {dst}")
    labels = [
        _with_label(label, dst, separator.join([label.get(src) for src in sources]))
        for label in vector.labels
    ]
    drop = np.zeros_like(vector.drop) if dst == METRIC_NAME else vector.drop
    return merge_same_labels(
        Vector(labels, vector.values, vector.mask, drop, vector.histograms, vector.is_histogram)
    )


def sort_by_value(vector: Vector, *, descending: bool) -> Vector:
    """Rows by their first step's float, NaN last; histograms go. Only meant for a single step."""
    rows = np.flatnonzero(vector.float_mask[:, 0])
    values = vector.values[rows, 0]
    key = np.where(np.isnan(values), np.inf, -values if descending else values)
    order = np.lexsort((key, np.isnan(values)))
    return vector.rows(rows[order])


def _natural_less(a: str, b: str) -> bool:
    """Whether ``a`` comes before ``b`` when runs of digits count as numbers."""
    left, right = _CHUNK.findall(a), _CHUNK.findall(b)
    for x, y in zip(left, right, strict=False):
        if x == y:
            continue
        if x[0].isdigit() and y[0].isdigit():
            m, n = int(x), int(y)
            return m < n if m != n else len(x) < len(y)
        return bool(x < y)
    return len(left) < len(right)


def sort_by_label(vector: Vector, names: Sequence[str], *, descending: bool) -> Vector:
    """Rows by these labels in natural order, then by all labels."""
    sign = -1 if descending else 1

    def compare(i: int, j: int) -> int:
        a, b = vector.labels[i], vector.labels[j]
        for name in names:
            x, y = a.get(name), b.get(name)
            if x != y:
                return -sign if _natural_less(x, y) else sign
        return 0 if a == b else -sign if a < b else sign

    order = sorted(range(len(vector.labels)), key=functools.cmp_to_key(compare))
    return vector.rows(np.array(order, np.int64))


def absent_labels(expr: Expr) -> Labels:
    """The labels that a selector asks for by equality, each asked for once."""
    selector = expr.selector if isinstance(expr, ast.MatrixSelector) else expr
    if not isinstance(selector, ast.VectorSelector):
        return Labels()
    out: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in selector.matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.type is MatchType.EQUAL and matcher.name not in seen:
            out[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            out.pop(matcher.name, None)
    return Labels.of(out)
