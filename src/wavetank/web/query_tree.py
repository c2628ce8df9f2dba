"""What each node of a query gives, and what it costs: the tree of the metrics page.

Mirrors the tree view of Prometheus' UI, which asks a query for every node; here one request evaluates them
all at one instant. A node's seconds include those of its children, as in a profile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.errors import CheckFailed, InputError
from wavetank.limits import CONSOLE_TREE_NODES_MAX
from wavetank.model.labels import Labels
from wavetank.monitoring.api.answer import answer, bad_data, endpoint
from wavetank.monitoring.api.params import read_params
from wavetank.monitoring.api.services import Services
from wavetank.promql import ast
from wavetank.promql.context import QueryContext
from wavetank.promql.engine import Engine
from wavetank.promql.parser import ParseError, parse_expr
from wavetank.promql.printer import print_expr
from wavetank.promql.result import Result

__all__ = ["children", "query_tree", "routes"]

_LABELS_SHOWN: Final = 8
_LITERALS: Final = (ast.NumberLiteral, ast.StringLiteral, ast.DurationExpr)


def children(node: ast.Expr) -> Iterator[ast.Expr]:
    """The operands that are worth a row: no literals, and no parentheses of their own."""
    match node:
        case ast.SubqueryExpr() | ast.UnaryExpr() | ast.ParenExpr():
            below: tuple[ast.Expr | None, ...] = (node.expr,)
        case ast.Call():
            below = node.args
        case ast.AggregateExpr():
            below = (node.param, node.expr)
        case ast.BinaryExpr():
            below = (node.lhs, node.rhs)
        case _:
            below = ()
    for child in below:
        inner = child
        while isinstance(inner, ast.ParenExpr):
            inner = inner.expr
        if inner is not None and not isinstance(inner, _LITERALS):
            yield inner


def _head(node: ast.Expr) -> tuple[str, str]:
    """The node's kind and a word for its row."""
    match node:
        case ast.Call():
            return "function", node.func.name
        case ast.AggregateExpr():
            how = " without" if node.without else " by" if node.grouping else ""
            return "aggregation", f"{node.op}{how}" + (f" ({', '.join(node.grouping)})" if how else "")
        case ast.BinaryExpr():
            return "operator", node.op
        case ast.UnaryExpr():
            return "operator", node.op
        case ast.SubqueryExpr():
            return "subquery", "subquery"
        case ast.MatrixSelector():
            return "range selector", print_expr(node)
        case _:
            return "selector", print_expr(node)


class _Budget:
    def __init__(self, nodes: int) -> None:
        self.left = nodes


def query_tree(
    services: Services, engine: Engine, node: ast.Expr, ts_ms: int, context: QueryContext, budget: _Budget
) -> dict[str, Any]:
    """The node and all below it, evaluated at an instant. Failures of a node are its own row's error."""
    budget.left -= 1
    kind, name = _head(node)
    text = print_expr(node)
    shown: dict[str, Any] = {"kind": kind, "name": name, "expr": text, "type": node.type}
    if budget.left < 0:
        return {**shown, "error": "not evaluated: the query has too many nodes", "children": []}
    started = services.clock.monotonic()
    read = context.samples_read
    try:
        result = engine.query_instant(services.db, text, ts_ms, context)
        shown |= _figures(result)
    except (CheckFailed, InputError) as error:
        shown["error"] = error.message
    shown["seconds"] = services.clock.monotonic() - started
    shown["samplesRead"] = context.samples_read - read
    shown["children"] = [
        query_tree(services, engine, child, ts_ms, context, budget) for child in children(node)
    ]
    return shown


def _figures(result: Result) -> dict[str, Any]:
    """How many series and samples, and which labels tell the series apart."""
    if result.type in ("scalar", "string"):
        return {"series": 1, "samples": 1, "labels": []}
    samples = int(result.raw.offsets[-1]) if result.raw is not None else int(result.mask.sum())
    return {"series": len(result.labels), "samples": samples, "labels": _label_counts(result.labels)}


def _label_counts(series: Any) -> list[dict[str, Any]]:
    values: dict[str, set[str]] = defaultdict(set)
    found: Labels
    for found in series:
        for name, value in found.pairs:
            values[name].add(value)
    top = sorted(values.items(), key=lambda item: (-len(item[1]), item[0]))[:_LABELS_SHOWN]
    return [{"name": name, "values": len(distinct)} for name, distinct in top]


def routes(services: Services) -> list[Route]:
    """``/query_tree``, below ``/api/wavetank``; parameters as those of ``/api/v1/query``."""
    engine = Engine(services.queries.options, services.clock)

    async def tree(request: Request) -> Response:
        params = await read_params(request)
        try:
            expr = parse_expr(params.text("query"), services.queries.options.parser)
        except ParseError as error:
            raise bad_data(f'invalid parameter "query": {error.message}') from None
        ts_ms = params.time_ms("time", round(services.clock.now() * 1000))
        context = QueryContext.of(services.queries.options, services.clock)
        while isinstance(expr, ast.ParenExpr):
            expr = expr.expr
        try:
            found = await services.queries.run(
                lambda: query_tree(services, engine, expr, ts_ms, context, _Budget(CONSOLE_TREE_NODES_MAX))
            )
        finally:
            context.cancel()
        return answer(found)

    return [Route("/query_tree", endpoint(tree), methods=["GET", "POST"])]
