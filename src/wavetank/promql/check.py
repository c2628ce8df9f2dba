"""Type checking of a parsed expression, with upstream's texts.

Mirrors ``parser.checkAST``, which also settles vector matching: here that is a second pass, because nodes are
immutable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from wavetank.model.labels import METRIC_NAME
from wavetank.model.quoting import quote
from wavetank.promql import ast
from wavetank.promql.ast import Expr, documented_type
from wavetank.promql.tokens import COMPARISONS, SET_OPERATORS

__all__ = ["check_types", "settle"]

Complaint: TypeAlias = tuple[str, int, int]


def check_types(expr: Expr) -> Iterator[Complaint]:
    """What is wrong with an expression: text, start and end of the place."""
    yield from _check(expr, info_data=False)


def settle(node: Expr) -> Expr:
    """The checked tree with vector matching as it will be done: none where a side is a scalar,
    many-to-many for set operators. Nodes that stay the same are shared."""
    match node:
        case ast.AggregateExpr():
            param = None if node.param is None else settle(node.param)
            return replace(node, expr=settle(node.expr), param=param)
        case ast.BinaryExpr():
            return _settle_binary(replace(node, lhs=settle(node.lhs), rhs=settle(node.rhs)))
        case ast.Call():
            return replace(node, args=tuple(settle(a) for a in node.args))
        case ast.SubqueryExpr() | ast.ParenExpr() | ast.UnaryExpr():
            return replace(node, expr=settle(node.expr))
    return node


def _settle_binary(node: ast.BinaryExpr) -> ast.BinaryExpr:
    if node.lhs.type != "vector" or node.rhs.type != "vector" or node.matching is None:
        return replace(node, matching=None)
    if node.op in SET_OPERATORS:
        return replace(node, matching=replace(node.matching, card="many-to-many"))
    return node


def _check(node: Expr, *, info_data: bool) -> Iterator[Complaint]:
    match node:
        case ast.AggregateExpr():
            yield from _aggregate(node)
        case ast.BinaryExpr():
            yield from _check(node.lhs, info_data=False)
            yield from _check(node.rhs, info_data=False)
            yield from _binary(node)
        case ast.Call():
            yield from _call(node)
        case ast.ParenExpr():
            yield from _check(node.expr, info_data=False)
        case ast.UnaryExpr():
            yield from _check(node.expr, info_data=False)
            kind = node.expr.type
            if kind not in ("scalar", "vector"):
                text = (
                    "unary expression only allowed on expressions of type scalar or instant vector, got "
                    f"{quote(documented_type(kind))}"
                )
                yield text, node.start, node.end
        case ast.SubqueryExpr():
            yield from _check(node.expr, info_data=False)
            if node.expr.type != "vector":
                text = f"subquery is only allowed on instant vector, got {node.expr.type} instead"
                yield text, node.start, node.end
        case ast.MatrixSelector():
            yield from _check(node.selector, info_data=False)
        case ast.VectorSelector():
            yield from _selector(node, info_data)


def _expect(node: Expr, wanted: ast.ValueType, context: str) -> Iterator[Complaint]:
    yield from _check(node, info_data=False)
    if node.type != wanted:
        text = f"expected type {documented_type(wanted)} in {context}, got {documented_type(node.type)}"
        yield text, node.start, node.end


def _aggregate(node: ast.AggregateExpr) -> Iterator[Complaint]:
    yield from _expect(node.expr, "vector", "aggregation expression")
    if node.param is not None:
        wanted: ast.ValueType = "string" if node.op == "count_values" else "scalar"
        yield from _expect(node.param, wanted, "aggregation parameter")


def _binary(node: ast.BinaryExpr) -> Iterator[Complaint]:
    left, right = node.lhs.type, node.rhs.type
    op_span = (node.lhs.end, node.rhs.start)
    matching = node.matching
    assert matching is not None
    if node.return_bool and node.op not in COMPARISONS:
        yield "bool modifier can only be used on comparison operators", *op_span
    if node.op in COMPARISONS and not node.return_bool and left == right == "scalar":
        yield "comparisons between scalars must use BOOL modifier", *op_span
    for label in matching.labels:
        if matching.on and label in matching.include:
            yield f"label {quote(label)} must not occur in ON and GROUP clause at once", *op_span
    for side, kind in ((node.lhs, left), (node.rhs, right)):
        if kind not in ("scalar", "vector"):
            text = "binary expression must contain only scalar and instant vector types"
            yield text, side.start, side.end
    filled = matching.fill_left is not None or matching.fill_right is not None
    if left != "vector" or right != "vector":
        if matching.labels:
            yield "vector matching only allowed between instant vectors", node.start, node.end
        if filled:
            yield "filling in missing series only allowed between instant vectors", node.start, node.end
    elif node.op in SET_OPERATORS:
        if matching.card in ("one-to-many", "many-to-one"):
            yield f"no grouping allowed for {quote(node.op)} operation", node.start, node.end
            yield "set operations must always be many-to-many", node.start, node.end
        if filled:
            yield "filling in missing series not allowed for set operators", node.start, node.end
    if node.op in SET_OPERATORS and "scalar" in (left, right):
        text = f"set operator {quote(node.op)} not allowed in binary scalar expression"
        yield text, node.start, node.end


def _call(node: ast.Call) -> Iterator[Complaint]:
    func, count = node.func, len(node.args)
    known = len(func.args)
    name = quote(func.name)
    if func.variadic == 0:
        if count != known:
            yield f"expected {known} argument(s) in call to {name}, got {count}", node.start, node.end
    elif known - 1 > count:
        text = f"expected at least {known - 1} argument(s) in call to {name}, got {count}"
        yield text, node.start, node.end
    elif 0 < func.variadic < count - known + 1:
        most = known - 1 + func.variadic
        yield f"expected at most {most} argument(s) in call to {name}, got {count}", node.start, node.end
    if func.name == "info" and count > 1:
        yield from _info_data(node)
    for i, arg in enumerate(node.args):
        if i >= known and func.variadic == 0:
            break
        wanted = func.args[min(i, known - 1)]
        yield from _check(arg, info_data=func.name == "info" and i == 1)
        if arg.type != wanted:
            text = (
                f"expected type {documented_type(wanted)} in call to function {name}, "
                f"got {documented_type(arg.type)}"
            )
            yield text, arg.start, arg.end


def _info_data(node: ast.Call) -> Iterator[Complaint]:
    """The second argument of info() is only a place to write label matchers."""
    data = node.args[1]
    if data.type != "vector":
        text = f'expected type instant vector in call to function "info", got {documented_type(data.type)}'
        yield text, node.start, node.end
    if isinstance(data, ast.VectorSelector):
        if data.name:
            text = "expected label selectors only, got vector selector instead"
            yield text, data.start, data.end
    else:
        yield "expected label selectors only", data.start, data.end


def _selector(node: ast.VectorSelector, info_data: bool) -> Iterator[Complaint]:
    if node.name:
        for matcher in node.matchers[:-1]:
            if matcher.name == METRIC_NAME:
                text = f"metric name must not be set twice: {quote(node.name)} or {quote(matcher.value)}"
                yield text, node.start, node.end
    elif not info_data and all(m.matches("") for m in node.matchers):
        yield "vector selector must contain at least one non-empty matcher", node.start, node.end
