"""The report as GitHub-flavoured Markdown, short enough for a pull request's comment."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from wavetank.rehearsal.report.model import LoadRow, Report, Scaling, Service, Slo
from wavetank.rehearsal.report.wording import (
    DASH,
    clock,
    detail,
    duration,
    in_unit,
    milliseconds,
    objective,
    percent,
    printable,
    seconds,
    short_name,
    slo_state,
    verdict,
    worth_telling,
)

__all__ = ["render_markdown"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")


def render_markdown(report: Report) -> str:
    """Verdict, SLOs, what gave out, scalings, requests, and how to get it again."""
    blocks = [
        f"## {_text(report.name)}: {report.outcome}",
        f"**{_text(verdict(report))}**",
        _text(detail(report)),
        _slos(report),
        _bottleneck(report),
        *_list("### What to change", report.recommendations),
        *_scalings(report.scalings),
        _requests(report),
        _services(worth_telling(report.services)),
        *_list("### What was modelled", [f"{m.what}: {m.how}" for m in report.modelled]),
        _environment(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _text(value: str) -> str:
    """A user's text on one line, with nothing in it that Markdown or HTML would act on."""
    return _SPECIAL.sub(r"\\\1", printable(" ".join(value.split()))).replace("@", "&#64;")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """A table whose last ``numbers`` columns are aligned to the right."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    marks = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join([f"| {' | '.join(head)} |", f"| {' | '.join(marks)} |", *lines])


def _list(title: str, items: Sequence[str]) -> list[str]:
    return [title, "\n".join(f"- {_text(item)}" for item in items)] if items else []


def _slos(report: Report) -> str:
    rows = [
        (
            _text(slo.name),
            f"**{slo_state(slo)}**" if slo.ok is not True else slo_state(slo),
            _text(objective(slo)),
            _text(in_unit(slo.value, slo.unit)),
            percent(slo.budget_burn),
            _worst(slo),
        )
        for slo in report.slos
    ]
    return _table(("SLO", "result", "objective", "measured", "budget used", "worst"), rows, numbers=4)


def _worst(slo: Slo) -> str:
    if slo.worst_value is None:
        return DASH
    return f"{_text(in_unit(slo.worst_value, slo.unit))} at {clock(slo.worst_at_seconds)}"


def _bottleneck(report: Report) -> str:
    found = report.bottleneck
    if found is None:
        return ""
    when = "" if found.at_seconds is None else f" (at {clock(found.at_seconds)})"
    evidence = "".join(f"\n- {_text(line)}" for line in found.evidence)
    return f"### What gave out first\n\n{_text(found.what)}{when}\n{evidence}".rstrip()


def _scalings(scalings: Sequence[Scaling]) -> list[str]:
    if not scalings:
        return []
    rows = [
        (
            f"{_text(short_name(s.workload))} {s.from_replicas} → {s.to_replicas}",
            clock(s.decided_at_seconds),
            seconds(s.total_seconds),
            *(seconds(_phase_seconds(s, phase)) for phase in ("metrics", "autoscaler", "pod", "traffic")),
            seconds(s.unexplained_seconds),
        )
        for s in scalings
    ]
    head = ("scaling", "decided at", "total", "metrics", "autoscaler", "pod", "traffic", "unexplained")
    details = [_stages(s) for s in scalings]
    return ["### Where the seconds went", _table(head, rows, numbers=7), *(d for d in details if d)]


def _phase_seconds(scaling: Scaling, phase: str) -> float:
    return math.fsum(stage.seconds for stage in scaling.stages if stage.phase == phase)


def _stages(scaling: Scaling) -> str:
    rows = [
        (
            _text(stage.name),
            _text(stage.note) + (" *(modelled)*" if stage.modelled else ""),
            seconds(stage.seconds),
        )
        for stage in scaling.stages
    ]
    if not rows:
        return ""
    if scaling.unexplained_seconds > 0:
        rows.append(("*unexplained*", "", seconds(scaling.unexplained_seconds)))
    title = f"{_text(short_name(scaling.workload))} {scaling.from_replicas} → {scaling.to_replicas}"
    table = _table(("stage", "note", "took"), rows, numbers=1)
    return f"<details><summary>Stages of {title}</summary>\n\n{table}\n\n</details>"


def _requests(report: Report) -> str:
    if report.load is None:
        return ""
    load = report.load
    rows = [_request(row) for row in load.rows]
    if load.total is not None:
        rows.append(tuple(f"**{cell}**" for cell in _request(load.total)))
    head = ("request", "count", "failed", "p50", "p95", "p99", "max")
    return f"### Requests\n\n{_table(head, rows, numbers=6)}" if rows else ""


def _request(row: LoadRow) -> tuple[str, ...]:
    return (
        _text(f"{row.method} {row.name}".strip()),
        f"{row.requests:,}",
        f"{row.failures:,}",
        *(milliseconds(v) for v in (row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms)),
    )


def _services(services: Sequence[Service]) -> str:
    head = ("service", "requests", "failed", "tries", "retries not made", "refused", "ejections")
    rows = [
        (_text(short_name(s.name)), *(f"{n:,}" for n in (s.requests, s.failures, s.tries, s.retries_refused,
                                                         s.overflows, s.ejections)))
        for s in services
    ]  # fmt: skip
    return f"### Services\n\n{_table(head, rows, numbers=6)}" if rows else ""


def _environment(report: Report) -> str:
    e = report.environment
    versions = ", ".join(f"{name} {version}" for name, version in e.versions.items())
    parts = [
        f"{duration(report.duration_seconds)}",
        f"{e.machine.cpu_count} × {e.machine.cpu_model}",
        f"Linux {e.machine.kernel}" if e.machine.kernel[:1].isdigit() else e.machine.kernel,
        f"Python {e.python}",
        versions,
        f"seed {e.seed}",
        f"limits by {e.enforcer}",
        f"pods as {e.runtime}",
    ]
    return f"<sub>{_text(' · '.join(part for part in parts if part))}</sub>"
