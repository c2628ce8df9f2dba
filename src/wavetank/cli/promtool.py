"""``wavetank promtool``: check, test and query, with promtool's commands, flags and exit codes.

Exit codes: 0 fine, 1 a check or test failed, 3 only the linter complains (``--lint-fatal``, check metrics).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from wavetank.cli._servers import header_option, headers_of, http_of, http_option
from wavetank.cli.promtool_query import query

if TYPE_CHECKING:
    from wavetank.monitoring.promtool.check import Report
    from wavetank.promql.options import ParserOptions

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])
_LINT_EXIT: Final = 3
_FILES: Final = click.Path(path_type=Path)


@click.group()
@click.option("--enable-feature", "features", multiple=True, help="Feature names, separated by commas.")
@click.pass_context
def command(context: click.Context, features: tuple[str, ...]) -> None:
    """Tooling for the Prometheus monitoring system."""
    context.obj = {name.strip() for value in features for name in value.split(",")}


def _parser(context: click.Context) -> ParserOptions:
    from wavetank.promql.options import ParserOptions

    features: set[str] = context.obj
    return ParserOptions(
        functions="promql-experimental-functions" in features,
        extended_ranges="promql-extended-range-selectors" in features,
        fill="promql-binop-fill-modifiers" in features,
    )


# --- check


@command.group()
def check() -> None:
    """Check the resources for validity."""


def _lint_options(function: F) -> F:
    lint = click.option("--lint", default="duplicate-rules", help="Linters: all, duplicate-rules, none.")
    fatal = click.option("--lint-fatal/--no-lint-fatal", default=False, help="Exit with 3 for lint errors.")
    return fatal(lint(function))


def _finish(report: Report, lint_fatal: bool) -> None:
    for line in report.lines:
        click.echo(line)
    for line in report.errors if not report.lines else ():
        click.echo(line, err=True)
    if report.errors:
        sys.exit(1)
    if report.lints and lint_fatal:
        sys.exit(_LINT_EXIT)


@check.command("config")
@click.argument("files", nargs=-1, required=True, type=_FILES)
@click.option("--syntax-only", is_flag=True, help="Only check the syntax, not the files that are named.")
@click.option("--agent", is_flag=True, hidden=True)
@_lint_options
@click.pass_context
def check_config(
    context: click.Context,
    files: tuple[Path, ...],
    syntax_only: bool,
    agent: bool,
    lint: str,
    lint_fatal: bool,
) -> None:
    """Check if the config files are valid or not."""
    from wavetank.monitoring.promtool import check as checks

    total = checks.Report()
    for path in files:
        report = checks.check_config(
            path, syntax_only=syntax_only, options=_parser(context), lint=lint != "none"
        )
        total.lines += report.lines
        total.errors += report.errors
        total.lints += report.lints
    _finish(total, lint_fatal)


@check.command("rules")
@click.argument("files", nargs=-1, required=True, type=_FILES)
@_lint_options
@click.pass_context
def check_rules(context: click.Context, files: tuple[Path, ...], lint: str, lint_fatal: bool) -> None:
    """Check if the rule files are valid or not."""
    from wavetank.monitoring.promtool.check import check_rules as run

    _finish(run(files, options=_parser(context), lint=lint != "none"), lint_fatal)


@check.command("metrics")
@click.option("--extended", is_flag=True, hidden=True)
def check_metrics(extended: bool) -> None:
    """Pass Prometheus metrics over stdin to lint them for consistency and correctness."""
    from wavetank.monitoring.promtool.check import check_metrics as run

    report = run(sys.stdin.buffer.read())
    for line in [*report.errors, *report.lints]:
        click.echo(line, err=True)
    if report.errors:
        sys.exit(1)
    if report.lints:
        sys.exit(_LINT_EXIT)


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
    from wavetank.errors import InputError
    from wavetank.monitoring.promtool.discover import check_discovery, job_of

    try:
        found = asyncio.run(check_discovery(job_of(config, job), RealClock(), _seconds("timeout", timeout)))
    except InputError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


def _seconds(name: str, text: str) -> float:
    from wavetank.monitoring.config.values import parse_duration

    try:
        return parse_duration(text).seconds
    except ValueError as error:
        raise click.UsageError(f"--{name}: {error}") from None


def _probe(context: click.Context, name: str, url: str) -> None:
    from wavetank.monitoring.promtool.remote import fetch_text

    fetch_text(f"{url.rstrip('/')}/-/{name}", {}, http_of(context))
    click.echo("  SUCCESS: ")


@check.command("healthy")
@http_option
@click.option("--url", default="http://localhost:9090", show_default=True)
@click.pass_context
def check_healthy(context: click.Context, url: str) -> None:
    """Check if the Prometheus server is healthy."""
    _probe(context, "healthy", url)


@check.command("ready")
@http_option
@click.option("--url", default="http://localhost:9090", show_default=True)
@click.pass_context
def check_ready(context: click.Context, url: str) -> None:
    """Check if the Prometheus server is ready."""
    _probe(context, "ready", url)


# --- test


@command.group("test")
def test_group() -> None:
    """Unit testing."""


@test_group.command("rules")
@click.argument("files", nargs=-1, required=True, type=_FILES)
@click.option("--run", "names", multiple=True, help="Only test groups whose name contains this.")
@click.option("--diff", is_flag=True, hidden=True)
@click.option("--debug", is_flag=True, hidden=True)
@click.pass_context
def test_rules(
    context: click.Context, files: tuple[Path, ...], names: tuple[str, ...], diff: bool, debug: bool
) -> None:
    """Unit tests for rules."""
    from wavetank.errors import InputError
    from wavetank.monitoring.promtool.unit_tests import run_test_file
    from wavetank.promql.context import EngineOptions

    failed = False
    options = EngineOptions(
        parser=_parser(context), delayed_name_removal="promql-delayed-name-removal" in context.obj
    )
    for path in files:
        click.echo(f"Unit Testing:  {path}")
        try:
            problems = run_test_file(path, options, names)
        except InputError as error:
            problems = [f"    {error}"]
        click.echo(
            "  FAILED:\n" + "\n".join(problems) + "\n" if problems else "  SUCCESS\n", err=bool(problems)
        )
        failed = failed or bool(problems)
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


# --- push


command.add_command(query)


@command.group("push")
@http_option
def push_group() -> None:
    """Push to a Prometheus server."""


@push_group.command("metrics")
@http_option
@click.argument("url")
@click.argument("files", nargs=-1, type=_FILES)
@click.option("--label", "labels", multiple=True, help="Label to attach, name=value. [default: job=promtool]")
@header_option
@click.option("--timeout", default="30s", show_default=True)
@click.pass_context
def push_metrics(
    context: click.Context,
    url: str,
    files: tuple[Path, ...],
    labels: tuple[str, ...],
    header: tuple[str, ...],
    timeout: str,
) -> None:
    """Push metrics to a prometheus remote write (for testing purpose only)."""
    from wavetank.clock import RealClock
    from wavetank.errors import WavetankError
    from wavetank.monitoring.promtool.push import push, write_request

    if any("=" not in label for label in labels):
        raise click.UsageError("--label is name=value")
    attached = {"job": "promtool", **dict(label.split("=", 1) for label in labels)}
    failed, http = False, http_of(context)
    sources: list[tuple[str, Path | None]] = [(str(path), path) for path in files]
    sources = sources or [("standard input", None)]
    for name, path in sources:
        try:
            body = sys.stdin.buffer.read() if path is None else path.read_bytes()
            request = write_request(body, attached, round(RealClock().now() * 1000))
            push(url, request, headers_of(header), _seconds("timeout", timeout), http)
        except (WavetankError, OSError) as error:
            click.echo(f"  FAILED: {name}: {error}", err=True)
            failed = True
        else:
            click.echo(f"  SUCCESS: {name}")
    if failed:
        sys.exit(1)


# --- debug


@command.group()
@http_option
def debug() -> None:
    """Fetch debug information."""


def _write_debug(context: click.Context, server: str, parts: tuple[tuple[str, str], ...]) -> None:
    import io
    import tarfile

    from wavetank.monitoring.promtool.remote import fetch_text

    http = http_of(context)
    base = server.rstrip("/") if "://" in server else f"http://{server.rstrip('/')}"
    with tarfile.open("debug.tar.gz", "w:gz") as archive:
        for name, path in parts:
            click.echo(f"collecting: {base}{path}")
            body = fetch_text(base + path, {}, http)
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    click.echo('Compiling debug information complete, all files written in "debug.tar.gz".')


_METRICS_PART: Final = (("metrics.txt", "/metrics"),)
_STATUS_PARTS: Final = tuple(
    (f"{name}.json", f"/api/v1/status/{name}")
    for name in ("runtimeinfo", "buildinfo", "flags", "config", "tsdb")
)


@debug.command("metrics")
@http_option
@click.argument("server")
@click.pass_context
def debug_metrics(context: click.Context, server: str) -> None:
    """Fetch metrics debug information."""
    _write_debug(context, server, _METRICS_PART)


@debug.command("all")
@http_option
@click.argument("server")
@click.pass_context
def debug_all(context: click.Context, server: str) -> None:
    """Fetch all debug information: metrics and status; there are no Go profiles to fetch."""
    _write_debug(context, server, _METRICS_PART + _STATUS_PARTS)


@debug.command("pprof")
@click.argument("server")
def debug_pprof(server: str) -> None:
    """Refused: profiles are Go's; a Wavetank server is a Python program."""
    raise click.UsageError(
        "a Wavetank server has no Go profiles; use `py-spy record --pid PID`, or promtool for a Go server"
    )


