"""Panels of single values: stat, gauge, bar gauge, pie chart.

Mirrors getFieldDisplayValues of Grafana's data library: one value a numeric field by a reducer, or one a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wavetank.dashboards.colours import palette
from wavetank.dashboards.display import Look
from wavetank.dashboards.draw.canvas import Canvas, finite
from wavetank.dashboards.frame import series_label
from wavetank.dashboards.matchers import compiled
from wavetank.dashboards.reducers import reduce_values
from wavetank.dashboards.values import flag, mapping, number, text, texts
from wavetank.limits import DASHBOARD_ITEMS_MAX

__all__ = ["bargauge", "gauge", "piechart", "stat"]


@dataclass(frozen=True, slots=True)
class _Item:
    look: Look
    value: Any
    title: str
    row: int | None = None


def _items(canvas: Canvas, default: str = "lastNotNull") -> list[_Item]:
    """What ``reduceOptions`` chooses."""
    reduce = mapping(canvas.panel.options, "reduceOptions")
    calcs = texts(reduce.get("calcs")) or [default]
    looks = _chosen(canvas, text(reduce, "fields"))
    found: list[_Item] = []
    if flag(reduce, "values"):
        most = int(number(reduce, "limit", 25) or 25)
        for look in looks:
            rows = range(min(look.frame.length, most))
            found += [_Item(look, look.field.values[row], _row_title(look, row), row) for row in rows]
    else:
        calc = calcs[0]
        found = [_Item(look, reduce_values(look.field.values, calc), look.field.display) for look in looks]
    if len(found) > DASHBOARD_ITEMS_MAX:
        canvas.notices.append(f"{len(found)} values: the first {DASHBOARD_ITEMS_MAX} are shown")
    return found[:DASHBOARD_ITEMS_MAX]


def _chosen(canvas: Canvas, fields: str) -> list[Look]:
    """``fields``: empty for the numeric ones, a name, or a regular expression."""
    every = [look for row in canvas.looks for look in row]
    if not fields:
        return [look for look in every if look.field.type == "number"]
    regex = compiled(fields) if fields.startswith("/") else None
    return [
        look
        for look in every
        if (regex.search(look.field.display) if regex is not None else look.field.display == fields)
    ]


def _row_title(look: Look, row: int) -> str:
    texts_of = [f for f in look.frame.fields if f.type == "string"]
    if texts_of:
        return ", ".join(str(f.values[row]) for f in texts_of if f.values[row] not in (None, ""))
    return look.field.display if not look.field.labels else series_label(look.field.labels)


def stat(canvas: Canvas) -> dict[str, Any] | None:
    """As ``StatDrawing``."""
    options = canvas.panel.options
    found = _items(canvas)
    if not found:
        return None
    mode, graph = text(options, "colorMode", "value"), text(options, "graphMode", "area")
    affix = mapping(options, "affix")
    items = []
    for item in found:
        shown = item.look.shown(item.value)
        if mode == "none":
            shown["colour"] = ""
        shown["text"] = f"{text(affix, 'prefix')}{shown['text']}{text(affix, 'postfix')}"
        change = _change(item.look) if flag(options, "showPercentChange") else None
        items.append(
            {
                **shown,
                "title": item.title,
                "background": mode.startswith("background"),
                "colour_text": mode == "value",
                "spark": _spark(item.look) if graph != "none" and item.row is None else None,
                "change": "" if change is None else f"{change:+.1%}",
                "change_colour": _change_colour(text(options, "percentChangeColorMode"), change),
                "links": canvas.links(item.look, item.value, item.row),
            }
        )
    size = mapping(options, "text")
    return {
        "draw": "stat",
        "orientation": text(options, "orientation", "auto"),
        "text_mode": text(options, "textMode", "auto"),
        "justify": text(options, "justifyMode", "auto"),
        "graph": graph,
        "wide": flag(options, "wideLayout", True),
        "title_size": number(size, "titleSize"),
        "value_size": number(size, "valueSize"),
        "items": items,
    }


def _change(look: Look) -> float | None:
    value = reduce_values(look.field.values, "diffperc")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _change_colour(mode: str, change: float | None) -> str:
    if change is None or change == 0 or mode == "same_as_value":
        return ""
    rising = (change > 0) != (mode == "inverted")
    return "#73BF69" if rising else "#F2495C"


def _spark(look: Look) -> dict[str, Any] | None:
    time = look.frame.first("time")
    values = [finite(value) for value in look.field.values]
    known = [value for value in values if value is not None]
    if time is None or len(known) < 2:
        return None
    low, high = number(look.config, "min"), number(look.config, "max")
    return {
        "times": [moment / 1000 for moment in time.values],
        "values": values,
        "min": min(known) if low is None else low,
        "max": max(known) if high is None else high,
    }


def _steps(look: Look) -> list[dict[str, Any]]:
    """Thresholds between the bounds as shares of the whole."""
    out = []
    for index, (start, colour) in enumerate(look.steps):
        until = look.steps[index + 1][0] if index + 1 < len(look.steps) else None
        low = 0.0 if start is None else look.percent(start)
        high = 1.0 if until is None else look.percent(until)
        if high > low:
            label = "" if start is None else look.text(start)
            out.append({"from": low, "to": high, "colour": colour, "label": label})
    return out


def _bounded(found: Sequence[_Item]) -> None:
    """Without bounds of its own a gauge is 0 to 100, or 0 to 1 for a ratio, as Grafana's is."""
    for item in found:
        if number(item.look.config, "min") is None:
            item.look.auto_low = min(0.0, item.look.auto_low)
        if number(item.look.config, "max") is None and item.look.unit in ("percent", "percentunit"):
            item.look.auto_high = 100.0 if item.look.unit == "percent" else 1.0


