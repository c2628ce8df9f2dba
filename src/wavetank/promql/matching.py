"""Vector matching: which rows of two vectors meet in a binary operation, and what the result is called.

Mirrors ``VectorBinop``, ``VectorAnd``, ``VectorOr``, ``VectorUnless`` and ``resultMetric`` of
``promql/engine.go``. Upstream matches anew at each step; here rows are paired once, and pairs that would
clash at some step are found on the masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wavetank.model.labels import METRIC_NAME, Labels, braced
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import BinaryExpr, VectorMatching
from wavetank.promql.binary import ARITHMETIC, Operand, Outcome, combine
from wavetank.promql.failures import QueryError
from wavetank.promql.vector import (
    Bools,
    Ints,
    Vector,
    empty_vector,
    merge_same_labels,
    stack,
)

__all__ = ["set_operation", "vector_vector"]


def _signatures(
    left: Sequence[Labels], right: Sequence[Labels], matching: VectorMatching
) -> tuple[Ints, Ints, int]:
    """A number for each row of both sides, equal where they match; and how many there are."""
    ids: dict[tuple[tuple[str, str], ...], int] = {}
    names = frozenset(matching.labels if matching.on else (*matching.labels, METRIC_NAME))
    out = []
    for side in (left, right):
        numbers = np.empty(len(side), np.int64)
        for i, labels in enumerate(side):
            if matching.on:
                key = tuple([p for p in labels.pairs if p[0] in names])
            else:
                key = tuple([p for p in labels.pairs if p[0] not in names])
            numbers[i] = ids.setdefault(key, len(ids))
        out.append(numbers)
    return out[0], out[1], len(ids)


def _present(vector: Vector, signatures: Ints, count: int) -> Bools:
    """bool[count, k]: whether any row of a signature has a sample."""
    present = np.zeros((count, vector.mask.shape[1]), np.bool_)
    np.logical_or.at(present, signatures, vector.mask)
    return present


def set_operation(node: BinaryExpr, left: Vector, right: Vector, *, instant: bool) -> Vector:
    """``and``, ``or`` and ``unless``."""
    assert node.matching is not None
    of_left, of_right, count = _signatures(left.labels, right.labels, node.matching)
    if node.op == "or":
        free = right.mask & ~_present(left, of_left, count)[of_right]
        both = stack([left, right.with_mask(free)]).without_empty()
        return both if instant else merge_same_labels(both)
    present = _present(right, of_right, count)[of_left]
    kept = left.with_mask(left.mask & (present if node.op == "and" else ~present)).without_empty()
    return kept if instant else merge_same_labels(kept)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows that meet: the many side's, the one side's (-1 where a fill value stands in), their signature."""

    many: Ints
    one: Ints
    signatures: Ints
    mask: Bools


def vector_vector(
    node: BinaryExpr, left: Vector, right: Vector, annotations: Annotations, *, delayed: bool, instant: bool
) -> Vector:
    """Arithmetic, comparisons and trims between vectors. Raises QueryError if the matching is ambiguous."""
    matching = node.matching
    assert matching is not None
    swapped = matching.card == "one-to-many"
    many, one = (right, left) if swapped else (left, right)
    of_many, of_one, count = _signatures(many.labels, one.labels, matching)
    fills = matching.fill_left is not None or matching.fill_right is not None
    _refuse_ambiguous_one(many, one, of_one, matching, fills)
    met = _met(many, one, of_many, of_one)
    parts = [_evaluate(node, many, one, met, annotations, swapped, delayed)]
    if matching.fill_right is not None:
        present = _present(one, of_one, count)[of_many]
        alone = np.arange(len(many.labels))
        pairs = _Pairs(alone, np.full(len(alone), -1), of_many, many.mask & ~present)
        parts.append(_evaluate(node, many, one, pairs, annotations, swapped, delayed))
    if matching.fill_left is not None:
        done = np.zeros((count, many.mask.shape[1]), np.bool_)
        for part in parts:
            np.logical_or.at(done, part.signatures, part.valid)
        alone = np.arange(len(one.labels))
        pairs = _Pairs(np.full(len(alone), -1), alone, of_one, one.mask & ~done[of_one])
        parts.append(_evaluate(node, many, one, pairs, annotations, swapped, delayed))
    _refuse_ambiguous_many(parts, matching)
    whole = stack([p.result for p in parts]).without_empty()
    if not whole.labels:
        return empty_vector(many.mask.shape[1])
    return whole if instant and delayed else merge_same_labels(whole)


def _refuse_ambiguous_one(
    many: Vector, one: Vector, of_one: Ints, matching: VectorMatching, fills: bool
) -> None:
    """The one side may not have two series of a signature at the same step."""
    if len(set(of_one.tolist())) == len(of_one):
        return
    # Upstream does not look where there is nothing on the other side.
    matters = np.ones(one.mask.shape[1], np.bool_) if fills else many.mask.any(axis=0)
    taken: dict[int, Bools] = {}
    for row, signature in enumerate(of_one.tolist()):
        earlier = taken.get(signature)
        if earlier is None:
            taken[signature] = one.mask[row].copy()
            continue
        clash = earlier & one.mask[row] & matters
        if clash.any():
            step = int(clash.argmax())
            other = next(r for r in range(row) if of_one[r] == signature and one.mask[r, step])
            raise _duplicates(one.labels[other], one.labels[row], matching)
        earlier |= one.mask[row]


