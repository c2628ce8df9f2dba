"""The query engine: text to columns.

Mirrors ``promql/engine.go``, column-wise: every node of the expression is evaluated once for all steps.
``Engine`` parses and plans, ``wavetank.promql.evaluator`` computes. All calls are synchronous; the kernels
release the GIL, so callers may run queries in threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import le

import numpy as np

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.limits import PROMQL_CACHED_QUERIES, PROMQL_CACHED_TEXT_MAX, PROMQL_STEPS_MAX
from wavetank.model.labels import Labels
from wavetank.promql import ast
from wavetank.promql.annotations import Annotations
from wavetank.promql.context import EngineOptions, QueryContext
from wavetank.promql.evaluator import Evaluator
from wavetank.promql.failures import QueryCanceled, QueryError, QueryTimeout, QueryTooBig
from wavetank.promql.options import ParserOptions
from wavetank.promql.parser import parse_expr
from wavetank.promql.planner import is_same_for_all_bounds, plan
from wavetank.promql.result import Result
from wavetank.promql.storage import Queryable
from wavetank.promql.vector import Steps, Vector, merge_same_labels

__all__ = [
    "Engine",
    "EngineOptions",
    "QueryCanceled",
    "QueryContext",
    "QueryError",
    "QueryTimeout",
    "QueryTooBig",
]


class Engine:
    """Runs queries over any ``Queryable``."""

    def __init__(self, options: EngineOptions | None = None, clock: Clock | None = None) -> None:
        self.options = options or EngineOptions()
        self._clock = clock

    def query_instant(
        self, queryable: Queryable, text: str, ts_ms: int, context: QueryContext | None = None
    ) -> Result:
        """The query at one instant. Raises ParseError or QueryError."""
        query = _parsed(text, self.options.parser)
        steps = Steps.of(ts_ms, ts_ms, 1)
        return self._run(queryable, text, query, steps, 0, context)

    def query_range(
        self,
        queryable: Queryable,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        context: QueryContext | None = None,
    ) -> Result:
        """The query at start, start + step, ... up to end. Raises ParseError, InputError or QueryError."""
        if step_ms <= 0:
            raise InputError(f"step of {step_ms} ms: must be positive", fix="give a step above zero")
        query = _parsed(text, self.options.parser)
        expr = query.expr
        if expr.type not in ("vector", "scalar"):
            kind = ast.documented_type(expr.type)
            raise InputError(
                f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector'
            )
        count = (end_ms - start_ms) // step_ms + 1
        if count > PROMQL_STEPS_MAX:
            raise QueryTooBig(f"query of {count} steps, {PROMQL_STEPS_MAX} allowed", fix="widen the step")
        steps = Steps.of(start_ms, end_ms, step_ms)
        return self._run(queryable, text, query, steps, step_ms, context, end_ms=end_ms)

    def _run(
        self,
        queryable: Queryable,
        text: str,
        query: _Query,
        steps: Steps,
        step_ms: int,
        context: QueryContext | None,
        end_ms: int | None = None,
    ) -> Result:
        context = context or QueryContext.of(self.options, self._clock)
        annotations = Annotations()
        if not len(steps):
            return _empty_range()
        instant = step_ms == 0
        planned = query.planned
        if planned is None:
            planned = plan(query.expr, steps.first, steps.last if end_ms is None else end_ms, step_ms)
        evaluator = Evaluator(queryable, self.options, context, annotations)
        context.check()
        result = self._result(evaluator, query.expr, planned, steps, instant)
        context.check()
        if annotations or annotations.storage_warnings:
            result.warnings = annotations.warnings(text)
            result.infos = annotations.infos(text)
        result.samples_peak = context.samples_peak
        return result

    def _result(
        self, evaluator: Evaluator, expr: ast.Expr, planned: ast.Expr, steps: Steps, instant: bool
    ) -> Result:
        if expr.type == "string":
            literal = _unwrap(expr)
            assert isinstance(literal, ast.StringLiteral)
            none = np.zeros((0, 1))
            return Result("string", [], steps.times, none, none.astype(bool), text=literal.value)
        if expr.type == "scalar":
            values = np.array(evaluator.scalar(planned, steps))[np.newaxis, :]
            kind = "scalar" if instant else "matrix"
            labels = [] if instant else [_NO_LABELS]
            mask = np.ones(values.shape, np.bool_)
            return Result(kind, labels, steps.times, values, mask)  # type: ignore[arg-type]
        if expr.type == "matrix":
            return Result.of_raw(evaluator.raw(planned, steps))
        vector = evaluator.vector(planned, steps)
        return self._vector_result(vector, steps, instant)

    def _vector_result(self, vector: Vector, steps: Steps, instant: bool) -> Result:
        if self.options.delayed_name_removal and vector.drop.any():
            labels = [
                lb.without_metadata() if d else lb for lb, d in zip(vector.labels, vector.drop, strict=True)
            ]
            vector = Vector(
                labels, vector.values, vector.mask, vector.drop, vector.histograms, vector.is_histogram
            )
        if self.options.delayed_name_removal:
            vector = merge_same_labels(vector)
        vector = vector.without_empty()
        if not instant:
            vector = _in_order(vector)
        kind = "vector" if instant else "matrix"
        return Result(
            kind,  # type: ignore[arg-type]
            vector.labels,
            steps.times,
            vector.values,
            vector.mask,
            vector.histograms,
        )


def _in_order(vector: Vector) -> Vector:
    """Rows sorted by labels, which they mostly are."""
    pairs = [labels.pairs for labels in vector.labels]
    if all(map(le, pairs, pairs[1:])):
        return vector
    order = sorted(range(len(pairs)), key=pairs.__getitem__)
    return vector.rows(np.array(order, np.int64))


@dataclass(frozen=True, slots=True)
class _Query:
    """The syntax tree, and the plan where it is the same for all bounds."""

    expr: ast.Expr
    planned: ast.Expr | None

    @classmethod
    def of(cls, text: str, options: ParserOptions) -> _Query:
        """Raises ParseError."""
        expr = parse_expr(text, options)
        return cls(expr, plan(expr, 0, 0, 0) if is_same_for_all_bounds(expr) else None)


def _parsed(text: str, options: ParserOptions) -> _Query:
    """Dashboards and rules ask the same again and again. Raises ParseError."""
    return _cached(text, options) if len(text) <= PROMQL_CACHED_TEXT_MAX else _Query.of(text, options)


_cached = lru_cache(maxsize=PROMQL_CACHED_QUERIES)(_Query.of)


def _unwrap(expr: ast.Expr) -> ast.Expr:
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    return expr


def _empty_range() -> Result:
    none = np.zeros((0, 0))
    return Result("matrix", [], np.zeros(0, np.int64), none, none.astype(bool))


_NO_LABELS = Labels()