# --- tsdb


@command.group()
def tsdb() -> None:
    """Run tsdb commands."""


@tsdb.command("list")
@click.argument("path", default="data/", type=_FILES)
@click.option("-r", "--human-readable", is_flag=True, help="Print human readable values.")
def tsdb_list(path: Path, human_readable: bool) -> None:
    """List tsdb blocks."""
    from wavetank.monitoring.promtool.data_dir import list_blocks

    for line in list_blocks(path, human=human_readable):
        click.echo(line)


@tsdb.command("analyze")
@click.argument("path", default="data/", type=_FILES)
@click.argument("block", default="")
@click.option("--limit", default=20, show_default=True, help="How many items to show in each list.")
@click.option("--extended", is_flag=True, help="Analyze the chunks too.")
@click.option("--match", default="", help="Series selector.")
def tsdb_analyze(path: Path, block: str, limit: int, extended: bool, match: str) -> None:
    """Analyze churn, label pair cardinality and chunks of a block, the newest unless one is named."""
    from wavetank.monitoring.promtool.analyze import analyze

    for line in analyze(path, block=block, limit=limit, match=match, extended=extended):
        click.echo(line)


@tsdb.command("dump")
@click.argument("path", default="data/", type=_FILES)
@click.option("--min-time", default=-(1 << 62), help="Minimum timestamp to dump, in milliseconds.")
@click.option("--max-time", default=1 << 62, help="Maximum timestamp to dump, in milliseconds.")
@click.option("--match", "matches", multiple=True, help="Series selector.")
def tsdb_dump(path: Path, min_time: int, max_time: int, matches: tuple[str, ...]) -> None:
    """Dump samples from a TSDB."""
    from wavetank.monitoring.promtool.data_dir import dump

    for line in dump(path, mint_ms=min_time, maxt_ms=max_time, matches=matches):
        click.echo(line)


