"""A parsed query as JSON, for ``/parse_query``.

Mirrors translateAST of web/api/v1/translate_ast.go: node types, field names, and durations in milliseconds.
"""

from __future__ import annotations

from typing import Any

from wavetank.model.labels import Matcher
from wavetank.model.quoting import format_float
from wavetank.promql import ast

__all__ = ["tree"]


def _matchers(matchers: tuple[Matcher, ...]) -> list[dict[str, str]]:
    return [{"name": m.name, "value": m.value, "type": m.type.value} for m in matchers]


def _selector(node: ast.VectorSelector) -> dict[str, Any]:
    return {
        "name": node.name,
        "offset": node.offset_ms,
        "matchers": _matchers(tuple(node.matchers)),
        "timestamp": node.at_ms,
        "startOrEnd": node.at or None,
        "anchored": node.anchored,
        "smoothed": node.smoothed,
    }


def tree(node: ast.Expr) -> dict[str, Any]:
    """The node and all below it."""
    match node:
        case ast.NumberLiteral():
            return {"type": "numberLiteral", "val": format_float(node.value)}
        case ast.StringLiteral():
            return {"type": "stringLiteral", "val": node.value}
        case ast.VectorSelector():
            return {"type": "vectorSelector", **_selector(node)}
        case ast.MatrixSelector():
            return {"type": "matrixSelector", "range": node.range_ms, **_selector(node.selector)}
        case ast.SubqueryExpr():
            return {
                "type": "subquery",
                "expr": tree(node.expr),
                "range": node.range_ms,
                "offset": node.offset_ms,
                "step": node.step_ms,
                "timestamp": node.at_ms,
                "startOrEnd": node.at or None,
            }
        case ast.ParenExpr():
            return {"type": "parenExpr", "expr": tree(node.expr)}
        case ast.UnaryExpr():
            return {"type": "unaryExpr", "op": node.op, "expr": tree(node.expr)}
        case ast.Call():
            return {"type": "call", "func": _function(node), "args": [tree(arg) for arg in node.args]}
        case ast.AggregateExpr():
            return {
                "type": "aggregation",
                "op": node.op,
                "expr": tree(node.expr),
                "param": None if node.param is None else tree(node.param),
                "grouping": list(node.grouping),
                "without": node.without,
            }
        case ast.BinaryExpr():
            return _binary(node)
        case _:
            return {"type": "unknown"}


def _function(node: ast.Call) -> dict[str, Any]:
    return {
        "name": node.func.name,
        "argTypes": list(node.func.args),
        "variadic": node.func.variadic,
        "returnType": node.type,
    }


def _binary(node: ast.BinaryExpr) -> dict[str, Any]:
    matching = None
    if node.matching is not None:
        matching = {
            "card": node.matching.card,
            "labels": list(node.matching.labels),
            "on": node.matching.on,
            "include": list(node.matching.include),
        }
    return {
        "type": "binaryExpr",
        "op": node.op,
        "lhs": tree(node.lhs),
        "rhs": tree(node.rhs),
        "matching": matching,
        "bool": node.return_bool,
    }
