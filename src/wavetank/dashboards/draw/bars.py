"""Bar charts over categories, and histograms of values."""

from __future__ import annotations

import math
from typing import Any, Final

from wavetank.dashboards.draw.canvas import Canvas, finite
from wavetank.dashboards.draw.timeseries import axis_of
from wavetank.dashboards.reducers import reduce_values
from wavetank.dashboards.values import flag, integer, mapping, number, text, texts

__all__ = ["barchart", "histogram"]

_BUCKETS: Final = 30
_CATEGORIES_MAX: Final = 500


def barchart(canvas: Canvas) -> dict[str, Any] | None:
    """As ``BarDrawing``. Series that have no text column are reduced, one category each."""
    options = canvas.panel.options
    row = next((r for r in canvas.looks if any(look.field.type == "string" for look in r)), None)
    if row is None:
        return _reduced(canvas)
    wanted = text(options, "xField")
    names = next((x for x in row if x.field.display == wanted), None) or next(
        x for x in row if x.field.type == "string"
    )
    looks = [look for look in row if look.field.type == "number"]
    if not looks or not names.field.values:
        return None
    categories = [names.text(v) for v in names.field.values[:_CATEGORIES_MAX]]
    series = [
        {
            "label": look.field.display,
            "colour": look.series_colour(),
            "values": [finite(v) for v in look.field.values[:_CATEGORIES_MAX]],
            "texts": [look.text(v) for v in look.field.values[:_CATEGORIES_MAX]],
            "fill": (number(look.custom, "fillOpacity", 80) or 0) / 100,
            "calcs": canvas.calculated(look),
        }
        for look in looks
    ]
    return _bars(canvas, categories, series, axis_of(looks[0]), grows=canvas.frames[0].length)


def _reduced(canvas: Canvas) -> dict[str, Any] | None:
    looks = list(canvas.numbers())
    if not looks:
        return None
    calc = (texts(mapping(canvas.panel.options, "reduceOptions").get("calcs")) or ["lastNotNull"])[0]
    values = [reduce_values(look.field.values, calc) for look in looks[:_CATEGORIES_MAX]]
    series = [
        {
            "label": look.field.display,
            "colour": look.series_colour(),
            "values": [finite(v) if i == j else None for j in range(len(values))],
            "texts": [look.text(v) if i == j else "" for j in range(len(values))],
            "fill": 0.8,
            "calcs": canvas.calculated(look),
        }
        for i, (look, v) in enumerate(zip(looks, values, strict=False))
    ]
    drawing = _bars(canvas, [look.field.display for look in looks], series, axis_of(looks[0]), len(looks))
    return drawing | {"stack": "normal"}


def _bars(
    canvas: Canvas, categories: list[str], series: list[dict[str, Any]], axis: dict[str, Any], grows: int
) -> dict[str, Any]:
    options = canvas.panel.options
    if grows > _CATEGORIES_MAX:
        canvas.notices.append(f"{grows} categories: the first {_CATEGORIES_MAX} are drawn")
    stacking = text(options, "stacking", "none")
    return {
        "draw": "barchart",
        "horizontal": text(options, "orientation") == "horizontal",
        "categories": categories,
        "stack": stacking if stacking in ("normal", "percent") else "",
        "show_values": text(options, "showValue", "auto"),
        "group_width": number(options, "groupWidth", 0.7),
        "bar_width": number(options, "barWidth", 0.97),
        "rotation": integer(options, "xTickLabelRotation"),
        "axis": axis,
        "series": series,
        "legend": canvas.legend(),
    }


def histogram(canvas: Canvas) -> dict[str, Any] | None:
    """As ``HistogramDrawing``: all fields share the buckets; ``combine`` counts them together."""
    options = canvas.panel.options
    looks = list(canvas.numbers())
    values = [[v for x in look.field.values if (v := finite(x)) is not None] for look in looks]
    every = [v for row in values for v in row]
    if not every:
        return None
    size = number(options, "bucketSize")
    if size is None or size <= 0:
        size = _nice((max(every) - min(every)) / max(1, integer(options, "bucketCount", _BUCKETS)))
    offset = number(options, "bucketOffset", 0.0) or 0.0
    first = math.floor((min(every) - offset) / size)
    count = min(10_000, math.floor((max(every) - offset) / size) - first + 1)
    groups = [("Count", looks[0].series_colour(), every)]
    if not flag(options, "combine"):
        groups = [
            (look.field.display, look.series_colour(), row) for look, row in zip(looks, values, strict=True)
        ]
    series = []
    for label, colour, row in groups:
        counts = [0] * count
        for v in row:
            counts[min(count - 1, math.floor((v - offset) / size) - first)] += 1
        fill = (number(looks[0].custom, "fillOpacity", 80) or 0) / 100
        series.append({"label": label, "colour": colour, "counts": counts, "fill": fill})
    return {
        "draw": "histogram",
        "edges": [offset + (first + i) * size for i in range(count + 1)],
        "format": looks[0].as_format(),
        "series": series,
        "legend": canvas.legend(),
    }


def _nice(size: float) -> float:
    """1, 2, 2.5 or 5 times a power of ten, not below the size."""
    if size <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(size))
    return next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= size * 0.999999)