def _duplicates(first: Labels, second: Labels, matching: VectorMatching) -> QueryError:
    names = matching.labels
    group = second.only(*names) if matching.on else second.without(*names, METRIC_NAME)
    shown = ", ".join(sorted((braced(first), braced(second))))
    side = "left" if matching.card == "one-to-many" else "right"
    return QueryError(
        f"found duplicate series for the match group {braced(group)} on the {side} hand-side of the "
        f"operation: [{shown}];many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _met(many: Vector, one: Vector, of_many: Ints, of_one: Ints) -> _Pairs:
    """All pairs of rows with equal signatures that meet at some step."""
    rows_of: dict[int, list[int]] = {}
    for row, signature in enumerate(of_one.tolist()):
        rows_of.setdefault(signature, []).append(row)
    pairs: list[tuple[int, int]] = []
    for row, signature in enumerate(of_many.tolist()):
        others = rows_of.get(signature, [])
        if len(others) > 1:  # series that follow each other, as after restarts
            others = [o for o in others if (many.mask[row] & one.mask[o]).any()]
        pairs += [(row, other) for other in others]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    left, right = table[:, 0], table[:, 1]
    mask = _take(many.mask, left) & _take(one.mask, right)
    return _Pairs(left, right, of_many[left], mask)


def _take(values: Bools, rows: Ints) -> Bools:
    """Rows by index, without a copy where it is all of them in order."""
    identity = len(rows) == values.shape[0] and bool((rows == np.arange(len(rows))).all())
    return values if identity else values[rows]


@dataclass(slots=True)
class _Part:
    """The results of some pairs; ``valid`` is where the operation was defined, kept or not."""

    result: Vector
    signatures: Ints
    valid: Bools


def _evaluate(
    node: BinaryExpr,
    many: Vector,
    one: Vector,
    pairs: _Pairs,
    annotations: Annotations,
    swapped: bool,
    delayed: bool,
) -> _Part:
    matching = node.matching
    assert matching is not None
    filled_many = bool(len(pairs.many)) and pairs.many[0] < 0
    filled_one = bool(len(pairs.one)) and pairs.one[0] < 0
    a = _operand(many, pairs.many, matching.fill_left if filled_many else None)
    b = _operand(one, pairs.one, matching.fill_right if filled_one else None)
    left, right = (b, a) if swapped else (a, b)
    outcome = combine(node, left, right, pairs.mask, annotations)
    drop_name = node.op in ARITHMETIC or (node.return_bool and not delayed)
    labels = []
    for many_row, one_row in zip(pairs.many.tolist(), pairs.one.tolist(), strict=True):
        of_many = many.labels[many_row] if many_row >= 0 else _matched(one.labels[one_row], matching)
        of_one = one.labels[one_row] if one_row >= 0 else _matched(many.labels[many_row], matching)
        labels.append(_result_labels(of_many, of_one, matching, drop_name))
    return _Part(_vector(node, labels, outcome), pairs.signatures, outcome.valid)


def _vector(node: BinaryExpr, labels: list[Labels], outcome: Outcome) -> Vector:
    drop = np.full(len(labels), node.return_bool)
    if node.return_bool:
        return Vector.of_floats(labels, outcome.keep.astype(np.float64), outcome.valid, drop)
    values = np.ascontiguousarray(outcome.values)
    return Vector(labels, values, outcome.keep, drop, outcome.histograms, outcome.is_histogram)


def _operand(vector: Vector, rows: Ints, fill: float | None) -> Operand:
    if fill is not None:
        return Operand(np.full((len(rows), vector.values.shape[1]), fill))
    identity = len(rows) == len(vector.labels) and bool((rows == np.arange(len(rows))).all())
    if identity:
        return Operand(vector.values, vector.histograms, vector.is_histogram)
    if vector.histograms is None or vector.is_histogram is None:
        return Operand(vector.values[rows])
    return Operand(vector.values[rows], vector.histograms[rows], vector.is_histogram[rows])


def _matched(labels: Labels, matching: VectorMatching) -> Labels:
    """What a filled-in partner is called: the labels it would have to share."""
    if matching.on:
        return labels.only(*matching.labels)
    return labels.without(*matching.labels, METRIC_NAME)


def _result_labels(many: Labels, one: Labels, matching: VectorMatching, drop_name: bool) -> Labels:
    out = many.without_metadata() if drop_name else many
    if matching.card == "one-to-one":
        out = out.only(*matching.labels) if matching.on else out.without(*matching.labels)
    if matching.include:
        out = out.replace(**{name: one.get(name) for name in matching.include})
    return out


def _refuse_ambiguous_many(parts: list[_Part], matching: VectorMatching) -> None:
    """Results that cannot be told apart, at the same step and for the same signature."""
    one_to_one = matching.card == "one-to-one"
    seen: dict[object, Bools] = {}
    total = sum(len(p.signatures) for p in parts)
    keys: list[object] = []
    for part in parts:
        for row, signature in enumerate(part.signatures.tolist()):
            keys.append(signature if one_to_one else (signature, part.result.labels[row]))
    if len(set(keys)) == total:
        return
    at = 0
    for part in parts:
        for row in range(len(part.signatures)):
            key, valid = keys[at], part.valid[row]
            at += 1
            earlier = seen.get(key)
            if earlier is None:
                seen[key] = valid.copy()
                continue
            if (earlier & valid).any():
                if one_to_one:
                    raise QueryError(
                        "multiple matches for labels: many-to-one matching must be explicit "
                        "(group_left/group_right)"
                    )
                raise QueryError("multiple matches for labels: grouping labels must ensure unique matches")
            earlier |= valid
