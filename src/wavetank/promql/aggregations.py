"""The aggregation operators: sum, avg, min, max, count, group, stddev, stdvar, quantile, topk and kin.

Mirrors ``rangeEvalAgg`` and ``aggregation*`` of ``promql/engine.go``. Groups are found once per query from
the labels; a kernel then folds the rows. Groups that hold native histograms are folded again one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash

from wavetank.model.histogram import CounterResetHint, FloatHistogram, IncompatibleSchemaError
from wavetank.model.histogram_math import Accumulator
from wavetank.model.interned import InternedLabels
from wavetank.model.labels import METRIC_NAME, Labels, is_valid_label_name
from wavetank.model.quoting import format_float_f, format_float_g
from wavetank.promql import aggregation_kernels as kernels
from wavetank.promql import annotations as notes
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import AggregateExpr, StringLiteral
from wavetank.promql.failures import QueryError
from wavetank.promql.vector import Floats, Ints, Vector, empty_vector, merge_same_labels

__all__ = ["Grouping", "aggregate", "count_values", "group_rows"]

_OPS: Final = {
    "sum": kernels.SUM,
    "avg": kernels.AVG,
    "min": kernels.MIN,
    "max": kernels.MAX,
    "count": kernels.COUNT,
    "group": kernels.GROUP,
    "stddev": kernels.STDDEV,
    "stdvar": kernels.STDVAR,
}
_IGNORES_HISTOGRAMS: Final = frozenset(("min", "max", "stddev", "stdvar", "quantile"))
_INT64_MAX: Final = 9223372036854774784.0


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which group each row belongs to, int64[n], and the labels of each group's result."""

    groups: Ints
    labels: list[Labels]


def group_rows(labels: Sequence[Labels], by: Sequence[str], without: bool) -> Grouping:
    """Groups in the order in which they are first met."""
    wanted = frozenset(by)
    dropped = wanted | {METRIC_NAME}
    ids: dict[tuple[tuple[str, str], ...], int] = {}
    groups = np.zeros(len(labels), np.int64)
    if not wanted and not without:
        return Grouping(groups, [Labels()] if labels else [])
    if isinstance(labels, InternedLabels):
        return Grouping(*labels.grouped(by, without=without))
    for i, label in enumerate(labels):
        if without:
            key = tuple([p for p in label.pairs if p[0] not in dropped])
        else:
            key = tuple([p for p in label.pairs if p[0] in wanted])
        groups[i] = ids.setdefault(key, len(ids))
    return Grouping(groups, [Labels(key) for key in ids])


def aggregate(
    node: AggregateExpr, vector: Vector, param: Floats, annotations: Annotations, *, instant: bool
) -> Vector:
    """The aggregated vector; ``param`` is float64[k], NaN where the operator takes none."""
    steps = vector.values.shape[1]
    if not vector.labels:
        if node.op in ("topk", "bottomk", "limitk", "limit_ratio", "quantile"):
            _check_param(node, param, annotations)
        return empty_vector(steps)
    grouping = group_rows(vector.labels, node.grouping, node.without)
    if node.op in ("topk", "bottomk"):
        return _topk(node, vector, grouping, param, annotations, instant)
    if node.op in ("limitk", "limit_ratio"):
        return _limit(node, vector, grouping, param, annotations, instant)
    if node.op == "quantile":
        _check_param(node, param, annotations)
    return _fold(node, vector, grouping, param, annotations)


def _fold(
    node: AggregateExpr, vector: Vector, grouping: Grouping, param: Floats, annotations: Annotations
) -> Vector:
    shape = (len(grouping.labels), vector.values.shape[1])
    out, seen = np.zeros(shape), np.zeros(shape, np.int64)
    values = np.ascontiguousarray(vector.values)
    mask = np.ascontiguousarray(vector.mask if node.op in ("count", "group") else vector.float_mask)
    if node.op == "quantile":
        kernels.group_quantiles(values, mask, grouping.groups, np.ascontiguousarray(param), out, seen)
    else:
        kernels.fold(_OPS[node.op], values, mask, grouping.groups, out, seen)
        if node.op == "avg" and np.isinf(out).any():
            columns = np.flatnonzero(np.isinf(out).any(axis=0))
            kernels.running_means(values, mask, grouping.groups, columns, out)
    drop = np.zeros(shape[0], np.bool_)
    if np.count_nonzero(vector.drop):
        np.logical_or.at(drop, grouping.groups, vector.drop & vector.mask.any(axis=1))
    result = Vector(grouping.labels, out, seen > 0, drop)
    if vector.is_histogram is not None:
        if node.op in _IGNORES_HISTOGRAMS and vector.is_histogram.any():
            annotations.add(notes.histogram_ignored_in_aggregation(node.op, node.expr))
        elif node.op in ("sum", "avg"):
            _fold_histograms(node, vector, grouping, result, annotations)
    return result.without_empty()


