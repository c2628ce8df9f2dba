"""Binary operators: values with values.

Mirrors ``scalarBinop``, ``VectorscalarBinop`` and ``vectorElemBinop`` of ``promql/engine.go``. Which rows of
two vectors meet is ``matching``'s business; here two equally shaped operands are combined cell by cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.model.histogram import CounterResetHint, FloatHistogram, IncompatibleSchemaError
from wavetank.model.histogram_math import add, subtract
from wavetank.model.histogram_trim import trim
from wavetank.promql import annotations as notes
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import BinaryExpr
from wavetank.promql.tokens import COMPARISONS
from wavetank.promql.vector import Bools, Floats, Objects, Vector

__all__ = ["ARITHMETIC", "Operand", "Outcome", "combine", "scalar_scalar", "vector_scalar"]

ARITHMETIC: Final[dict[str, Callable[[Any, Any], npt.NDArray[Any]]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARE: Final[dict[str, Callable[[Any, Any], npt.NDArray[np.bool_]]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


@dataclass(frozen=True, slots=True)
class Operand:
    """One side, float64[n, k] or anything that broadcasts to it; histograms as in ``Vector``."""

    values: Floats
    histograms: Objects | None = None
    is_histogram: Bools | None = None


@dataclass(slots=True)
class Outcome:
    """``valid``: the operation is defined there; ``keep``: and its result stays (comparisons filter)."""

    values: Floats
    valid: Bools
    keep: Bools
    histograms: Objects | None = None
    is_histogram: Bools | None = None


def scalar_scalar(op: str, left: Floats, right: Floats) -> Floats:
    """float64[k]; comparisons give 0 and 1."""
    with np.errstate(all="ignore"):
        if op in COMPARISONS:
            return _COMPARE[op](left, right).astype(np.float64)
        return ARITHMETIC[op](left, right)


def combine(
    node: BinaryExpr, left: Operand, right: Operand, mask: Bools, annotations: Annotations
) -> Outcome:
    """The operator applied where ``mask`` says that both sides have a sample."""
    op = node.op
    with np.errstate(all="ignore"):
        if op in COMPARISONS:
            # A copy: kernels take only arrays that can be written to
            values = np.broadcast_to(left.values, mask.shape).copy()
            keep = mask & _COMPARE[op](left.values, right.values)
        elif op in ARITHMETIC:
            values, keep = ARITHMETIC[op](left.values, right.values), mask
        else:  # the histogram trims, undefined between floats
            values, keep = np.zeros(mask.shape), mask
    outcome = Outcome(values, mask, keep)
    trims = op in ("</", ">/")
    if left.is_histogram is None and right.is_histogram is None and not trims:
        return outcome
    return _with_histograms(node, left, right, outcome, annotations)


def _with_histograms(
    node: BinaryExpr, left: Operand, right: Operand, outcome: Outcome, annotations: Annotations
) -> Outcome:
    """Cell by cell where at least one side is a histogram."""
    shape = outcome.valid.shape
    none = np.zeros(shape, np.bool_)
    in_left = none if left.is_histogram is None else np.broadcast_to(left.is_histogram, shape)
    in_right = none if right.is_histogram is None else np.broadcast_to(right.is_histogram, shape)
    either = (in_left | in_right) & outcome.valid
    valid, keep = outcome.valid.copy(), outcome.keep.copy()
    histograms, is_histogram = np.full(shape, None, object), np.zeros(shape, np.bool_)
    if node.op in ("</", ">/"):
        plain = valid & ~either
        if plain.any():
            annotations.add(notes.incompatible_types("float", node.op, "float", node))
            valid &= ~plain
            keep &= ~plain
    left_values = np.broadcast_to(left.values, shape)
    right_values = np.broadcast_to(right.values, shape)
    for i, j in zip(*np.nonzero(either), strict=True):
        a = left.histograms[i, j] if in_left[i, j] and left.histograms is not None else left_values[i, j]
        b = right.histograms[i, j] if in_right[i, j] and right.histograms is not None else right_values[i, j]
        result = _element(node, a, b, annotations)
        valid[i, j] = result is not None
        keep[i, j] = result is not None and result[1]
        if result is not None:
            histograms[i, j] = result[0]
            is_histogram[i, j] = True
    return Outcome(outcome.values, valid, keep, histograms, is_histogram)


def _element(
    node: BinaryExpr, a: float | FloatHistogram, b: float | FloatHistogram, annotations: Annotations
) -> tuple[FloatHistogram, bool] | None:
    """The result and whether a comparison holds; None, with an annotation, where the types do not fit."""
    op = node.op
    if isinstance(a, FloatHistogram) and isinstance(b, FloatHistogram):
        if op in ("+", "-"):
            return _sum(node, a, b, annotations)
        if op in ("==", "!="):
            return a, a.equals(b) is (op == "==")
    elif isinstance(a, FloatHistogram) and not isinstance(b, FloatHistogram):
        if op in ("*", "/"):
            return (a.mul(float(b)) if op == "*" else a.div(float(b))).compact(), True
        if op in ("</", ">/"):
            return trim(a, float(b), upper=op == "</"), True
    elif isinstance(b, FloatHistogram) and not isinstance(a, FloatHistogram) and op == "*":
        return b.mul(float(a)).compact(), True
    kinds = ["histogram" if isinstance(x, FloatHistogram) else "float" for x in (a, b)]
    annotations.add(notes.incompatible_types(kinds[0], op, kinds[1], node))
    return None


def _sum(
    node: BinaryExpr, a: FloatHistogram, b: FloatHistogram, annotations: Annotations
) -> tuple[FloatHistogram, bool] | None:
    operation: notes.Operation = "addition" if node.op == "+" else "subtraction"
    try:
        result, found = (add if node.op == "+" else subtract)(a, b)
    except IncompatibleSchemaError:
        annotations.add(notes.incompatible_bucket_layout(node.op, node))
        return None
    if node.op == "-":
        result = result.with_hint(CounterResetHint.GAUGE)
    if found.counter_reset_collision:
        annotations.add(notes.counter_reset_collision(operation, node))
    if found.bounds_reconciled:
        annotations.add(notes.mismatched_custom_buckets(operation, node))
    return result.compact(), True


def vector_scalar(
    node: BinaryExpr, vector: Vector, scalar: Floats, annotations: Annotations, *, swapped: bool
) -> Vector:
    """A vector with a scalar at each step; ``swapped`` if the scalar stands on the left.

    A comparison keeps the vector's own value, on whichever side it stands.
    """
    side = Operand(vector.values, vector.histograms, vector.is_histogram)
    number = Operand(scalar[np.newaxis, :])
    left, right = (number, side) if swapped else (side, number)
    outcome = combine(node, left, right, vector.mask, annotations)
    if node.return_bool:
        values = outcome.keep.astype(np.float64)
        return Vector.of_floats(vector.labels, values, outcome.valid, vector.drop)
    if node.op in COMPARISONS:
        kept = vector.with_mask(outcome.keep)
        return kept.without_empty()
    return Vector(
        vector.labels,
        np.ascontiguousarray(outcome.values),
        outcome.keep,
        vector.drop,
        outcome.histograms,
        outcome.is_histogram,
    ).without_empty()
