"""``wavetank promtool promql``: formatting and editing queries."""

from __future__ import annotations

import click

from wavetank.cli._promtool_parser import parser_of

__all__ = ["promql"]


@click.group()
def promql() -> None:
    """PromQL formatting and editing."""


@promql.command("format")
@click.argument("expr", metavar="QUERY")
@click.pass_context
def promql_format(context: click.Context, expr: str) -> None:
    """Format PromQL query to pretty printed form."""
    from wavetank.promql.parser import parse_expr
    from wavetank.promql.printer import pretty

    click.echo(pretty(parse_expr(expr, parser_of(context))))


@promql.group("label-matchers")
def label_matchers() -> None:
    """Edit label matchers contained within an existing PromQL query."""


@label_matchers.command("set")
@click.option(
    "-t",
    "--type",
    "kind",
    type=click.Choice(["=", "!=", "=~", "!~"]),
    default="=",
    show_default=True,
    help="Type of the label matcher to set.",
)
@click.argument("expr", metavar="QUERY")
@click.argument("name")
@click.argument("value")
@click.pass_context
def label_matchers_set(context: click.Context, kind: str, expr: str, name: str, value: str) -> None:
    """Set a label matcher in the query."""
    from wavetank.monitoring.promtool.matchers import with_matcher

    click.echo(with_matcher(expr, name, kind, value, parser_of(context)))


@label_matchers.command("delete")
@click.argument("expr", metavar="QUERY")
@click.argument("name")
@click.pass_context
def label_matchers_delete(context: click.Context, expr: str, name: str) -> None:
    """Delete a label from the query."""
    from wavetank.monitoring.promtool.matchers import without_matcher

    click.echo(without_matcher(expr, name, parser_of(context)))
