"""``wavetank promtool``: check, test and query, with promtool's commands, flags and exit codes.

Exit codes: 0 fine, 1 anything wrong, 3 only the linter complains (``--lint-fatal``, check metrics).
"""

from __future__ import annotations

from typing import Final

import click

from wavetank import __version__
from wavetank.cli._kingpin import Tool, switch
from wavetank.cli.promtool_check import check
from wavetank.cli.promtool_promql import promql
from wavetank.cli.promtool_query import query
from wavetank.cli.promtool_send import debug, push_group
from wavetank.cli.promtool_test import test_group
from wavetank.cli.promtool_tsdb import tsdb

__all__ = ["command"]

_FEATURES: Final = frozenset(
    {
        "promql-experimental-functions",
        "promql-delayed-name-removal",
        "promql-duration-expr",
        "promql-extended-range-selectors",
        "promql-binop-fill-modifiers",
    }
)


@click.group("promtool", cls=Tool, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--enable-feature", "features", multiple=True, help="Feature names, separated by commas.")
@switch("experimental", "experimental", "Enable experimental commands; here they need no switch.")
@click.version_option(__version__, prog_name="promtool, of wavetank")
@click.pass_context
def command(context: click.Context, features: tuple[str, ...], experimental: bool) -> None:
    """Tooling for the Prometheus monitoring system."""
    context.obj = {name.strip() for value in features for name in value.split(",") if name.strip()}
    for name in sorted(context.obj - _FEATURES):
        click.echo(f"  WARNING: Unknown feature passed to --enable-feature: {name}")


@command.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def show_help(context: click.Context, words: tuple[str, ...]) -> None:
    """Show help."""
    found: click.Command = command
    assert context.parent is not None
    shown = context.parent
    for word in words:
        inner = found.get_command(shown, word) if isinstance(found, click.Group) else None
        if inner is None:
            raise click.UsageError(f'expected command but got "{word}"')
        found, shown = inner, click.Context(inner, info_name=word, parent=shown)
    click.echo(found.get_help(shown))


for _group in (check, query, debug, push_group, test_group, tsdb, promql):
    command.add_command(_group)