def _fold_histograms(
    node: AggregateExpr, vector: Vector, grouping: Grouping, result: Vector, annotations: Annotations
) -> None:
    """sum and avg of the groups and steps that hold histograms; a mix with floats gives nothing."""
    assert vector.histograms is not None and vector.is_histogram is not None
    members: dict[tuple[int, int], list[int]] = {}
    for row, step in zip(*np.nonzero(vector.is_histogram), strict=True):
        members.setdefault((int(grouping.groups[row]), int(step)), []).append(int(row))
    result.histograms = np.full(result.values.shape, None, object)
    result.is_histogram = np.zeros(result.values.shape, np.bool_)
    for (group, step), rows in members.items():
        if result.mask[group, step]:
            annotations.add(notes.mixed_floats_histograms_aggregation(node.expr))
            result.mask[group, step] = False
            continue
        histograms = [vector.histograms[row, step] for row in rows]
        total = _total(node, histograms, [vector.labels[row] for row in rows], annotations)
        if total is not None:
            result.histograms[group, step] = total
            result.mask[group, step] = result.is_histogram[group, step] = True


def _total(
    node: AggregateExpr,
    histograms: Sequence[FloatHistogram],
    labels: Sequence[Labels],
    annotations: Annotations,
) -> FloatHistogram | None:
    hints = {h.counter_reset_hint for h in histograms}
    if CounterResetHint.RESET in hints and CounterResetHint.NOT_RESET in hints:
        annotations.add(notes.counter_reset_collision("aggregation", node.expr))
    total = Accumulator(histograms[0], compensated=True)
    average = node.op == "avg"
    running = False
    for i in range(1, len(histograms)):
        try:
            before = total.copy() if average and not running else total
            if running:
                total.scale(i / (i + 1))
                found = total.add(histograms[i].div(i + 1))
            else:
                found = total.add(histograms[i])
                if average and total.overflowed():
                    running = True
                    total = before
                    total.scale(1 / i)
                    total.scale(i / (i + 1))
                    found = total.add(histograms[i].div(i + 1))
        except IncompatibleSchemaError:
            annotations.add(notes.mixed_exponential_custom(labels[i].name, node.expr))
            return None
        if found.bounds_reconciled:
            annotations.add(notes.mismatched_custom_buckets("aggregation", node.expr))
    if average and not running:
        total.scale(1 / len(histograms))
    return total.result().compact()


def _check_param(node: AggregateExpr, param: Floats, annotations: Annotations) -> bool:
    """Complain about parameters out of range; False if the result is empty whatever the data."""
    assert node.param is not None
    # As upstream: NaN never wins a comparison, unless there is nothing else.
    finite = param[~np.isnan(param)]
    has_nan = len(finite) < len(param)
    high = float(finite.max()) if len(finite) else math.nan
    low = float(finite.min()) if len(finite) else math.nan
    if node.op == "quantile":
        if has_nan:
            annotations.add(notes.invalid_quantile(math.nan, node.param))
        for bad in [v for v in (high, low) if v > 1 or v < 0]:
            annotations.add(notes.invalid_quantile(bad, node.param))
        return True
    if node.op == "limit_ratio":
        if high == 0 and low == 0 and not has_nan:
            return False
        if has_nan:
            raise QueryError("Ratio value is NaN")
        if high > 1:
            annotations.add(notes.invalid_ratio(high, 1.0, node.param))
        if low < -1:
            annotations.add(notes.invalid_ratio(low, -1.0, node.param))
        return True
    if high < 1 and not has_nan:
        return False
    if has_nan:
        raise QueryError("Parameter value is NaN")
    if low <= -9223372036854775808.0:
        raise QueryError(f"Scalar value {format_float_g(low)} underflows int64")
    if high >= _INT64_MAX:
        raise QueryError(f"Scalar value {format_float_g(high)} overflows int64")
    return True


def _topk(
    node: AggregateExpr,
    vector: Vector,
    grouping: Grouping,
    param: Floats,
    annotations: Annotations,
    instant: bool,
) -> Vector:
    if not _check_param(node, param, annotations):
        return empty_vector(vector.values.shape[1])
    limits = np.trunc(param).astype(np.int64)
    if vector.is_histogram is not None and (vector.is_histogram & (limits >= 1)).any():
        annotations.add(notes.histogram_ignored_in_aggregation(node.op, node))
    keep = np.zeros(vector.mask.shape, np.bool_)
    order = np.full(len(vector.labels), -1, np.int64)
    kernels.top(
        np.ascontiguousarray(vector.values),
        np.ascontiguousarray(vector.float_mask),
        grouping.groups,
        limits,
        len(grouping.labels),
        1.0 if node.op == "topk" else -1.0,
        keep,
        order,
    )
    kept = vector.with_mask(keep)
    return kept.rows(order[order >= 0]) if instant else merge_same_labels(kept.without_empty())


