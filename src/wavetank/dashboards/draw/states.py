"""State timelines and status histories: what held when."""

from __future__ import annotations

from typing import Any

from wavetank.dashboards.display import Look
from wavetank.dashboards.draw.canvas import Canvas
from wavetank.dashboards.values import flag, number, text
from wavetank.limits import DASHBOARD_SERIES_MAX

__all__ = ["state_timeline", "status_history"]

Span = dict[str, Any]


def state_timeline(canvas: Canvas) -> dict[str, Any] | None:
    """As ``StatesDrawing``; equal values that follow each other become one span."""
    return _states(canvas, "state-timeline", flag(canvas.panel.options, "mergeValues", True))


def status_history(canvas: Canvas) -> dict[str, Any] | None:
    """As ``StatesDrawing``; every sample is a cell."""
    return _states(canvas, "status-history", False)


def _states(canvas: Canvas, kind: str, merge: bool) -> dict[str, Any] | None:
    looks = [
        look
        for row in canvas.looks
        for look in row
        if look.field.type != "time" and look.frame.first("time") is not None
    ][:DASHBOARD_SERIES_MAX]
    if not looks:
        return None
    options = canvas.panel.options
    rows: list[dict[str, Any]] = [
        {"label": look.field.display, "spans": _spans(look, canvas.to_ms, merge)} for look in looks
    ]
    seen = {(span["text"], span["colour"]): None for row in rows for span in row["spans"]}
    return {
        "draw": kind,
        "from": canvas.from_ms / 1000,
        "to": canvas.to_ms / 1000,
        "row_height": number(options, "rowHeight", 0.9),
        "cell_width": number(options, "colWidth", 0.9),
        "show_value": text(options, "showValue", "auto"),
        "rows": rows,
        "legend": [{"text": shown, "colour": colour} for shown, colour in list(seen)[:50]],
    }


def _spans(look: Look, to_ms: int, merge: bool) -> list[Span]:
    time = look.frame.first("time")
    assert time is not None
    moments, step = time.values, look.frame.step_ms
    out: list[Span] = []
    for index, value in enumerate(look.field.values):
        if value is None:
            continue
        start = moments[index]
        following = moments[index + 1] if index + 1 < len(moments) else start + (step or 1)
        end = min(following if not step else start + step, to_ms + step)
        shown = look.shown(value)
        last = out[-1] if out else None
        if merge and last and last["text"] == shown["text"] and abs(last["end"] - start / 1000) < 1e-6:
            last["end"] = end / 1000
        else:
            out.append(
                {"start": start / 1000, "end": end / 1000, "text": shown["text"], "colour": shown["colour"]}
            )
    return out
