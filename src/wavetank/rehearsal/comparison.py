"""Reports side by side: a rehearsal and its simulation, or simulations with different seeds.

Both are read from ``report.json``; time counts from the begin of the load, so that how long a tank took to
start plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import msgspec
from rich.console import Console
from rich.table import Table

from wavetank.errors import InputError
from wavetank.rehearsal.report.model import Report, Scaling

__all__ = [
    "Curve", "curves", "picture", "print_comparison", "print_spread", "read_report", "service_curves",
]  # fmt: skip

Curve = list[tuple[float, float]]
_WIDTH, _HEIGHT, _LEFT, _GAP = 720, 120, 56, 30
_COLOURS = ("#1f6feb", "#d1480f", "#2a9d5c", "#8a63d2")


def read_report(path: Path) -> Report:
    """``report.json``, or the directory it is in. Raises InputError."""
    file = path / "report.json" if path.is_dir() else path
    try:
        return msgspec.json.decode(file.read_bytes(), type=Report)
    except OSError:
        raise InputError(
            f"no report at {file}", fix="give a rehearsal's report.json or its directory"
        ) from None
    except msgspec.MsgspecError as error:
        raise InputError(f"not a report of this version: {error}", at=str(file)) from None


def _begin(report: Report) -> float:
    """When the load began, in the report's seconds."""
    if report.stages:
        return report.stages[0].start_seconds
    rates = report.timeline.arrival_rps
    first = next((i for i, v in enumerate(rates) if v), 0)
    return report.timeline.at_seconds[first] - report.timeline.step_seconds if rates else 0.0


def curves(report: Report) -> dict[str, Curve]:
    """Arrivals, ready pods, p99 (ms) and CPU (cores) over seconds of load."""
    begin, times = _begin(report), report.timeline.at_seconds

    def curve(values: Sequence[float | None]) -> Curve:
        return [(t - begin, v) for t, v in zip(times, values, strict=True) if v is not None and t >= begin]

    found = {"requests/s": curve(report.timeline.arrival_rps)}
    for workload in report.workloads:
        found[f"{workload.name} ready"] = curve(workload.ready)
        found[f"{workload.name} CPU, cores"] = curve(workload.cpu_cores)
    found["p99, ms"] = curve(report.timeline.p99_ms)
    return found


def service_curves(report: Report) -> dict[str, Curve]:
    """What failed, and of each service the tries a second and the pods that were ejected."""
    begin, times = _begin(report), report.timeline.at_seconds
    rows = {"failed requests/s": report.timeline.failed_rps}
    for service in report.services:
        name = service.name.rpartition("/")[2]
        rows |= {f"tries of {name}/s": service.tries_rps, f"{name} ejected": service.ejected}
    return {
        name: [(t - begin, v) for t, v in zip(times, values, strict=True) if v is not None and t >= begin]
        for name, values in rows.items()
        if values
    }


def _value_at(curve: Curve, at: float) -> float | None:
    known = [v for t, v in curve if t <= at]
    return known[-1] if known else None


def _differences(one: Curve, other: Curve) -> tuple[float, float, float] | None:
    """(mean of one, of the other, mean absolute difference) where both are."""
    pairs = [(v, w) for t, v in one if (w := _value_at(other, t)) is not None]
    if not pairs:
        return None
    return mean(v for v, _ in pairs), mean(w for _, w in pairs), mean(abs(v - w) for v, w in pairs)


def print_comparison(rehearsed: Report, simulated: Sequence[Report], console: Console) -> None:
    """The differences as numbers; of several simulations their mean."""
    table = Table(title="rehearsed and simulated", box=None, title_justify="left")
    for column in ("over the load", "rehearsed", "simulated", "mean difference"):
        table.add_column(column, justify="left" if column == "over the load" else "right")
    real = curves(rehearsed)
    for name, curve in real.items():
        found = [d for r in simulated if (d := _differences(curve, curves(r).get(name, []))) is not None]
        if found:
            columns = [mean(column) for column in zip(*found, strict=True)]
            table.add_row(name, *(f"{value:.3g}" for value in columns))
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        values = [getattr(r.load.total, name) for r in simulated if r.load is not None]
        mine = getattr(rehearsed.load.total, name) if rehearsed.load is not None else None
        known = [v for v in values if v is not None]
        if mine is not None and known:
            table.add_row(f"all requests, {name[:-3]}, ms", f"{mine:.3g}", f"{mean(known):.3g}",
                          f"{mean(known) - mine:+.3g}")  # fmt: skip
    for row in _scaling_rows(rehearsed, simulated):
        table.add_row(*row)
    console.print()
    console.print(table, highlight=False)


def _ups(report: Report) -> list[Scaling]:
    return [s for s in report.scalings if s.direction == "up"]


