"""``wavetank promtool check``: files and servers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from wavetank.cli._kingpin import switch
from wavetank.cli._promtool_parser import parser_of
from wavetank.cli._servers import http_of, http_option

if TYPE_CHECKING:
    from wavetank.monitoring.promtool.report import Lint, Report

__all__ = ["check"]

F = TypeVar("F", bound=Callable[..., Any])
_FILES: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_URL: Final = "http://localhost:9090"


@click.group()
@click.option(
    "--query.lookback-delta",
    "lookback",
    default="5m",
    show_default=True,
    help="The server's maximum query lookback duration.",
)
@click.pass_context
def check(context: click.Context, lookback: str) -> None:
    """Check the resources for validity."""
    context.meta["wavetank.lookback"] = lookback


def _lint_options(*names: str) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        text = f"Linters, separated by commas: {', '.join(names)}."
        for option in (
            switch("ignore-unknown-fields", "ignore_unknown", "Pass over fields rule files do not have."),
            switch("lint-fatal", "lint_fatal", "Make lint errors exit with exit code 3."),
            click.option("--lint", default="duplicate-rules", show_default=True, help=text),
        ):
            function = option(function)
        return function

    return decorate


def _lint(flags: dict[str, Any], lookback_ms: int = 0) -> Lint:
    from wavetank.monitoring.promtool.report import Lint

    ignore = flags["ignore_unknown"]
    return Lint.of(flags["lint"], lookback_ms=lookback_ms, ignore_unknown=ignore, warn=click.echo)


def _finish(report: Report, lint_fatal: bool) -> None:
    for text, is_error in report.lines:
        click.echo(text, err=is_error)
    sys.exit(report.exit_code(lint_fatal))


@check.command("config")
@click.argument("files", nargs=-1, required=True, type=_FILES)
@switch("syntax-only", "syntax_only", "Only check the syntax, not the files that are named.")
@switch("agent", "agent", "Check the file for agent mode.")
@_lint_options("all", "duplicate-rules", "none", "too-long-scrape-interval")
@click.pass_context
def check_config(
    context: click.Context, /, files: tuple[Path, ...], syntax_only: bool, agent: bool, **flags: Any
) -> None:
    """Check if the config files are valid or not."""
    from wavetank.monitoring.promtool.check_config import check_config as run
    from wavetank.monitoring.promtool.report import Report

    lookback_ms = round(_seconds("query.lookback-delta", context.meta["wavetank.lookback"]) * 1000)
    report, lint, options = Report(), _lint(flags, lookback_ms), parser_of(context)
    for path in files:
        run(report, path, lint, options, syntax_only=syntax_only, agent=agent)
    _finish(report, flags["lint_fatal"])


@check.command("rules")
@click.argument("files", nargs=-1, type=_FILES)
@_lint_options("all", "duplicate-rules", "none")
@click.pass_context
def check_rules(context: click.Context, /, files: tuple[Path, ...], **flags: Any) -> None:
    """Check if the rule files are valid or not; without files, standard input."""
    from wavetank.monitoring.promtool.check_rules import check_rules as run
    from wavetank.monitoring.promtool.check_rules import check_rules_text
    from wavetank.monitoring.promtool.report import Report

    report, lint, options = Report(), _lint(flags), parser_of(context)
    if files:
        run(report, files, lint, options)
    else:
        check_rules_text(report, sys.stdin.buffer.read().decode("utf-8", "replace"), lint, options)
    _finish(report, flags["lint_fatal"])


@check.command("metrics")
@switch("extended", "extended", "Print how many series each metric has.")
@click.option("--lint", default="all", show_default=True, help="Linters: all, none.")
def check_metrics(extended: bool, lint: str) -> None:
    """Pass Prometheus metrics over stdin to lint them for consistency and correctness."""
    from wavetank.errors import InputError
    from wavetank.monitoring.promtool.families import families
    from wavetank.monitoring.promtool.lint_metrics import cardinality, problems
    from wavetank.monitoring.promtool.report import LINT_EXIT

    if not extended and lint == "none":
        click.echo("error: at least one of --extended or linting must be enabled", err=True)
        text = "Use --extended for cardinality analysis, or remove --lint=none to enable linting"
        click.echo(text, err=True)
        sys.exit(1)
    try:
        found = families(sys.stdin.buffer.read())
    except InputError as error:
        doing = "parsing text to metric families" if lint == "none" else "linting"
        click.echo(f"error while {doing}: {error}", err=True)
        sys.exit(1)
    complaints = problems(found) if lint != "none" else []
    for line in complaints:
        click.echo(line, err=True)
    for line in cardinality(found) if extended else ():
        click.echo(line)
    sys.exit(LINT_EXIT if complaints else 0)


@check.command("web-config")
@click.argument("files", nargs=-1, required=True, type=_FILES)
def check_web_config(files: tuple[Path, ...]) -> None:
    """Check if the web config files are valid or not."""
    from wavetank.errors import InputError
    from wavetank.monitoring.web.config import load_web_config

    failed = False
    for path in files:
        try:
            load_web_config(path)
        except InputError as error:
            click.echo(f"{path} FAILED: {error}", err=True)
            failed = True
        else:
            click.echo(f"{path} SUCCESS", err=True)
    if failed:
        sys.exit(1)


@check.command("service-discovery")
@click.argument("config", type=_FILES)
@click.argument("job")
@click.option("--timeout", default="30s", show_default=True, help="How long to discover.")
def check_service_discovery(config: Path, job: str, timeout: str) -> None:
    """Perform service discovery for the given job name and report the results, including relabeling."""
    import asyncio

    import msgspec

    from wavetank.clock import RealClock
    from wavetank.monitoring.promtool.discover import check_discovery, job_of

    found = asyncio.run(check_discovery(job_of(config, job), RealClock(), _seconds("timeout", timeout)))
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


def _seconds(name: str, text: str) -> float:
    from wavetank.monitoring.config.values import parse_duration

    try:
        return parse_duration(text).seconds
    except ValueError as error:
        raise click.UsageError(f"--{name}: {error}") from None


def _probe(context: click.Context, name: str, url: str) -> None:
    from wavetank.monitoring.promtool.remote import probe

    click.echo(f"  SUCCESS:  {probe(url, f'/-/{name}', http_of(context))}", err=True)


@check.command("healthy")
@http_option
@click.option("--url", default=_URL, show_default=True, help="The URL for the Prometheus server.")
@click.pass_context
def check_healthy(context: click.Context, url: str) -> None:
    """Check if the Prometheus server is healthy."""
    _probe(context, "healthy", url)


@check.command("ready")
@http_option
@click.option("--url", default=_URL, show_default=True, help="The URL for the Prometheus server.")
@click.pass_context
def check_ready(context: click.Context, url: str) -> None:
    """Check if the Prometheus server is ready."""
    _probe(context, "ready", url)