def gauge(canvas: Canvas) -> dict[str, Any] | None:
    """As ``GaugeDrawing``."""
    options = canvas.panel.options
    found = _items(canvas)
    _bounded(found)
    items = [
        {
            **item.look.shown(item.value),
            "title": item.title,
            "min_text": item.look.text(item.look.low),
            "max_text": item.look.text(item.look.high),
            "steps": _steps(item.look),
            "links": canvas.links(item.look, item.value, item.row),
        }
        for item in found
    ]
    return (
        {
            "draw": "gauge",
            "orientation": text(options, "orientation", "auto"),
            "shape": "circle" if text(options, "shape") == "circle" else "gauge",
            "labels": flag(options, "showThresholdLabels"),
            "markers": flag(options, "showThresholdMarkers", True),
            "items": items,
        }
        if items
        else None
    )


def bargauge(canvas: Canvas) -> dict[str, Any] | None:
    """As ``BarGaugeDrawing``."""
    options = canvas.panel.options
    found = _items(canvas)
    _bounded(found)
    items = [
        {
            **item.look.shown(item.value),
            "title": item.title,
            "steps": [{k: s[k] for k in ("from", "to", "colour")} for s in _steps(item.look)],
            "links": canvas.links(item.look, item.value, item.row),
        }
        for item in found
    ]
    orientation = text(options, "orientation", "auto")
    if orientation == "auto":
        orientation = "horizontal" if canvas.panel.grid.w > 1.2 * canvas.panel.grid.h else "vertical"
    return (
        {
            "draw": "bargauge",
            "orientation": "vertical" if orientation == "vertical" else "horizontal",
            "mode": text(options, "displayMode", "gradient"),
            "values": text(options, "valueMode", "color"),
            "names": text(options, "namePlacement", "auto"),
            "unfilled": flag(options, "showUnfilled", True),
            "items": items,
        }
        if items
        else None
    )


def piechart(canvas: Canvas) -> dict[str, Any] | None:
    """As ``PieDrawing``: slices in descending order unless told otherwise; values below zero have none."""
    options = canvas.panel.options
    found = [item for item in _items(canvas) if finite(item.value) is not None and item.value > 0]
    match text(options, "sort", "desc"):
        case "asc":
            found.sort(key=lambda item: item.value)
        case "desc":
            found.sort(key=lambda item: -item.value)
    total = sum(float(item.value) for item in found)
    legend = mapping(options, "legend")
    hidden = [item for item in found if not flag(mapping(item.look.custom, "hideFrom"), "viz")]
    items = []
    for index, item in enumerate(hidden):
        shown = item.look.shown(item.value)
        by_row = item.row is not None and not item.look.colour_mode
        shown["colour"] = palette(index) if by_row else item.look.series_colour()
        share = float(item.value) / total if total else 0.0
        items.append(
            {
                **shown,
                "title": item.title,
                "share": share,
                "percent_text": f"{share:.0%}",
                "links": canvas.links(item.look, item.value, item.row),
            }
        )
    return (
        {
            "draw": "piechart",
            "donut": text(options, "pieType") == "donut",
            "labels": [
                word for word in texts(options.get("displayLabels")) if word in ("name", "value", "percent")
            ],
            "legend": canvas.legend(),
            "legend_values": [word for word in texts(legend.get("values")) if word in ("value", "percent")],
            "items": items,
        }
        if items
        else None
    )
