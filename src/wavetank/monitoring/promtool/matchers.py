"""Editing the label matchers of a query: ``promtool promql label-matchers``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from wavetank.model.labels import METRIC_NAME, Matcher, MatchType
from wavetank.promql import ast
from wavetank.promql.options import ParserOptions
from wavetank.promql.parser import parse_expr
from wavetank.promql.printer import pretty

__all__ = ["with_matcher", "without_matcher"]

_Edit = Callable[[ast.VectorSelector], ast.VectorSelector]


def with_matcher(query: str, name: str, kind: str, value: str, options: ParserOptions) -> str:
    """The query with this matcher in every selector, in place of one for the label. Raises ParseError."""
    made = Matcher(MatchType(kind), name, value)

    def edit(selector: ast.VectorSelector) -> ast.VectorSelector:
        found = tuple(made if m.name == name else m for m in selector.matchers)
        return _named(selector, found if made in found else (*found, made), name)

    return pretty(_edited(parse_expr(query, options), edit))


def without_matcher(query: str, name: str, options: ParserOptions) -> str:
    """The query without matchers for the label. Raises ParseError."""

    def edit(selector: ast.VectorSelector) -> ast.VectorSelector:
        return _named(selector, tuple(m for m in selector.matchers if m.name != name), name)

    return pretty(_edited(parse_expr(query, options), edit))


def _named(selector: ast.VectorSelector, matchers: tuple[Matcher, ...], edited: str) -> ast.VectorSelector:
    """A name in front of the braces stands for a matcher: it goes when that matcher is edited."""
    name = "" if edited == METRIC_NAME else selector.name
    return replace(selector, name=name, matchers=matchers)


def _edited(node: Any, edit: _Edit) -> Any:
    """The tree with every selector replaced."""
    if isinstance(node, ast.VectorSelector):
        return edit(node)
    if isinstance(node, tuple):
        return tuple(_edited(each, edit) for each in node)
    if not isinstance(node, ast.Expr):
        return node
    whole: Any = node
    return replace(whole, **{f.name: _edited(getattr(whole, f.name), edit) for f in fields(whole)})