def _limit(
    node: AggregateExpr,
    vector: Vector,
    grouping: Grouping,
    param: Floats,
    annotations: Annotations,
    instant: bool,
) -> Vector:
    if not _check_param(node, param, annotations):
        return empty_vector(vector.values.shape[1])
    if node.op == "limit_ratio":
        ratio = np.clip(param, -1.0, 1.0)
        offsets = np.array([_ratio_offset(label) for label in vector.labels])[:, np.newaxis]
        keep = vector.mask & np.where(ratio >= 0, offsets < ratio, offsets >= 1.0 + ratio)
    else:
        limits = np.trunc(param).astype(np.int64)
        keep = np.zeros(vector.mask.shape, np.bool_)
        taken = np.zeros((len(grouping.labels), len(param)), np.int64)
        for row, group in enumerate(grouping.groups):
            keep[row] = vector.mask[row] & (taken[group] < limits)
            taken[group] += keep[row]
    kept = vector.with_mask(keep).without_empty()
    return kept if instant else merge_same_labels(kept)


def _ratio_offset(labels: Labels) -> float:
    """Where a series stands between 0 and 1: the hash of its labels as upstream lays them out in memory."""
    out = bytearray()
    for pair in labels.pairs:
        for text in pair:
            data = text.encode()
            out += bytes([len(data)]) if len(data) < 255 else b"\xff" + len(data).to_bytes(3, "little")
            out += data
    return float(xxhash.xxh64_intdigest(bytes(out))) / float(2**64 - 1)


def count_values(node: AggregateExpr, vector: Vector, charge: Callable[[int, int], None]) -> Vector:
    """One series per group and distinct value: how often it occurs at each step.

    ``charge`` hears of the result's samples and bytes before it is made, and raises if they are too many.
    """
    assert isinstance(node.param, StringLiteral)
    label = node.param.value
    if not is_valid_label_name(label):
        raise QueryError(f"invalid label name {node.param}")
    if not vector.labels:
        return empty_vector(vector.values.shape[1])
    # The value's label takes part in the grouping as if the input had it already.
    without_label = [lb.without(label) for lb in vector.labels]
    by = node.grouping if node.without else tuple(n for n in node.grouping if n != label)
    grouping = group_rows(without_label, by, node.without)
    kept = not (node.without and label in node.grouping)
    groups, texts, counts = _count_floats(vector, grouping, charge)
    if vector.is_histogram is not None:
        more_groups, more_texts, more_counts = _count_histograms(vector, grouping)
        groups, texts = groups + more_groups, texts + more_texts
        counts = np.concatenate([counts, more_counts])
    if not groups:
        return empty_vector(vector.values.shape[1])
    labels = [grouping.labels[group] for group in groups]
    if kept:
        labels = [_with_pair(lb, label, text) for lb, text in zip(labels, texts, strict=True)]
    return _added_up(Vector.of_floats(labels, counts, counts > 0))


def _with_pair(labels: Labels, name: str, value: str) -> Labels:
    """With one more label, which it does not have."""
    if not labels.pairs:
        return Labels(((name, value),))
    return Labels(tuple(sorted((*labels.pairs, (name, value)))))


def _count_floats(
    vector: Vector, grouping: Grouping, charge: Callable[[int, int], None]
) -> tuple[list[int], list[str], Floats]:
    """Groups, texts of the values, and how often each value occurs in the group at each step."""
    rows, steps = np.nonzero(vector.float_mask)
    if not len(rows):
        return [], [], np.zeros((0, vector.values.shape[1]))
    values = vector.values[rows, steps]
    # Every NaN is the same value here.
    bits = np.where(np.isnan(values), np.nan, values).view(np.int64)
    groups = grouping.groups[rows]
    order = np.lexsort((bits, groups)) if groups.any() else np.argsort(bits)
    bits, groups = bits[order], groups[order]
    first = np.concatenate([[True], (np.diff(bits) != 0) | (np.diff(groups) != 0)])
    which = np.cumsum(first) - 1
    shape = int(which[-1]) + 1, vector.values.shape[1]
    charge(len(which), 8 * shape[0] * shape[1])
    counts = np.zeros(shape)
    np.add.at(counts, (which, steps[order]), 1)
    texts = [format_float_f(v) for v in bits[first].view(np.float64).tolist()]
    return groups[first].tolist(), texts, counts


def _count_histograms(vector: Vector, grouping: Grouping) -> tuple[list[int], list[str], Floats]:
    assert vector.histograms is not None and vector.is_histogram is not None
    found: dict[tuple[int, str], Floats] = {}
    for row, step in zip(*(w.tolist() for w in np.nonzero(vector.is_histogram)), strict=True):
        key = int(grouping.groups[row]), str(vector.histograms[row, step])
        found.setdefault(key, np.zeros(vector.values.shape[1]))[step] += 1
    counts = np.array(list(found.values())).reshape(-1, vector.values.shape[1])
    return [group for group, _ in found], [text for _, text in found], counts


def _added_up(vector: Vector) -> Vector:
    """Rows with equal labels added: distinct values may share a text, or have no label to tell them apart."""
    first_of: dict[Labels, int] = {}
    target = np.array([first_of.setdefault(lb, i) for i, lb in enumerate(vector.labels)])
    if len(first_of) == len(target):
        return vector
    values = np.zeros_like(vector.values)
    np.add.at(values, target, vector.values)
    rows = np.array(sorted(first_of.values()))
    return Vector.of_floats([vector.labels[r] for r in rows], values[rows], values[rows] > 0)
