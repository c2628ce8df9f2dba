"""From a parsed expression to one ready to evaluate.

Mirrors ``PreprocessExpr`` of ``promql/engine.go``: the functions of the query's own bounds become numbers,
duration expressions become durations, ``@ start()`` and ``@ end()`` become timestamps, needless parentheses
go, and the largest parts that give the same at every step are marked, to be evaluated once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from wavetank.promql import ast
from wavetank.promql.ast import Expr
from wavetank.promql.durations import evaluate_duration

__all__ = ["AT_MODIFIER_UNSAFE", "StepInvariant", "is_same_for_all_bounds", "plan"]

# Functions whose result depends on the evaluation time even if their arguments do not.
AT_MODIFIER_UNSAFE: Final = frozenset(
    ("days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year")
).union(("end", "predict_linear", "range", "start", "step", "time", "timestamp"))


@dataclass(frozen=True, slots=True)
class StepInvariant(Expr):
    """An expression to be evaluated at the first step only."""

    expr: Expr

    @property
    def type(self) -> ast.ValueType:
        return self.expr.type

    @property
    def start(self) -> int:
        return self.expr.start

    @property
    def end(self) -> int:
        return self.expr.end


@dataclass(frozen=True, slots=True)
class _Bounds:
    start_ms: int
    end_ms: int
    step_ms: int  # 0 for an instant query


def plan(expr: Expr, start_ms: int, end_ms: int, step_ms: int) -> Expr:
    """Ready to evaluate over these steps; ``step_ms`` 0 is an instant query.

    Raises InputError if a duration expression has no valid value.
    """
    resolved = _resolve(expr, _Bounds(start_ms, end_ms, step_ms), False)
    marked, invariant, wraps = _mark(resolved)
    return StepInvariant(marked) if invariant and wraps else marked


def is_same_for_all_bounds(expr: Expr) -> bool:
    """Whether ``plan`` gives the same for any bounds, as for nearly all queries."""
    for node in ast.walk(expr):
        match node:
            case ast.VectorSelector():
                depends = bool(node.at) or node.offset_expr is not None
            case ast.MatrixSelector():
                depends = node.range_expr is not None
            case ast.SubqueryExpr():
                fixed = node.range_expr is None and node.step_expr is None and node.offset_expr is None
                depends = bool(node.at) or not fixed
            case ast.Call():
                depends = node.func.name in ("start", "end", "range", "step")
            case _:
                depends = False
        if depends:
            return False
    return True


def _resolve(node: Expr, bounds: _Bounds, stats: bool | None) -> Expr:
    """``stats``: whether only counts and sums of histograms are wanted; None once that is ruled out."""
    match node:
        case ast.VectorSelector():
            at_ms, offset_ms = _modifiers(node, bounds)
            return replace(node, at_ms=at_ms, offset_ms=offset_ms, stats_only=bool(stats))
        case ast.MatrixSelector():
            range_ms = node.range_ms
            if node.range_expr is not None:
                range_ms = _evaluate(node.range_expr, bounds)
            selector = _resolve(node.selector, bounds, stats)
            assert isinstance(selector, ast.VectorSelector)
            return replace(node, selector=selector, range_ms=range_ms)
        case ast.SubqueryExpr():
            range_ms, step_ms = node.range_ms, node.step_ms
            if node.range_expr is not None:
                range_ms = _evaluate(node.range_expr, bounds)
            if node.step_expr is not None:
                step_ms = _evaluate(node.step_expr, bounds)
            at_ms, offset_ms = _modifiers(node, bounds)
            return replace(
                node,
                expr=_resolve(node.expr, bounds, None),
                range_ms=range_ms,
                step_ms=step_ms,
                at_ms=at_ms,
                offset_ms=offset_ms,
            )
        case ast.Call():
            number = _bound_function(node, bounds)
            if number is not None:
                return ast.NumberLiteral(number, False, node.span)
            stats = _stats_below(node.func.name, stats)
            return replace(node, args=tuple(_unwrapped(_resolve(a, bounds, stats)) for a in node.args))
        case ast.AggregateExpr():
            param = None if node.param is None else _unwrapped(_resolve(node.param, bounds, stats))
            return replace(node, expr=_unwrapped(_resolve(node.expr, bounds, stats)), param=param)
        case ast.BinaryExpr():
            stats = None if node.op in ("</", ">/") else stats
            return replace(node, lhs=_resolve(node.lhs, bounds, stats), rhs=_resolve(node.rhs, bounds, stats))
        case ast.UnaryExpr() | ast.ParenExpr():
            return replace(node, expr=_resolve(node.expr, bounds, stats))
    return node


def _stats_below(name: str, stats: bool | None) -> bool | None:
    if name in ("histogram_quantile", "histogram_quantiles", "histogram_fraction"):
        return None
    if name in ("histogram_count", "histogram_sum", "histogram_avg") and stats is not None:
        return True
    return stats


def _modifiers(node: ast.VectorSelector | ast.SubqueryExpr, bounds: _Bounds) -> tuple[int | None, int]:
    at_ms = node.at_ms
    if node.at:
        at_ms = bounds.start_ms if node.at == "start" else bounds.end_ms
    offset_ms = node.offset_ms
    if node.offset_expr is not None:
        width = bounds.end_ms - bounds.start_ms
        offset_ms = evaluate_duration(node.offset_expr, bounds.step_ms, width, signed=True)
    return at_ms, offset_ms


def _evaluate(expr: ast.DurationExpr, bounds: _Bounds) -> int:
    return evaluate_duration(expr, bounds.step_ms, bounds.end_ms - bounds.start_ms, signed=False)


def _bound_function(node: ast.Call, bounds: _Bounds) -> float | None:
    """The value of start(), end(), range() and step(), in seconds."""
    match node.func.name:
        case "start":
            return bounds.start_ms / 1000
        case "end":
            return bounds.end_ms / 1000
        case "range":
            return (bounds.end_ms - bounds.start_ms) / 1000
        case "step":
            return bounds.step_ms / 1000 if bounds.start_ms != bounds.end_ms else 0.0
    return None


def _unwrapped(node: Expr) -> Expr:
    while isinstance(node, ast.ParenExpr):
        node = node.expr
    return node


def _mark(node: Expr) -> tuple[Expr, bool, bool]:
    """The node with its invariant children marked; whether it is invariant itself; whether marking pays."""
    match node:
        case ast.VectorSelector():
            fixed = node.at_ms is not None
            return node, fixed, fixed
        case ast.MatrixSelector():
            return node, node.selector.at_ms is not None, False
        case ast.NumberLiteral() | ast.StringLiteral():
            return node, True, False
        case ast.SubqueryExpr():
            inner, invariant, _ = _mark(node.expr)
            # Marked even where nothing is gained: an @ inside is then evaluated once for the subquery.
            marked = replace(node, expr=StepInvariant(inner) if invariant else inner)
            return marked, node.at_ms is not None, False
        case ast.ParenExpr() | ast.UnaryExpr():
            inner, invariant, wraps = _mark(node.expr)
            return replace(node, expr=inner), invariant, wraps
        case ast.AggregateExpr():
            inner, invariant, wraps = _mark(node.expr)
            return replace(node, expr=inner), invariant, wraps
        case ast.BinaryExpr():
            lhs, rhs = _mark(node.lhs), _mark(node.rhs)
            if lhs[1] and rhs[1]:
                return replace(node, lhs=lhs[0], rhs=rhs[0]), True, True
            return replace(node, lhs=_wrap(*lhs), rhs=_wrap(*rhs)), False, False
        case ast.Call():
            return _mark_call(node)
    return node, False, False


def _wrap(node: Expr, _invariant: bool, wraps: bool) -> Expr:
    return StepInvariant(node) if wraps else node


def _mark_call(node: ast.Call) -> tuple[Expr, bool, bool]:
    args = [_mark(a) for a in node.args]
    all_invariant = all(invariant for _, invariant, _ in args)
    # timestamp() of a selector with @ is the sample's own time, the same at every step.
    own_time = node.func.name == "timestamp" and all(isinstance(a, ast.VectorSelector) for a in node.args)
    if all_invariant and (own_time or node.func.name not in AT_MODIFIER_UNSAFE):
        return replace(node, args=tuple(a for a, _, _ in args)), True, True
    return replace(node, args=tuple(_wrap(*a) for a in args)), False, False
