"""histogram_quantile, histogram_quantiles, histogram_fraction: classic and native histograms alike.

Mirrors ``resetHistograms`` and ``funcHistogram*`` of ``promql/functions.go``. Series with an ``le`` label are
gathered into classic histograms once per query; a native histogram with the same labels makes both vanish.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wavetank.model.histogram import FloatHistogram
from wavetank.model.interned import InternedLabels
from wavetank.model.labels import BUCKET_LABEL, METRIC_NAME, Labels
from wavetank.model.quoting import format_float_g
from wavetank.promql import annotations as notes
from wavetank.promql.annotations import Annotations, ForcedMonotonicity
from wavetank.promql.ast import Expr
from wavetank.promql.classic_kernels import bucket_fractions, bucket_quantiles
from wavetank.promql.literals import parse_float
from wavetank.promql.native_quantile import histogram_fraction, histogram_quantile, histogram_variance
from wavetank.promql.vector import Bools, Floats, Ints, Objects, Vector, any_in_rows, stack

__all__ = ["HISTOGRAM_VALUES", "fractions", "histogram_values", "quantiles"]

HISTOGRAM_VALUES: Final[dict[str, Callable[[FloatHistogram], float]]] = {
    "histogram_count": lambda h: h.count,
    "histogram_sum": lambda h: h.sum,
    "histogram_avg": lambda h: h.sum / h.count if h.count else math.nan * h.sum,
    "histogram_stdvar": histogram_variance,
    "histogram_stddev": lambda h: math.sqrt(v) if (v := histogram_variance(h)) >= 0 else math.nan,
}


def histogram_values(vector: Vector, function: Callable[[FloatHistogram], float]) -> Vector:
    """A number from each histogram sample; floats go."""
    if vector.histograms is None or vector.is_histogram is None:
        return vector.rows(slice(0, 0))
    values = np.zeros(vector.values.shape)
    where = np.nonzero(vector.is_histogram)
    values[where] = [function(h) for h in vector.histograms[where]]
    return Vector.of_floats(vector.labels, values, vector.is_histogram, vector.drop).without_empty()


@dataclass(frozen=True, slots=True)
class _Histograms:
    """A vector split: classic ones by rows and bounds for the kernels, native ones as a mask."""

    labels: list[Labels]
    drop: Bools
    rows: Ints
    bounds: Floats
    edges: Ints
    mask: Bools
    native: Bools | None


def _split(vector: Vector, place: Expr, annotations: Annotations, delayed: bool) -> _Histograms:
    groups: dict[Labels, list[tuple[float, int]]] = {}
    floats = vector.float_mask
    noted: set[tuple[str, str]] = set()
    rows_with_floats = np.flatnonzero(any_in_rows(floats)).tolist()
    for row, upper, rest in _buckets(vector.labels, rows_with_floats):
        if upper is None:
            labels = vector.labels[row]
            name, text = labels.name if delayed else "", labels.get(BUCKET_LABEL)
            if (name, text) not in noted:
                noted.add((name, text))
                annotations.add(notes.bad_bucket_label(name, text, place))
            continue
        groups.setdefault(rest, []).append((upper, row))
    mask, native = floats, vector.is_histogram
    if native is not None:
        mask, native = _separate(vector, groups, place, annotations, delayed)
    rows, bounds, edges = [], [], [0]
    drop = []
    for members in groups.values():
        members.sort()
        rows += [row for _, row in members]
        bounds += [upper for upper, _ in members]
        edges.append(len(rows))
        drop.append(bool(vector.drop[members[0][1]]))
    return _Histograms(
        list(groups),
        np.array(drop, np.bool_),
        np.array(rows, np.int64),
        np.array(bounds, np.float64),
        np.array(edges, np.int64),
        np.ascontiguousarray(mask),
        native,
    )


def _buckets(labels: Sequence[Labels], rows: list[int]) -> Iterator[tuple[int, float | None, Labels]]:
    """Of each row: the upper bound, None if it is not a number, and the labels without it."""
    if isinstance(labels, InternedLabels) and not any(
        len(name) for name in labels.grouped((METRIC_NAME,), without=False)[1]
    ):
        # Hundreds of histograms have the same few bounds, and each has its labels once for every bound.
        bounds, bounded = labels.grouped((BUCKET_LABEL,), without=False)
        rests, rest_labels = labels.grouped((BUCKET_LABEL,), without=True)
        uppers = [parse_float(each.get(BUCKET_LABEL)) for each in bounded]
        for row, bound, rest in zip(rows, bounds[rows].tolist(), rests[rows].tolist(), strict=True):
            yield row, uppers[bound], rest_labels[rest]
        return
    for row in rows:
        own = labels[row]
        yield row, parse_float(own.get(BUCKET_LABEL)), own.without(BUCKET_LABEL)


def _separate(
    vector: Vector,
    groups: dict[Labels, list[tuple[float, int]]],
    place: Expr,
    annotations: Annotations,
    delayed: bool,
) -> tuple[Bools, Bools]:
    """Both masks without the steps at which a classic and a native histogram have the same labels."""
    assert vector.is_histogram is not None
    mask, native = vector.float_mask.copy(), vector.is_histogram.copy()
    for row in np.flatnonzero(native.any(axis=1)).tolist():
        labels = vector.labels[row]
        members = [r for _, r in groups.get(labels, ())]
        if not members:
            continue
        clash = native[row] & mask[members].any(axis=0)
        if clash.any():
            annotations.add(notes.mixed_classic_native(labels.name if delayed else "", place))
            native[row] &= ~clash
            mask[members] &= ~clash
    return mask, native


def quantiles(
    vector: Vector,
    wanted: Sequence[tuple[Floats, Expr]],
    label: str | None,
    place: Expr,
    times: Ints,
    annotations: Annotations,
    *,
    delayed: bool,
) -> Vector:
    """Each wanted quantile (float64[k]) of each histogram; ``label`` tells them apart in the result."""
    split = _split(vector, place, annotations, delayed)
    parts = []
    for q, arg in wanted:
        part = _quantile(vector, split, q, place, times, annotations, delayed)
        for value in np.unique(q[~((q >= 0) & (q <= 1))]).tolist():
            annotations.add(notes.invalid_quantile(value, arg))
        if label is None:
            parts.append(part)
            continue
        for value in np.unique(q).tolist():
            at = np.isnan(q) if value != value else q == value
            named = [lb.replace(**{label: _openmetrics_float(value)}) for lb in part.labels]
            parts.append(Vector.of_floats(named, part.values, part.mask & at, part.drop))
    return stack(parts).without_empty()


def _openmetrics_float(value: float) -> str:
    text = format_float_g(value)
    return text if any(c in text for c in ".eIN") else text + ".0"


def _quantile(
    vector: Vector,
    split: _Histograms,
    q: Floats,
    place: Expr,
    times: Ints,
    annotations: Annotations,
    delayed: bool,
) -> Vector:
    shape = (len(split.labels), len(q))
    out, present = np.zeros(shape), np.zeros(shape, np.bool_)
    forced = np.zeros((shape[0], 6))
    if split.labels:
        values = np.ascontiguousarray(vector.values)
        q = np.ascontiguousarray(q)
        bucket_quantiles(values, split.mask, split.rows, split.bounds, split.edges, q, out, present, forced)
    for g in np.flatnonzero(forced[:, 0]).tolist():
        count, first, last, low, high, fall = forced[g].tolist()
        detail = ForcedMonotonicity(
            int(times[int(first)]), int(times[int(last)]), low, high, fall, int(count)
        )
        name = split.labels[g].name if delayed else ""
        annotations.add(notes.forced_monotonicity(name, detail, place))
    classic = Vector.of_floats(split.labels, out, present, split.drop)

    def of(h: FloatHistogram, row: int, step: int) -> float:
        return histogram_quantile(float(q[step]), h, vector.labels[row].name, place, annotations)

    return stack([_native(vector, split.native, of), classic])


def fractions(
    vector: Vector,
    lower: Floats,
    upper: Floats,
    place: Expr,
    annotations: Annotations,
    *,
    delayed: bool,
) -> Vector:
    """The part of each histogram's observations between two values at each step."""
    split = _split(vector, place, annotations, delayed)
    shape = (len(split.labels), len(lower))
    out, present = np.zeros(shape), np.zeros(shape, np.bool_)
    if split.labels:
        values = np.ascontiguousarray(vector.values)
        low, high = np.ascontiguousarray(lower), np.ascontiguousarray(upper)
        bucket_fractions(values, split.mask, split.rows, split.bounds, split.edges, low, high, out, present)
    classic = Vector.of_floats(split.labels, out, present, split.drop)

    def of(h: FloatHistogram, row: int, step: int) -> float:
        name = vector.labels[row].name
        return histogram_fraction(float(lower[step]), float(upper[step]), h, name, place, annotations)

    return stack([_native(vector, split.native, of), classic]).without_empty()


def _native(
    vector: Vector, mask: Bools | None, function: Callable[[FloatHistogram, int, int], float]
) -> Vector:
    """The function of every native histogram, one by one."""
    if mask is None or vector.histograms is None:
        return vector.rows(slice(0, 0))
    rows = np.flatnonzero(mask.any(axis=1)).tolist()
    values = np.zeros((len(rows), mask.shape[1]))
    histograms: Objects = vector.histograms
    for i, row in enumerate(rows):
        for step in np.flatnonzero(mask[row]).tolist():
            values[i, step] = function(histograms[row, step], row, step)
    return Vector.of_floats([vector.labels[r] for r in rows], values, mask[rows], vector.drop[rows])
