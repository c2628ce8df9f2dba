"""The time axis of the report, and everything that comes from the load generator's own counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavetank.rehearsal.outcome.record import LoadSecond
from wavetank.rehearsal.report.model import Generator, LoadStage, Timeline

__all__ = ["Axis", "last_known", "load_stages", "load_timeline"]

Series = tuple[float | None, ...]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Axis:
    """Points every ``step`` seconds after ``origin`` (Unix seconds); entry ``i`` ends its step."""

    origin: float
    step: float
    count: int

    @property
    def times(self) -> list[float]:
        """Unix seconds."""
        return [self.origin + self.step * (i + 1) for i in range(self.count)]

    @property
    def relative(self) -> tuple[float, ...]:
        return tuple(round(self.step * (i + 1), 3) for i in range(self.count))

    def index(self, at: float) -> int | None:
        i = int((at - self.origin) // self.step)
        return i if 0 <= i < self.count else None


def last_known(axis: Axis, points: Sequence[tuple[float, float]], initial: float | None = None) -> Series:
    """A stepped series: at each entry the value of the latest point not after it."""
    values: list[float | None] = []
    current, i = initial, 0
    for at in axis.times:
        while i < len(points) and points[i][0] <= at:
            current = points[i][1]
            i += 1
        values.append(current)
    return tuple(values)


def load_timeline(axis: Axis, rows: Sequence[LoadSecond], cores: int) -> Timeline:
    """What clients saw. A second's row belongs to the step that its middle falls into."""
    buckets: list[list[LoadSecond]] = [[] for _ in range(axis.count)]
    for row in rows:
        i = axis.index(row.second + 0.5)
        if i is not None:
            buckets[i].append(row)

    def rate(field: str) -> Series:
        return tuple(sum(getattr(r, field) for r in b) / axis.step if b else None for b in buckets)

    def worst(field: str, scale: float = 1.0) -> Series:
        return tuple(_largest([getattr(r, field) for r in b], scale) for b in buckets)

    success = tuple(
        1 - sum(r.failures for r in b) / total if (total := sum(r.requests for r in b)) else None
        for b in buckets
    )
    return Timeline(
        step_seconds=axis.step,
        at_seconds=axis.relative,
        arrival_rps=rate("scheduled") if any(r.scheduled for r in rows) else rate("started"),
        completed_rps=rate("requests"),
        failed_rps=rate("failures"),
        success_ratio=success,
        p50_ms=worst("p50", 1000.0),
        p95_ms=worst("p95", 1000.0),
        p99_ms=worst("p99", 1000.0),
        users=worst("users"),
        generator=Generator(
            cpu_ratio=worst("cpu"),
            machine_cpu_ratio=tuple(None if v is None else v / cores for v in worst("cpu")),
            lateness_ms=worst("lateness_p99", 1000.0),
            in_flight=worst("busy"),
        ),
    )


def _largest(values: Sequence[float | None], scale: float) -> float | None:
    known = [v for v in values if v is not None]
    return max(known) * scale if known else None


def load_stages(
    records: Sequence[Record], origin: float, end: float, rows: Sequence[LoadSecond]
) -> tuple[LoadStage, ...]:
    """The stages as they took effect, each until the next or the end of the load."""
    began = [r for r in records if r["kind"] == "load.stage"]
    stopped = next((float(r["at"]) for r in records if r["kind"] == "load.stop"), end)
    stages = []
    for i, record in enumerate(began):
        start = float(record["at"])
        until = float(began[i + 1]["at"]) if i + 1 < len(began) else stopped
        inside = [r for r in rows if start <= r.second + 0.5 < until]
        worst = [r.p99 for r in inside if r.p99 is not None]
        rps = record.get("rps")
        stages.append(
            LoadStage(
                index=int(record.get("index", i)),
                start_seconds=round(start - origin, 3),
                end_seconds=round(until - origin, 3),
                kind="users" if rps is None else "rps",
                users=record.get("users"),
                rps=rps,
                arrivals=str(record.get("arrivals") or ""),
                requests=sum(r.requests for r in inside),
                failures=sum(r.failures for r in inside),
                p99_ms=max(worst) * 1000 if worst else None,
            )
        )
    return tuple(stages)
