"""Expressions back to text: on one line, and laid out over several.

Mirrors ``promql/parser/printer.go`` and ``prettier.go``: ``print_expr`` is what ``str(expr)`` gives,
``pretty`` what ``promtool promql format`` prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wavetank.model.duration import format_duration
from wavetank.model.labels import METRIC_NAME, Matcher, MatchType, is_legacy_label
from wavetank.model.quoting import format_float_f, format_float_g, quote
from wavetank.promql import ast
from wavetank.promql.ast import Expr

__all__ = ["pretty", "print_expr"]

LINE_CHARACTERS_MAX: Final = 100


def print_expr(node: Expr) -> str:
    """The expression on one line; parsing it again gives the same tree."""
    match node:
        case ast.NumberLiteral():
            return _number(node)
        case ast.StringLiteral():
            return quote(node.value)
        case ast.VectorSelector():
            extended = " anchored" if node.anchored else " smoothed" if node.smoothed else ""
            return f"{_bare(node)}{_at(node)}{extended}{_offset(node)}"
        case ast.MatrixSelector():
            inner = node.selector
            extended = " anchored" if inner.anchored else " smoothed" if inner.smoothed else ""
            width = _duration(node.range_ms, node.range_expr)
            return f"{_bare(inner)}[{width}]{extended}{_at(inner)}{_offset(inner)}"
        case ast.SubqueryExpr():
            return print_expr(node.expr) + _subquery_suffix(node)
        case ast.Call():
            return f"{node.func.name}({', '.join(map(print_expr, node.args))})"
        case ast.AggregateExpr():
            param = "" if node.param is None else print_expr(node.param) + ", "
            return f"{_aggregate_head(node)}({param}{print_expr(node.expr)})"
        case ast.BinaryExpr():
            return f"{print_expr(node.lhs)} {_binary_head(node)} {print_expr(node.rhs)}"
        case ast.UnaryExpr():
            return node.op + print_expr(node.expr)
        case ast.ParenExpr():
            return f"({print_expr(node.expr)})"
        case ast.DurationExpr():
            return _duration_expr(node)
    raise TypeError(f"not an expression: {node!r}")


def _number(node: ast.NumberLiteral) -> str:
    if node.is_duration:
        return format_duration(int(node.value * 1000 + (0.5 if node.value >= 0 else -0.5)))
    return format_float_f(node.value)


def _bare(node: ast.VectorSelector) -> str:
    """Name and matchers, without modifiers; the matcher that only repeats the name is left out."""
    shown = sorted(str(m) for m in node.matchers if not _is_name(m, node.name))
    return node.name + (f"{{{','.join(shown)}}}" if shown else "")


def _is_name(matcher: Matcher, name: str) -> bool:
    return (
        matcher.name == METRIC_NAME
        and matcher.type is MatchType.EQUAL
        and matcher.value == name
        and matcher.value != ""
    )


def _at(node: ast.VectorSelector | ast.SubqueryExpr) -> str:
    if node.at_ms is not None:
        return f" @ {node.at_ms / 1000:.3f}"
    return f" @ {node.at}()" if node.at else ""


def _offset(node: ast.VectorSelector | ast.SubqueryExpr) -> str:
    if node.offset_expr is not None:
        return f" offset {print_expr(node.offset_expr)}"
    return f" offset {format_duration(node.offset_ms)}" if node.offset_ms != 0 else ""


def _duration(ms: int, expr: ast.DurationExpr | None) -> str:
    return format_duration(ms) if expr is None else print_expr(expr)


def _subquery_suffix(node: ast.SubqueryExpr) -> str:
    step = _duration(node.step_ms, node.step_expr) if node.step_ms or node.step_expr else ""
    return f"[{_duration(node.range_ms, node.range_expr)}:{step}]{_at(node)}{_offset(node)}"


def _labels(names: Iterable[str]) -> str:
    return ", ".join(n if is_legacy_label(n) else quote(n) for n in names)


def _aggregate_head(node: ast.AggregateExpr) -> str:
    if node.without:
        return f"{node.op} without ({_labels(node.grouping)}) "
    return f"{node.op} by ({_labels(node.grouping)}) " if node.grouping else node.op


def _binary_head(node: ast.BinaryExpr) -> str:
    """The operator with its modifiers."""
    head = node.op + (" bool" if node.return_bool else "")
    m = node.matching
    if m is None:
        return head
    grouped = m.card in ("many-to-one", "one-to-many")
    if m.labels or m.on or grouped:
        head += f" {'on' if m.on else 'ignoring'} ({_labels(m.labels)})"
    if grouped:
        head += f" group_{'left' if m.card == 'many-to-one' else 'right'} ({_labels(m.include)})"
    if m.fill_left is not None and m.fill_left == m.fill_right:
        return f"{head} fill ({format_float_g(m.fill_left)})"
    if m.fill_left is not None:
        head += f" fill_left ({format_float_g(m.fill_left)})"
    if m.fill_right is not None:
        head += f" fill_right ({format_float_g(m.fill_right)})"
    return head


def _duration_expr(node: ast.DurationExpr) -> str:
    if node.op in ("step", "range"):
        text = f"{node.op}()"
    elif node.op in ("min_of", "max_of"):
        assert node.lhs is not None and node.rhs is not None
        text = f"{node.op}({print_expr(node.lhs)}, {print_expr(node.rhs)})"
    else:
        assert node.rhs is not None
        right = print_expr(node.rhs)
        if node.lhs is None:
            text = right if node.op == "+" else f"{node.op}{right}"
        else:
            text = f"{print_expr(node.lhs)} {node.op} {right}"
    return f"({text})" if node.wrapped else text


def pretty(node: Expr) -> str:
    """Laid out with two spaces a level; what fits in 100 characters stays on its line."""
    return _pretty(node, 0)


def _pretty(node: Expr, level: int) -> str:
    indent = "  " * level
    text = print_expr(node)
    match node:
        case ast.UnaryExpr():
            return f"{indent}{node.op}{_pretty(node.expr, level).strip()}"
        case ast.SubqueryExpr():
            if len(text) <= LINE_CHARACTERS_MAX:
                return text
            return _pretty(node.expr, level) + _subquery_suffix(node)
    if len(text) <= LINE_CHARACTERS_MAX or isinstance(
        node, ast.VectorSelector | ast.MatrixSelector | ast.NumberLiteral | ast.StringLiteral
    ):
        return indent + text
    match node:
        case ast.AggregateExpr():
            param = "" if node.param is None else _pretty(node.param, level + 1) + ",\n"
            return f"{indent}{_aggregate_head(node)}(\n{param}{_pretty(node.expr, level + 1)}\n{indent})"
        case ast.BinaryExpr():
            lhs, rhs = _pretty(node.lhs, level + 1), _pretty(node.rhs, level + 1)
            return f"{lhs}\n{indent}{_binary_head(node)}\n{rhs}"
        case ast.Call():
            args = ",\n".join(_pretty(a, level + 1) for a in node.args)
            return f"{indent}{node.func.name}(\n{args}\n{indent})"
        case ast.ParenExpr():
            return f"{indent}(\n{_pretty(node.expr, level + 1)}\n{indent})"
    return indent + text
