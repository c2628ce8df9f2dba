"""When alerts fired and ended, from the series that the rules write."""

from __future__ import annotations

from wavetank.analysis.query import Query, Series
from wavetank.errors import WavetankError
from wavetank.rehearsal.outcome.timeline import Axis
from wavetank.rehearsal.report.model import Event

__all__ = ["alert_events"]

_FIRING = 'ALERTS{alertstate="firing"}'
_OWN = ("__name__", "alertname", "alertstate")


async def alert_events(query: Query | None, axis: Axis) -> tuple[Event, ...]:
    """An event when an alert begins to fire and one when it ends, to the axis' step."""
    if query is None or axis.count == 0:
        return ()
    try:
        found = await query.range(_FIRING, axis.times[0], axis.times[-1], axis.step)
    except WavetankError:
        return ()
    told = [event for series in found for event in _events(series, axis)]
    return tuple(sorted(told, key=lambda event: (event.at_seconds, event.subject, event.message)))


def _events(series: Series, axis: Axis) -> list[Event]:
    name = series.labels.get("alertname", "")
    labels = ", ".join(f"{k}={v}" for k, v in sorted(series.labels.items()) if k not in _OWN)
    about = f" ({labels})" if labels else ""
    told: list[Event] = []

    def tell(at: float, what: str, *, warning: bool) -> None:
        told.append(
            Event(
                at_seconds=round(at - axis.origin, 3), kind="alert", subject=name, message=f"{what}{about}",
                severity="warning" if warning else "info",
            )
        )  # fmt: skip

    before = None
    for at in series.times:
        if before is None or at - before > 1.5 * axis.step:
            if before is not None:
                tell(before + axis.step, "resolved", warning=False)
            tell(at, "firing", warning=True)
        before = at
    if before is not None and before < axis.times[-1] - 0.5 * axis.step:
        tell(before + axis.step, "resolved", warning=False)
    return told
