"""The summary that a run ends with in the terminal: verdict, SLOs, three sparklines, scalings, files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from wavetank.limits import REPORT_SPARKLINE_COLUMNS_MAX
from wavetank.rehearsal.report.model import Report, Scaling, Series, Service, Slo, Workload
from wavetank.rehearsal.report.wording import (
    clock,
    detail,
    in_unit,
    milliseconds,
    objective,
    percent,
    printable,
    rate,
    seconds,
    short_name,
    significant,
    slo_state,
    verdict,
    worth_telling,
)

__all__ = ["print_summary", "sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_STYLES = {"held": "green", "failed": "red", "incomplete": "yellow", "no data": "yellow"}


def print_summary(report: Report, console: Console) -> None:
    """Print at most some thirty lines; user texts are never read as Rich markup."""
    style = _STYLES[report.outcome]
    console.print()
    console.print(Text.assemble(("▌ ", style), _said(verdict(report), f"bold {style}")))
    if text := detail(report):
        console.print(Padding(_said(text), (0, 0, 0, 2)))
    tables = (
        _slos(report.slos), _lines(report, console.width), _services(worth_telling(report.services)),
        _scalings(report.scalings),
    )  # fmt: skip
    for table in tables:
        if table.row_count:
            console.print()
            console.print(Padding(table, (0, 0, 0, 2)))
    for recommendation in report.recommendations:
        console.print(Padding(Text.assemble(("→ ", style), _said(recommendation)), (0, 0, 0, 2)))
    if report.files:
        console.print()
        for name, path in report.files.items():
            console.print(Text.assemble("  ", _said(f"{name:<10}", "dim"), _said(path)), soft_wrap=True)


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=justify != "wrap")
    return table


def _said(text: str, style: str = "") -> Text:
    """A text from outside: no markup is read in it, no control character reaches the terminal."""
    return Text(printable(text), style)


def _slos(slos: Sequence[Slo]) -> Table:
    table = _table(
        ("SLO", "left"), ("", "left"), ("measured", "right"), ("objective", "right"), ("budget used", "right")
    )
    for slo in slos:
        state = slo_state(slo)
        cells = (
            _said(cell) for cell in (in_unit(slo.value, slo.unit), objective(slo), percent(slo.budget_burn))
        )
        table.add_row(_said(slo.name), Text(state, _STYLES[state]), *cells)
    return table


def sparkline(values: Series, width: int) -> str:
    """``values`` as at most ``width`` blocks from 0 to their maximum; a column without a value is blank.

    Longer series are cut into columns of which the largest value is drawn, so that no peak is lost.
    """
    columns = min(len(values), width)
    if not columns:
        return ""
    edges = [round(i * len(values) / columns) for i in range(columns + 1)]
    peaks = [_largest(values[a:b]) for a, b in pairwise(edges)]
    top = _largest(tuple(peaks)) or 1.0
    return "".join(" " if p is None else _BLOCKS[min(7, max(0, int(p / top * 7.999)))] for p in peaks)


def _largest(values: Series) -> float | None:
    return max((v for v in values if v is not None), default=None)


def _lines(report: Report, console_width: int) -> Table:
    table = _table(("", "left"), ("", "left"), ("", "left"))
    table.show_header = False
    width = max(10, min(REPORT_SPARKLINE_COLUMNS_MAX, console_width - 34))
    timeline = report.timeline
    rows = [
        ("requests/s", timeline.arrival_rps, rate(_largest(timeline.arrival_rps))),
        ("p99", timeline.p99_ms, milliseconds(_largest(timeline.p99_ms))),
    ]
    rows += [(f"{w.name} ready", w.ready, _replicas(w)) for w in _scaled(report)]
    if any(node.autoscaled for node in report.nodes):
        hours = (report.figures.node_seconds or 0.0) / 3600
        rows.append(("nodes", timeline.nodes, f"{_largest(timeline.nodes):g}, {hours:.2g} h"))
    for name, values, peak in rows:
        if any(v is not None for v in values):
            table.add_row(_said(name, "dim"), Text(sparkline(values, width), "cyan"), f"max {peak}")
    return table


def _replicas(workload: Workload) -> str:
    peak = _largest(workload.ready)
    return "" if peak is None else significant(peak)


def _scaled(report: Report) -> list[Workload]:
    """Workloads that were scaled, or the first where none was."""
    names = {scaling.workload for scaling in report.scalings}
    found = [w for w in report.workloads if f"{w.kind}/{w.namespace}/{w.name}" in names]
    return found or list(report.workloads[:1])


def _services(services: Sequence[Service]) -> Table:
    table = _table(
        ("service", "left"), ("requests", "right"), ("failed", "right"), ("tries each", "right"),
        ("retries not made", "right"), ("refused", "right"), ("ejections", "right"),
    )  # fmt: skip
    for service in services:
        cells = (
            f"{service.requests:,}", percent(service.failures / max(1, service.requests)),
            f"{service.tries / max(1, service.requests):.2f}", f"{service.retries_refused:,}",
            f"{service.overflows:,}", f"{service.ejections:,}",
        )  # fmt: skip
        table.add_row(_said(short_name(service.name)), *cells)
    return table


def _scalings(scalings: Sequence[Scaling]) -> Table:
    table = _table(
        ("scaling", "left"),
        ("at", "right"),
        ("took", "right"),
        ("most of it", "wrap"),
        ("unexplained", "right"),
    )
    for scaling in scalings:
        longest = max(scaling.stages, key=lambda stage: stage.seconds, default=None)
        most = Text("")
        if longest is not None:
            most = _said(f"{longest.name} {seconds(longest.seconds)}")
            most.append(" modelled" if longest.modelled else "", "dim")
        table.add_row(
            _said(f"{short_name(scaling.workload)} {scaling.from_replicas} → {scaling.to_replicas}"),
            clock(scaling.decided_at_seconds),
            seconds(scaling.total_seconds),
            most,
            seconds(scaling.unexplained_seconds),
        )
    return table
