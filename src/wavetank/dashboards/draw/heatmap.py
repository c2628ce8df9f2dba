"""Heatmaps: buckets over time, or values of ordinary series counted into buckets."""

from __future__ import annotations

import math
from typing import Any, Final

from wavetank.dashboards.colours import css, ramp, scheme
from wavetank.dashboards.display import Look
from wavetank.dashboards.draw.canvas import Canvas, finite
from wavetank.dashboards.units import format_of
from wavetank.dashboards.values import flag, integer, mapping, number, text

__all__ = ["heatmap"]

_BUCKETS: Final = 30


def heatmap(canvas: Canvas) -> dict[str, Any] | None:
    """As ``HeatmapDrawing``."""
    options = canvas.panel.options
    looks = [look for look in canvas.numbers() if look.frame.first("time") is not None]
    if not looks:
        return None
    times = sorted({t for look in looks for t in _times(look)})
    if not times:
        return None
    labels, counts = (
        _counted(canvas, looks, times) if flag(options, "calculate") else _buckets(canvas, looks, times)
    )
    least = number(mapping(options, "filterValues"), "le", 1e-9)
    counts = [[None if v is None or (least is not None and v <= least) else v for v in row] for row in counts]
    known = [v for row in counts for v in row if v is not None]
    if not known:
        return None
    colour = mapping(options, "color")
    low, high = number(colour, "min"), number(colour, "max")
    step = max((look.frame.step_ms for look in looks), default=0)
    cells = looks[0]
    return {
        "draw": "heatmap",
        "from": canvas.from_ms / 1000,
        "to": canvas.to_ms / 1000,
        "times": [t / 1000 for t in times],
        "step": step / 1000,
        "labels": labels,
        "counts": counts,
        "colours": _colours(options),
        "low": min(known) if low is None else low,
        "high": max(known) if high is None else high,
        "exponent": number(colour, "exponent", 0.5) if text(colour, "mode") == "opacity" else 1.0,
        "gap": number(options, "cellGap", 1.0),
        "format": format_of(text(mapping(options, "cellValues"), "unit") or "short").as_json(cells.decimals),
        "legend": flag(mapping(options, "legend"), "show", True),
    }


def _times(look: Look) -> list[int]:
    time = look.frame.first("time")
    return list(time.values) if time is not None else []


def _colours(options: Any) -> list[str]:
    colour = mapping(options, "color")
    steps = max(2, min(128, integer(colour, "steps", 64)))
    if text(colour, "mode") == "opacity":
        base = css(text(colour, "fill", "dark-orange")) or "#FA6400"
        return [
            f"{base}{round(255 * (i + 1) / steps):02X}" if base.startswith("#") else base
            for i in range(steps)
        ]
    stops = scheme(text(colour, "scheme", "Oranges"))
    out = [ramp(stops, i / (steps - 1)) for i in range(steps)]
    return out[::-1] if flag(colour, "reverse") else out


def _buckets(
    canvas: Canvas, looks: list[Look], times: list[int]
) -> tuple[list[str], list[list[float | None]]]:
    """Each series is a bucket, ordered by its bound where it has one; equal names add up."""
    place = {t: i for i, t in enumerate(times)}
    unit = text(mapping(canvas.panel.options, "yAxis"), "unit")
    decimals = number(mapping(canvas.panel.options, "yAxis"), "decimals")
    rows: dict[str, list[float | None]] = {}
    for look in looks:
        row = rows.setdefault(look.field.display, [None] * len(times))
        for t, v in zip(_times(look), look.field.values, strict=True):
            value = finite(v)
            if value is not None:
                row[place[t]] = (row[place[t]] or 0.0) + value
    bounded = not any(math.isnan(_bound(name)) for name in rows)
    names = sorted(rows, key=_bound) if bounded else list(rows)
    if flag(mapping(canvas.panel.options, "yAxis"), "reverse"):
        names.reverse()
    form = format_of(unit)
    labels = [_label(name, form, None if decimals is None else int(decimals)) for name in names]
    return labels, [rows[name] for name in names]


def _bound(name: str) -> float:
    try:
        return float(name.replace("Inf", "inf"))
    except ValueError:
        return math.nan


def _label(name: str, form: Any, decimals: int | None) -> str:
    value = _bound(name)
    if math.isnan(value):
        return name
    return "+Inf" if math.isinf(value) else str(form.text(value, decimals))


def _counted(
    canvas: Canvas, looks: list[Look], times: list[int]
) -> tuple[list[str], list[list[float | None]]]:
    values = [(t, finite(v)) for look in looks for t, v in zip(_times(look), look.field.values, strict=True)]
    known = [(t, v) for t, v in values if v is not None]
    if not known:
        return [], []
    low, high = min(v for _, v in known), max(v for _, v in known)
    size = ((high - low) or abs(high) or 1.0) / _BUCKETS
    place = {t: i for i, t in enumerate(times)}
    counts: list[list[float | None]] = [[0.0] * len(times) for _ in range(_BUCKETS)]
    for t, v in known:
        row = counts[min(_BUCKETS - 1, int((v - low) / size))]
        row[place[t]] = (row[place[t]] or 0.0) + 1
    form = looks[0].format
    return [form.text(low + size * (i + 1), looks[0].decimals) for i in range(_BUCKETS)], counts
