"""What ``--enable-feature`` of promtool means for the parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wavetank.promql.options import ParserOptions

__all__ = ["features_of", "parser_of"]


def features_of(context: click.Context) -> set[str]:
    """The features named at the root of the command."""
    found = context.find_root() if context.parent is None else context
    while found.parent is not None and not isinstance(found.obj, set):
        found = found.parent
    return found.obj if isinstance(found.obj, set) else set()


def parser_of(context: click.Context) -> ParserOptions:
    """The grammar that is asked for."""
    from wavetank.promql.options import ParserOptions

    features = features_of(context)
    return ParserOptions(
        functions="promql-experimental-functions" in features,
        extended_ranges="promql-extended-range-selectors" in features,
        fill="promql-binop-fill-modifiers" in features,
    )
