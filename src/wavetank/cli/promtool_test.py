"""``wavetank promtool test``: unit tests of rules, and of PromQL itself."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import click

from wavetank.cli._kingpin import switch
from wavetank.cli._promtool_parser import features_of, parser_of

__all__ = ["test_group"]

_FILES: Final = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group("test")
@click.option("--junit", type=click.Path(path_type=Path), help="File to write the results to, as JUnit XML.")
@click.pass_context
def test_group(context: click.Context, junit: Path | None) -> None:
    """Unit testing."""
    context.meta["wavetank.junit"] = junit


@test_group.command("rules")
@click.argument("files", nargs=-1, required=True, type=_FILES)
@click.option("--run", "patterns", multiple=True, help="Only test groups whose name this regex finds.")
@switch("diff", "diff", "Show alerts that differ line by line, in colours.")
@switch("debug", "debug", "Print every sample of a test, input and recorded, to standard error.")
@switch("ignore-unknown-fields", "ignore_unknown", "Pass over fields rule files do not have.")
@click.pass_context
def test_rules(
    context: click.Context, /, files: tuple[Path, ...], patterns: tuple[str, ...], **flags: Any
) -> None:
    """Unit tests for rules."""
    from wavetank.clock import RealClock
    from wavetank.monitoring.promtool.junit import Suite, render
    from wavetank.monitoring.promtool.unit_tests import Choices, run_test_file
    from wavetank.promql.context import EngineOptions

    try:
        run = re.compile("|".join(patterns)) if patterns else None
    except re.error as error:
        raise click.UsageError(f"--run: {error}") from None
    delayed = "promql-delayed-name-removal" in features_of(context)
    options = EngineOptions(parser=parser_of(context), delayed_name_removal=delayed)
    choices = Choices(options, run, **flags, complain=lambda line: click.echo(line, err=True))
    suites: list[Suite] = []
    failed = False
    for path in files:
        click.echo(f"Unit Testing:  {path}")
        suites.append(Suite(str(path)))
        problems = run_test_file(path, choices, suites[-1], RealClock())
        if problems:
            click.echo("  FAILED:", err=True)
            for text in problems:
                click.echo(text, err=True, color=True)  # --diff's colours go into files too
                click.echo()
            failed = True
        else:
            click.echo("  SUCCESS")
        click.echo()
    junit: Path | None = context.meta["wavetank.junit"]
    if junit is not None:
        junit.write_bytes(render(suites))
    if failed:
        sys.exit(1)


@test_group.command("promql")
@click.argument("files", nargs=-1, required=True, type=_FILES)
def test_promql(files: tuple[Path, ...]) -> None:
    """Run PromQL test scripts (.test files)."""
    from wavetank.promql.promqltest.runner import run_files

    _, failed = run_files(files, click.echo)
    if failed:
        sys.exit(1)
