"""Why it scaled, in a sentence: what moved the load, and what the autoscaler saw of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from wavetank.analysis.lag import NO_CHANGE_OF_LOAD
from wavetank.rehearsal.report.model import Scaling, Timeline

__all__ = ["with_causes"]

Record = Mapping[str, Any]

_BEFORE_SECONDS: Final = 60.0  # load that came earlier has been answered by an earlier decision
_MOVED_RATIO: Final = 1.2  # less is the noise of arrivals


def with_causes(
    scalings: Sequence[Scaling], records: Sequence[Record], timeline: Timeline, origin: float
) -> tuple[Scaling, ...]:
    """Each scaling's cause, completed by the metric that decided. Load that no journal knows, since a program
    outside of the run sends it, is told by the requests that arrived."""
    return tuple(
        msgspec.structs.replace(one, cause=_cause(one, records, timeline, origin)) for one in scalings
    )


def _cause(scaling: Scaling, records: Sequence[Record], timeline: Timeline, origin: float) -> str:
    cause = scaling.cause
    if cause.startswith(NO_CHANGE_OF_LOAD):
        moved = _arrivals(scaling, timeline)
        cause = cause.replace(NO_CHANGE_OF_LOAD, moved or NO_CHANGE_OF_LOAD)
    seen = _seen(scaling, records, origin)
    return "; ".join(part for part in (cause, seen) if part)


def _arrivals(scaling: Scaling, timeline: Timeline) -> str:
    """How arrivals moved before the decision, the way it went; "" if they did not."""
    decided = scaling.decided_at_seconds
    known = [
        rate
        for at, rate in zip(timeline.at_seconds, timeline.arrival_rps, strict=False)
        if rate is not None and decided - _BEFORE_SECONDS <= at <= decided
    ]
    if not known:
        return ""
    now, up = known[-1], scaling.direction == "up"
    before = min(known) if up else max(known)
    if (now if up else before) < _MOVED_RATIO * max(before if up else now, 0.1):
        return ""
    return f"arriving requests {'rose' if up else 'fell'} from {before:.3g} to {now:.3g} per second"


def _seen(scaling: Scaling, records: Sequence[Record], origin: float) -> str:
    """The metric that asked for most in the decision, and what limited it."""
    name = scaling.workload.rpartition("/")[2]
    for record in records:
        if (
            record["kind"] == "hpa.sync"
            and record.get("rescaled")
            and abs(float(record["at"]) - origin - scaling.decided_at_seconds) < 0.01
            and str(record["target"]).rpartition("/")[2] == name
        ):
            metrics = [m for m in record.get("metrics") or () if m.get("ratio") is not None]
            most = max(metrics, key=lambda m: float(m["ratio"]), default=None)
            if most is None:
                return str(record.get("reason") or "")
            value, target = float(most["value"]), float(most["target"])
            text = f"{most['name']} at {value:.3g} against a target of {target:.3g}"
            limited = record.get("limited")
            return f"{text}, wants {record['proposed']}" + (f", limited by {limited}" if limited else "")
    return ""