@tsdb.command("dump-openmetrics")
@click.argument("path", default="data/", type=_FILES)
@click.option("--min-time", default=-(1 << 62), help="Minimum timestamp to dump, in milliseconds.")
@click.option("--max-time", default=1 << 62, help="Maximum timestamp to dump, in milliseconds.")
@click.option("--match", "matches", multiple=True, help="Series selector.")
def tsdb_dump_openmetrics(path: Path, min_time: int, max_time: int, matches: tuple[str, ...]) -> None:
    """Dump float samples from a TSDB as OpenMetrics text, without metadata."""
    from wavetank.monitoring.promtool.data_dir import dump_openmetrics

    for line in dump_openmetrics(path, mint_ms=min_time, maxt_ms=max_time, matches=matches):
        click.echo(line)


@tsdb.group("create-blocks-from")
@click.option("-r", "--human-readable", is_flag=True, help="Print human readable values.")
@click.option("-q", "--quiet", is_flag=True, help="Do not print created blocks.")
@click.option("--max-block-duration", default="2h", show_default=True, help="How much time a block spans.")
@click.pass_context
def create_blocks(context: click.Context, human_readable: bool, quiet: bool, max_block_duration: str) -> None:
    """Import samples as blocks, to be moved into a data directory."""
    context.obj = (human_readable, quiet, max_block_duration)


