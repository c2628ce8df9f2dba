"""Evaluation of a planned expression over all steps at once.

Mirrors ``evaluator.eval`` of ``promql/engine.go``: one method per kind of node, each from whole vectors to a
whole vector. What a node holds while it computes is charged to the query's budget and released when it is
done, so that the budget bounds what is in memory at one time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from wavetank.limits import PROMQL_STEPS_MAX
from wavetank.model.histogram import CounterResetHint
from wavetank.model.interned import InternedLabels, without_metadata
from wavetank.model.labels import METRIC_NAME, Labels, Matcher
from wavetank.promql import annotations as notes
from wavetank.promql import ast
from wavetank.promql.advice import ADVISED, advice
from wavetank.promql.aggregations import aggregate, count_values
from wavetank.promql.annotations import Annotations
from wavetank.promql.ast import Expr
from wavetank.promql.binary import scalar_scalar, vector_scalar
from wavetank.promql.context import EngineOptions, QueryContext
from wavetank.promql.failures import QueryError, QueryTooBig
from wavetank.promql.histogram_functions import HISTOGRAM_VALUES, fractions, histogram_values, quantiles
from wavetank.promql.info import InfoSeries, add_info, time_of
from wavetank.promql.label_functions import (
    absent_labels,
    label_join,
    label_replace,
    sort_by_label,
    sort_by_value,
)
from wavetank.promql.matching import set_operation, vector_vector
from wavetank.promql.math_functions import DATE_FUNCTIONS, MATH_FUNCTIONS, clamp, map_floats, round_to
from wavetank.promql.planner import StepInvariant
from wavetank.promql.range_functions import (
    ANCHORED_SAFE,
    SMOOTHED_SAFE,
    USES_START_TIMES,
    RangeCall,
    call_range_function,
)
from wavetank.promql.range_vector import RangeVector, bounded, to_batch
from wavetank.promql.selection import Selection
from wavetank.promql.storage import Queryable, SeriesBatch
from wavetank.promql.tokens import COMPARISONS, SET_OPERATORS
from wavetank.promql.vector import (
    Bools,
    Floats,
    Ints,
    Steps,
    Vector,
    any_in_rows,
    empty_vector,
    merge_same_labels,
    refuse_same_labels,
)

__all__ = ["Evaluator"]

_COUNTER_SUFFIXES: Final = ("_total", "_sum", "_count", "_bucket")


class Evaluator:
    """Evaluates the nodes of one query."""

    def __init__(
        self,
        queryable: Queryable,
        options: EngineOptions,
        context: QueryContext,
        annotations: Annotations,
    ) -> None:
        self._options = options
        self._context = context
        self._annotations = annotations
        self._selection = Selection(queryable, options, context, annotations)

    @property
    def _delayed(self) -> bool:
        return self._options.delayed_name_removal

    # --- the three kinds of result

    def scalar(self, node: Expr, steps: Steps) -> Floats:
        """float64[k]."""
        match node:
            case ast.NumberLiteral():
                return np.full(len(steps), node.value)
            case ast.ParenExpr():
                return self.scalar(node.expr, steps)
            case StepInvariant():
                once = self.scalar(node.expr, Steps(steps.times[:1], steps.interval))
                return np.full(len(steps), once[0])
            case ast.UnaryExpr():
                value = self.scalar(node.expr, steps)
                return -value if node.op == "-" else value
            case ast.BinaryExpr():
                left, right = self.scalar(node.lhs, steps), self.scalar(node.rhs, steps)
                return scalar_scalar(node.op, left, right)
            case ast.Call():
                return self._scalar_call(node, steps)
        raise AssertionError(f"not a scalar: {node}")

    def vector(self, node: Expr, steps: Steps) -> Vector:
        """An instant vector at every step."""
        self._context.check()
        mark = self._context.mark()
        result = self._vector(node, steps)
        self._context.release(mark)
        self._context.charge(result.size_samples, result.size_bytes)
        return result

    def raw(self, node: Expr, steps: Steps) -> SeriesBatch:
        """A range vector that is itself the query's result; labels sorted."""
        while isinstance(node, ast.ParenExpr | StepInvariant):
            node = node.expr
        if isinstance(node, ast.MatrixSelector):
            return self._selection.raw(node, steps)
        assert isinstance(node, ast.SubqueryExpr)
        inner, grid = self._subquery(node, steps)
        if self._delayed:
            labels = [
                lb.without_metadata() if d else lb for lb, d in zip(inner.labels, inner.drop, strict=True)
            ]
            inner = merge_same_labels(replace(inner, labels=labels))
        order = sorted(range(len(inner.labels)), key=lambda i: inner.labels[i].pairs)
        return to_batch(inner.rows(np.array(order, np.int64)).without_empty(), grid.times)

    def _vector(self, node: Expr, steps: Steps) -> Vector:
        match node:
            case ast.VectorSelector():
                return self._selection.instant(node, steps)
            case ast.ParenExpr():
                return self._vector(node.expr, steps)
            case StepInvariant():
                once = self.vector(node.expr, Steps(steps.times[:1], steps.interval))
                return once.broadcast(len(steps)) if len(steps) > 1 else once
            case ast.Call():
                return self._call(node, steps)
            case ast.AggregateExpr():
                return self._aggregate(node, steps)
            case ast.BinaryExpr():
                return self._binary(node, steps)
            case ast.UnaryExpr():
                return self._unary(node, steps)
        raise AssertionError(f"not an instant vector: {node}")

    # --- operators

    def _unary(self, node: ast.UnaryExpr, steps: Steps) -> Vector:
        vector = self.vector(node.expr, steps)
        if node.op == "+":
            return vector
        negated = replace(vector, values=-vector.values)
        if vector.histograms is not None and vector.is_histogram is not None:
            negated.histograms = vector.histograms.copy()
            where = np.nonzero(vector.is_histogram)
            negated.histograms[where] = [h.mul(-1.0) for h in vector.histograms[where]]
        return self._nameless(negated)

    def _nameless(self, vector: Vector) -> Vector:
        """Without the metric's name: at once, or marked to lose it at the end."""
        if self._delayed:
            return replace(vector, drop=np.ones(len(vector.labels), np.bool_))
        unnamed = vector.named(without_metadata(vector.labels))
        return unnamed if _are_distinct(unnamed) else merge_same_labels(unnamed)

    def _aggregate(self, node: ast.AggregateExpr, steps: Steps) -> Vector:
        instant = len(steps) == 1
        if node.op == "count_values":
            return count_values(node, self.vector(node.expr, steps), self._context.charge)
        param = np.full(len(steps), np.nan)
        if node.param is not None:
            param = self.scalar(node.param, steps)
        vector = self.vector(node.expr, steps)
        return aggregate(node, vector, param, self._annotations, instant=instant)

    def _binary(self, node: ast.BinaryExpr, steps: Steps) -> Vector:
        instant = len(steps) == 1
        if node.lhs.type == "scalar":
            left, right = self.scalar(node.lhs, steps), self.vector(node.rhs, steps)
            return self._with_scalar(node, right, left, swapped=True)
        if node.rhs.type == "scalar":
            vector, scalar = self.vector(node.lhs, steps), self.scalar(node.rhs, steps)
            return self._with_scalar(node, vector, scalar, swapped=False)
        lhs, rhs = self.vector(node.lhs, steps), self.vector(node.rhs, steps)
        if node.op in SET_OPERATORS:
            return set_operation(node, lhs, rhs, instant=instant and self._delayed)
        return vector_vector(node, lhs, rhs, self._annotations, delayed=self._delayed, instant=instant)

    def _with_scalar(self, node: ast.BinaryExpr, vector: Vector, scalar: Floats, *, swapped: bool) -> Vector:
        result = vector_scalar(node, vector, scalar, self._annotations, swapped=swapped)
        keeps_name = node.op in ("</", ">/") or (node.op in COMPARISONS and not node.return_bool)
        return result if keeps_name else self._nameless(result)

    # --- subqueries

    def _subquery(self, node: ast.SubqueryExpr, steps: Steps) -> tuple[Vector, Steps]:
        """The inner expression on the subquery's own grid: multiples of its step."""
        step = node.step_ms or self._options.subquery_step_ms
        first = last = node.at_ms
        if first is None or last is None:
            first, last = steps.first, steps.last
        after = first - node.offset_ms - node.range_ms
        end = last - node.offset_ms
        start = (after // step + 1) * step
        if (end - start) // step + 1 > PROMQL_STEPS_MAX:
            raise QueryTooBig(
                f"subquery of {(end - start) // step + 1} steps, {PROMQL_STEPS_MAX} allowed",
                fix="widen the subquery's step",
            )
        grid = Steps.of(start, end, step)
        if not len(grid):
            return empty_vector(0), grid
        return self.vector(node.expr, grid), grid

    def _subquery_windows(self, node: ast.SubqueryExpr, steps: Steps) -> RangeVector:
        inner, grid = self._subquery(node, steps)
        if inner.histograms is not None and inner.is_histogram is not None:
            # What is known about resets holds between neighbours in storage, not between these samples.
            inner.histograms = inner.histograms.copy()
            where = np.nonzero(inner.is_histogram)
            gauge = CounterResetHint.GAUGE
            inner.histograms[where] = [
                h if h.counter_reset_hint is gauge else h.with_hint(CounterResetHint.UNKNOWN)
                for h in inner.histograms[where]
            ]
        at = steps.times if node.at_ms is None else np.full(len(steps), node.at_ms, np.int64)
        ends = at - node.offset_ms
        return bounded(to_batch(inner, grid.times), inner.drop, ends - node.range_ms, ends)

    # --- calls

    def _scalar_call(self, node: ast.Call, steps: Steps) -> Floats:
        match node.func.name:
            case "time":
                return steps.times / 1000
            case "pi":
                return np.full(len(steps), np.pi)
            case "scalar":
                return _only_value(self.vector(node.args[0], steps))
            case "min_of" | "max_of":
                left, right = (self.scalar(a, steps) for a in node.args)
                return np.minimum(left, right) if node.func.name == "min_of" else np.maximum(left, right)
        raise AssertionError(f"not a scalar function: {node.func.name}")

    def _call(self, node: ast.Call, steps: Steps) -> Vector:
        name = node.func.name
        if any(_range_arg(a) is not None for a in node.args):
            return self._range_call(node, steps)
        if name in MATH_FUNCTIONS:
            return self._nameless(map_floats(self.vector(node.args[0], steps), MATH_FUNCTIONS[name]))
        if name in DATE_FUNCTIONS:
            return self._date(node, steps)
        if name in HISTOGRAM_VALUES:
            vector = self.vector(node.args[0], steps)
            return self._nameless(histogram_values(vector, HISTOGRAM_VALUES[name]))
        if name.startswith("clamp"):
            return self._clamp(node, steps)
        if name.startswith("sort"):
            return self._sort(node, steps)
        return self._other(node, steps)

    def _other(self, node: ast.Call, steps: Steps) -> Vector:
        args = node.args
        match node.func.name:
            case "vector":
                values = np.array(self.scalar(args[0], steps))[np.newaxis, :]
                return Vector.of_floats([_NO_LABELS], values, np.ones(values.shape, np.bool_))
            case "absent":
                return self._absent(node, np.asarray(self.vector(args[0], steps).mask.any(axis=0)))
            case "round":
                nearest = self.scalar(args[1], steps) if len(args) > 1 else np.ones(len(steps))
                return self._nameless(round_to(self.vector(args[0], steps), nearest))
            case "label_replace":
                texts = [_text(a) for a in args[1:]]
                return label_replace(self.vector(args[0], steps), *texts)
            case "label_join":
                dst, separator, *sources = (_text(a) for a in args[1:])
                return label_join(self.vector(args[0], steps), dst, separator, sources)
            case "timestamp" | "start_timestamp":
                return self._timestamp(node, steps)
            case "info":
                return self._info(node, steps)
        return self._histogram_call(node, steps)

    def _histogram_call(self, node: ast.Call, steps: Steps) -> Vector:
        args = node.args
        if node.func.name == "histogram_fraction":
            lower, upper = self.scalar(args[0], steps), self.scalar(args[1], steps)
            vector = self.vector(args[2], steps)
            found = fractions(vector, lower, upper, args[2], self._annotations, delayed=self._delayed)
            return self._nameless(found)
        label: str | None = None
        if node.func.name == "histogram_quantile":
            place, wanted = args[1], args[:1]
        else:
            assert node.func.name == "histogram_quantiles", node.func.name
            place, label, wanted = args[0], _text(args[1]), args[2:]
        numbers = [(self.scalar(a, steps), a) for a in wanted]
        vector = self.vector(place, steps)
        found = quantiles(
            vector, numbers, label, place, steps.times, self._annotations, delayed=self._delayed
        )
        return self._nameless(found)

    def _date(self, node: ast.Call, steps: Steps) -> Vector:
        function = DATE_FUNCTIONS[node.func.name]
        if node.args:
            return self._nameless(map_floats(self.vector(node.args[0], steps), function))
        values = function(np.floor(steps.times / 1000))[np.newaxis, :]
        return Vector.of_floats([_NO_LABELS], values, np.ones(values.shape, np.bool_))

    def _clamp(self, node: ast.Call, steps: Steps) -> Vector:
        vector = self.vector(node.args[0], steps)
        bounds = [self.scalar(a, steps) for a in node.args[1:]]
        low, high = np.full(len(steps), -np.inf), np.full(len(steps), np.inf)
        match node.func.name:
            case "clamp":
                low, high = bounds
            case "clamp_min":
                low = bounds[0]
            case "clamp_max":
                high = bounds[0]
        return self._nameless(clamp(vector, low, high))

    def _sort(self, node: ast.Call, steps: Steps) -> Vector:
        vector = self.vector(node.args[0], steps)
        name = node.func.name
        by_value = not name.startswith("sort_by")
        if len(steps) > 1:
            self._annotations.add(notes.sort_in_range_query(node))
            return vector.with_mask(vector.float_mask).without_empty() if by_value else vector
        if by_value:
            return sort_by_value(vector, descending=name == "sort_desc")
        return sort_by_label(vector, [_text(a) for a in node.args[1:]], descending=name.endswith("desc"))

    def _absent(self, node: ast.Call, present: Bools) -> Vector:
        mask = ~present[np.newaxis, :]
        labels = absent_labels(_unmarked(node.args[0]))
        return Vector.of_floats([labels], np.ones(mask.shape), mask).without_empty()

    def _timestamp(self, node: ast.Call, steps: Steps) -> Vector:
        """The samples' own times for a selector; for any other expression the evaluation's."""
        arg = node.args[0]
        begins = node.func.name == "start_timestamp"
        selector = _unmarked(arg)
        if not isinstance(arg, ast.VectorSelector) or not isinstance(selector, ast.VectorSelector):
            vector = self.vector(arg, steps)
            times = np.broadcast_to(steps.times / 1000, vector.mask.shape)
            if begins:
                return vector.rows(slice(0, 0))
            return self._nameless(Vector.of_floats(vector.labels, times.copy(), vector.mask, vector.drop))
        batch, where = self._selection.positions(selector, steps)
        mask = where >= 0
        source: Ints | None = batch.timestamps_ms
        if begins:
            source = batch.start_timestamps_ms if self._options.use_start_timestamps else None
            if source is None and not self._options.use_start_timestamps:
                return empty_vector(len(steps))
        if source is None or not len(source):
            source = np.zeros(max(1, len(batch.timestamps_ms)), np.int64)
        found = Vector.of_floats(batch.labels, source[where] / 1000, mask).without_empty()
        return self._nameless(found)

    def _info(self, node: ast.Call, steps: Steps) -> Vector:
        at_ms, offset_ms = time_of(node.args[0])
        vector = self.vector(node.args[0], steps)

        def fetch(matchers: list[Matcher]) -> InfoSeries:
            batch, times = self._selection.info_times(matchers, at_ms, offset_ms, steps)
            return InfoSeries(batch.labels, times)

        return add_info(vector, node.args[1] if len(node.args) > 1 else None, fetch)

    # --- functions over range vectors

    def _range_call(self, node: ast.Call, steps: Steps) -> Vector:
        name = node.func.name
        index = next(i for i, a in enumerate(node.args) if _range_arg(a) is not None)
        arg = _range_arg(node.args[index])
        assert arg is not None
        scalars = [self.scalar(a, steps) for i, a in enumerate(node.args) if i != index]
        anchored = smoothed = False
        if isinstance(arg, ast.MatrixSelector):
            anchored, smoothed = arg.selector.anchored, arg.selector.smoothed
            _check_extended(name, anchored, smoothed)
            window = self._selection.windows(arg, steps, name)
        else:
            window = self._subquery_windows(arg, steps)
        if not self._options.use_start_timestamps or name not in USES_START_TIMES:
            window.start_times = None
        self._note_quantile(node, window, scalars)
        if self._options.advise and name in ADVISED and not (anchored or smoothed):
            for note in advice(name, node.args[index], window):
                self._annotations.add(note)
        call = RangeCall(
            node, node.args[index], window, scalars, steps.times, anchored, smoothed, self._annotations
        )
        result = call_range_function(call, self._context.check)
        if name == "absent_over_time":
            return self._nameless(self._absent(node, np.asarray(result.mask.any(axis=0))))
        if name in ("rate", "increase"):
            self._note_non_counters(node, result)
        result = result.without_empty()
        return self._range_names(name, result)

    def _range_names(self, name: str, result: Vector) -> Vector:
        if name in ("last_over_time", "first_over_time"):
            return result
        if self._delayed:
            return self._nameless(result)
        result = result.named(without_metadata(result.labels))
        if not _are_distinct(result):
            refuse_same_labels(result)
        return result

    def _note_quantile(self, node: ast.Call, window: RangeVector, scalars: list[Floats]) -> None:
        if node.func.name != "quantile_over_time" or not window.labels:
            return
        used, q = window.used, scalars[0]
        for value in np.unique(q[used & ~((q >= 0) & (q <= 1))]).tolist():
            self._annotations.add(notes.invalid_quantile(value, node.args[0]))

    def _note_non_counters(self, node: ast.Call, result: Vector) -> None:
        floats = any_in_rows(result.float_mask)
        seen: set[tuple[str, str]] = set()
        for labels in _metrics(result.labels, floats):
            name, kind = labels.name, labels.get("__type__")
            if not name or (name, kind) in seen:
                continue
            seen.add((name, kind))
            if self._options.type_and_unit_labels:
                if kind not in ("counter", "histogram"):
                    self._annotations.add(notes.possible_non_counter_label(name, kind, node.args[0]))
            elif not name.endswith(_COUNTER_SUFFIXES):
                self._annotations.add(notes.possible_non_counter(name, node.args[0]))


def _are_distinct(vector: Vector) -> bool:
    """Whether it is known at a glance that no two rows have equal labels."""
    return isinstance(vector.labels, InternedLabels) and vector.labels.are_distinct()


def _metrics(labels: Sequence[Labels], wanted: Bools) -> list[Labels]:
    """Labels of the wanted rows; where that is cheap, of each metric's once, with name and type alone."""
    if isinstance(labels, InternedLabels):
        groups, metrics = labels.grouped((METRIC_NAME, "__type__"), without=False)
        if len(metrics) == 1:
            return metrics if np.count_nonzero(wanted) else []
        return [metrics[i] for i in np.unique(groups[wanted]).tolist()]
    return [labels[i] for i in np.flatnonzero(wanted).tolist()]


def _check_extended(name: str, anchored: bool, smoothed: bool) -> None:
    for kind, used, safe in (("anchored", anchored, ANCHORED_SAFE), ("smoothed", smoothed, SMOOTHED_SAFE)):
        if used and name not in safe:
            raise QueryError(
                f"{kind} modifier can only be used with: {', '.join(sorted(safe))} - not with {name}"
            )


def _range_arg(node: Expr) -> ast.MatrixSelector | ast.SubqueryExpr | None:
    node = _unmarked(node)
    return node if isinstance(node, ast.MatrixSelector | ast.SubqueryExpr) else None


def _unmarked(node: Expr) -> Expr:
    while isinstance(node, StepInvariant | ast.ParenExpr):
        node = node.expr
    return node


def _text(node: Expr) -> str:
    literal = _unmarked(node)
    assert isinstance(literal, ast.StringLiteral)
    return literal.value


def _only_value(vector: Vector) -> Floats:
    """scalar(): the value where there is exactly one float sample, else NaN."""
    mask = vector.float_mask
    count = mask.sum(axis=0)
    values = np.where(mask, vector.values, 0.0).sum(axis=0) if len(mask) else np.zeros(mask.shape[1])
    return np.where(count == 1, values, np.nan)


_NO_LABELS = Labels()