def _scaling_rows(rehearsed: Report, simulated: Sequence[Report]) -> list[tuple[str, str, str, str]]:
    """The first scale-up of each, stage by stage."""
    real = _ups(rehearsed)
    others = [ups[0] for r in simulated if (ups := _ups(r))]
    if not real or not others:
        return []
    total = mean(s.total_seconds for s in others)
    rows = [("first scale-up, s", f"{real[0].total_seconds:.1f}", f"{total:.1f}",
             f"{total - real[0].total_seconds:+.1f}")]  # fmt: skip
    for stage in real[0].stages:
        values = [s.seconds for other in others for s in other.stages if s.name == stage.name]
        if values:
            difference = mean(values) - stage.seconds
            rows.append(
                (f"  {stage.name}", f"{stage.seconds:.2f}", f"{mean(values):.2f}", f"{difference:+.2f}")
            )
    return rows


def print_spread(reports: Sequence[Report], console: Console) -> None:
    """What several seeds gave: least, mean, most."""
    table = Table(
        title=f"{len(reports)} runs, phases and arrivals drawn anew", box=None, title_justify="left"
    )
    for column in ("", "least", "mean", "most"):
        table.add_column(column, justify="right" if column else "left")
    held = sum(r.outcome == "held" for r in reports)
    rows = {f"SLO {slo.name}": [r.slos[i].value for r in reports] for i, slo in enumerate(reports[0].slos)}
    rows["p99 of all requests, ms"] = [
        r.load.total.p99_ms for r in reports if r.load is not None and r.load.total is not None
    ]
    rows["first scale-up, s"] = [ups[0].total_seconds for r in reports if (ups := _ups(r))]
    names = {s.name for r in reports for up in _ups(r)[:1] for s in up.stages}
    for name in sorted(names):
        rows[f"  {name}, s"] = [
            s.seconds for r in reports for up in _ups(r)[:1] for s in up.stages if s.name == name
        ]
    for name, values in rows.items():
        known = [v for v in values if v is not None]
        if known:
            table.add_row(name, *(f"{v:.4g}" for v in (min(known), mean(known), max(known))))
    console.print()
    console.print(table, highlight=False)
    console.print(f"held in {held} of {len(reports)} runs", highlight=False)


# --- the picture


def picture(reports: Sequence[tuple[str, Report]], only: Sequence[str] = ()) -> str:
    """An SVG with one chart under another, each report a line in each: ``curves``, or those named, of
    ``service_curves`` too."""
    drawn = [(name, curves(report)) for name, report in reports]
    if only:
        drawn = [
            (name, found | service_curves(report))
            for (name, found), (_, report) in zip(drawn, reports, strict=True)
        ]
        drawn = [(name, {key: found[key] for key in only if key in found}) for name, found in drawn]
    names = list(dict.fromkeys(name for _, found in drawn for name in found))
    end = max((t for _, found in drawn for c in found.values() for t, _ in c), default=1.0)
    height = len(names) * (_HEIGHT + _GAP) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + _LEFT + 16}" height="{height}" '
        'font-family="sans-serif" font-size="11" fill="#444">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for i, (label, _) in enumerate(drawn if len(drawn) > 1 else ()):
        parts.append(f'<text x="{_LEFT + 110 * i}" y="14" fill="{_COLOURS[i]}">{label}</text>')
    for row, name in enumerate(names):
        top = 24 + row * (_HEIGHT + _GAP)
        parts += _chart(name, [found.get(name, []) for _, found in drawn], top, end)
    parts.append(f'<text x="{_LEFT}" y="{height - 4}">0</text>')
    parts.append(f'<text x="{_LEFT + _WIDTH}" y="{height - 4}" text-anchor="end">{_clock(end)}</text></svg>')
    return "\n".join(parts) + "\n"


def _chart(name: str, lines: Sequence[Curve], top: int, end: float) -> list[str]:
    most = max((v for line in lines for _, v in line), default=0.0) or 1.0
    parts = [
        f'<text x="{_LEFT}" y="{top + 10}">{name}</text>',
        f'<path d="M{_LEFT} {top + 16}V{top + _HEIGHT}H{_LEFT + _WIDTH}" fill="none" stroke="#ccc"/>',
        f'<text x="{_LEFT - 4}" y="{top + 24}" text-anchor="end">{most:.3g}</text>',
        f'<text x="{_LEFT - 4}" y="{top + _HEIGHT}" text-anchor="end">0</text>',
    ]
    for line, colour in zip(lines, _COLOURS, strict=False):
        points = " ".join(
            f"{_LEFT + t / end * _WIDTH:.0f},{top + _HEIGHT - v / most * (_HEIGHT - 18):.1f}" for t, v in line
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return parts


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