def _width_ms(duration: str) -> int:
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_duration

    try:
        return max(2 * 3_600_000, int(parse_duration(duration)))
    except ValueError as error:
        raise InputError(f"--max-block-duration: {error}", fix="e.g. 2h, 1d") from None


def _show_blocks(output: Path, made: list[Path], human_readable: bool) -> None:
    from wavetank.monitoring.promtool.data_dir import list_blocks

    names = {path.name for path in made}
    for i, line in enumerate(list_blocks(output, human=human_readable)):
        if i == 0 or line.split(" ", 1)[0] in names:
            click.echo(line)


@create_blocks.command("openmetrics")
@click.argument("source", type=_FILES)
@click.argument("output", default="data/", type=_FILES)
@click.option("--label", "labels", multiple=True, help="A label for every series, name=value.")
@click.pass_context
def create_blocks_from_openmetrics(
    context: click.Context, source: Path, output: Path, labels: tuple[str, ...]
) -> None:
    """Import samples from OpenMetrics text, of any age."""
    from wavetank.clock import RealClock
    from wavetank.monitoring.promtool.backfill import blocks_from_openmetrics

    human_readable, quiet, duration = context.obj
    more = dict(label.partition("=")[::2] for label in labels)
    made = blocks_from_openmetrics(source, output, RealClock(), width_ms=_width_ms(duration), labels=more)
    if not quiet:
        _show_blocks(output, made, human_readable)


@create_blocks.command("rules")
@http_option
@click.argument("files", nargs=-1, required=True, type=_FILES)
@click.option("--url", default="http://localhost:9090", show_default=True, help="The server to evaluate on.")
@click.option("--start", required=True, help="From when on, RFC3339 or Unix seconds.")
@click.option("--end", default="", help="Until when. [default: three hours ago]")
@click.option("--output-dir", "output", default="data/", show_default=True, type=_FILES)
@click.option("--eval-interval", default="60s", show_default=True, help="Where a group gives no interval.")
@header_option
@click.pass_context
def create_blocks_from_rules(
    context: click.Context,
    files: tuple[Path, ...],
    url: str,
    start: str,
    end: str,
    output: Path,
    eval_interval: str,
    header: tuple[str, ...],
) -> None:
    """Evaluate recording rules over the past of a server and keep the results."""
    from wavetank.clock import RealClock
    from wavetank.errors import InputError
    from wavetank.monitoring.config.values import parse_duration
    from wavetank.monitoring.promtool.backfill import blocks_from_rules
    from wavetank.monitoring.rfc3339 import parse_time_ms

    clock = RealClock()
    human_readable, quiet, duration = context.obj
    try:
        start_ms = parse_time_ms(start)
        end_ms = parse_time_ms(end) if end else int((clock.now() - 3 * 3600) * 1000)
        step_ms = int(parse_duration(eval_interval))
    except ValueError as error:
        raise InputError(str(error), fix="times as 2026-01-31T12:00:00Z or Unix seconds") from None
    made = blocks_from_rules(
        files,
        output,
        clock,
        url=url,
        start_ms=start_ms,
        end_ms=end_ms,
        step_ms=step_ms,
        headers=headers_of(header),
        http=http_of(context),
        width_ms=_width_ms(duration),
    )
    if not quiet:
        _show_blocks(output, made, human_readable)


# --- promql


@command.group()
@click.option("--experimental", is_flag=True, hidden=True)
def promql(experimental: bool) -> None:
    """PromQL formatting and editing."""


@promql.command("format")
@click.argument("expr")
def promql_format(expr: str) -> None:
    """Format PromQL query to pretty printed form."""
    from wavetank.promql.options import EXPERIMENTAL
    from wavetank.promql.parser import parse_expr
    from wavetank.promql.printer import pretty

    click.echo(pretty(parse_expr(expr, EXPERIMENTAL)))
