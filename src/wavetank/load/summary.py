"""A load run in figures for people and programs: a live line, a table, a JSON document.

Response times count from the intended start; the service time beside them says how much of it was the
answer itself. The JSON has NaN as null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from wavetank.load.histogram import LogHistogram
from wavetank.load.results import Second, Snapshot
from wavetank.load.stages import Stage, UserStage
from wavetank.load.thresholds import Verdict

__all__ = ["describe_stage", "document", "live_table", "milliseconds", "summary_table"]

PERCENTS = (50, 90, 95, 99, 99.9, 100)


def milliseconds(seconds: float) -> str:
    """Three significant digits: ``0.85``, ``12.3``, ``1250``; a dash where there is nothing."""
    if math.isnan(seconds):
        return "–"
    value = seconds * 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def describe_stage(stage: Stage) -> str:
    if isinstance(stage, UserStage):
        to = "" if stage.to is None else f" to {stage.to}"
        return f"{stage.users}{to} users"
    first, last = stage.points[0][1], stage.points[-1][1]
    if len(stage.points) > 2:
        return f"trace up to {stage.curve.peak:g} rps, {stage.arrivals}"
    to = "" if first == last else f" to {last:g}"
    return f"{first:g}{to} rps, {stage.arrivals}"


def live_table(snapshot: Snapshot, stage: str, elapsed_seconds: float, total_seconds: float | None) -> Table:
    """The view during the run: the last seconds."""
    left = "" if total_seconds is None else f" of {total_seconds:.0f}"
    title = f"{stage} · {elapsed_seconds:.0f}{left} s"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("users", "rps", "failures", "p50 ms", "p95 ms", "p99 ms", "dropped"):
        table.add_column(name, justify="right")
    table.add_row(
        str(snapshot.users),
        f"{snapshot.rps:.1f}",
        f"{snapshot.failure_ratio:.1%}",
        *(milliseconds(p) for p in (snapshot.p50, snapshot.p95, snapshot.p99)),
        str(snapshot.dropped),
    )
    for warning in snapshot.warnings:
        table.caption = f"! {warning}"
    return table


def summary_table(snapshot: Snapshot, elapsed_seconds: float) -> Table:
    """One row for each request name, and all of them together."""
    table = Table(
        title="response time in ms from the intended start; service: p99 from sending",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
    )
    table.add_column("request", no_wrap=True, overflow="ellipsis")
    for name in ("count", "failed", "rps", "p50", "p95", "p99", "max", "service"):
        table.add_column(name, justify="right", no_wrap=True, min_width=max(len(name), 5))
    for key, entry in sorted(_by_name(snapshot).items()):
        table.add_row(*_row(escape(" ".join(key)), entry, elapsed_seconds))
    table.add_section()
    table.add_row(*_row("all", _whole(snapshot), elapsed_seconds))
    return table


def document(
    snapshot: Snapshot,
    seconds: Sequence[Second],
    stages: Sequence[Stage],
    verdicts: Sequence[Verdict],
    elapsed_seconds: float,
    seed: int,
) -> dict[str, Any]:
    """Everything, for ``--output json``; durations in seconds."""
    return {
        "seed": seed,
        "elapsed_seconds": round(elapsed_seconds, 3),
        "stages": [{"load": describe_stage(s), "duration_seconds": s.duration_seconds} for s in stages],
        "arrivals": {w: getattr(snapshot, w) for w in ("scheduled", "started", "dropped", "finished")},
        "start_lateness_seconds": _percentiles(snapshot.lateness),
        "total": _figures(_whole(snapshot), elapsed_seconds),
        "requests": [
            {"method": method, "name": name, **_figures(entry, elapsed_seconds)}
            for (method, name), entry in sorted(_by_name(snapshot).items())
        ],
        "errors": [
            {"method": method, "name": name, "error": error, "occurrences": count}
            for (method, name, error), count in sorted(snapshot.errors.items())
        ],
        "task_exceptions": snapshot.task_exceptions,
        "interrupted": snapshot.interrupted,
        "checks": [{"check": v.threshold.text, "value": _finite(v.value), "ok": v.ok} for v in verdicts],
        "generator": {
            "processes": snapshot.workers,
            "cpu_seconds": round(snapshot.cpu_seconds, 3),
            "runq_delay_seconds": round(snapshot.runq_seconds, 3),
        },
        "seconds": [{k: _finite(v) for k, v in asdict(row).items()} for row in seconds],
    }


class _Totals:
    def __init__(self) -> None:
        self.requests = self.failures = 0
        self.response = LogHistogram()
        self.service = LogHistogram()


def _by_name(snapshot: Snapshot) -> dict[tuple[str, str], _Totals]:
    totals: dict[tuple[str, str], _Totals] = {}
    for (method, name, _), entry in snapshot.entries.items():
        one = totals.setdefault((method, name), _Totals())
        one.requests += entry.requests
        one.failures += entry.failures
        one.response.merge(entry.response)
        one.service.merge(entry.service)
    return totals


def _whole(snapshot: Snapshot) -> _Totals:
    whole = _Totals()
    whole.requests, whole.failures = snapshot.requests, snapshot.failures
    whole.response, whole.service = snapshot.response, snapshot.service
    return whole


def _row(name: str, totals: _Totals, elapsed_seconds: float) -> list[str]:
    return [
        name,
        str(totals.requests),
        str(totals.failures),
        f"{totals.requests / elapsed_seconds:.1f}" if elapsed_seconds else "–",
        *(milliseconds(p) for p in totals.response.percentiles((50, 95, 99, 100))),
        milliseconds(totals.service.percentile(99)),
    ]


def _figures(totals: _Totals, elapsed_seconds: float) -> dict[str, Any]:
    return {
        "requests": totals.requests,
        "failures": totals.failures,
        "rps": round(totals.requests / elapsed_seconds, 3) if elapsed_seconds else None,
        "response_seconds": _percentiles(totals.response),
        "service_seconds": _percentiles(totals.service),
    }


def _percentiles(histogram: LogHistogram) -> dict[str, float | None]:
    found = zip(PERCENTS, histogram.percentiles(PERCENTS), strict=True)
    names = {f"p{percent:g}" if percent < 100 else "max": _finite(value) for percent, value in found}
    return {"mean": _finite(histogram.mean), **names}


def _finite(value: float) -> float | None:
    return (round(value, 6) if isinstance(value, float) else value) if math.isfinite(value) else None
