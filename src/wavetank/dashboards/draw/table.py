"""Tables: columns with their cells already written, coloured and linked."""

from __future__ import annotations

from typing import Any, Final

from wavetank.dashboards.display import Look
from wavetank.dashboards.draw.canvas import Canvas, finite
from wavetank.dashboards.frame import Frame
from wavetank.dashboards.reducers import reduce_values
from wavetank.dashboards.units import format_of
from wavetank.dashboards.values import flag, integer, mapping, mappings, number, text, texts
from wavetank.limits import DASHBOARD_ROWS_MAX

__all__ = ["table"]

_CELLS: Final = {
    "color-text": "color-text",
    "color-background": "color-background",
    "color-background-solid": "color-background",
    "gauge": "gauge",
    "basic": "gauge",
    "gradient-gauge": "gauge",
    "lcd-gauge": "gauge",
    "sparkline": "sparkline",
    "json-view": "json",
    "pill": "pill",
}
_TIME: Final = format_of("time:YYYY-MM-DD HH:mm:ss")


def table(canvas: Canvas) -> dict[str, Any] | None:
    """As ``TableDrawing``: the frame that ``frameIndex`` names."""
    shown = [index for index, frame in enumerate(canvas.frames) if frame.fields]
    if not shown or not any(canvas.frames[index].length for index in shown):
        return None
    options = canvas.panel.options
    wanted = min(max(0, integer(options, "frameIndex")), len(shown) - 1)
    row = canvas.looks[shown[wanted]]
    looks = [look for look in row if not flag(look.custom, "hidden") and not _hidden(look)]
    length = canvas.frames[shown[wanted]].length
    cut = max(0, length - DASHBOARD_ROWS_MAX)
    if cut:
        canvas.notices.append(f"{length} rows: the first {DASHBOARD_ROWS_MAX} are shown")
    columns = [_column(look, canvas) for look in looks]
    rows = [
        [_cell(look, index, canvas) for look in looks] for index in range(min(length, DASHBOARD_ROWS_MAX))
    ]
    return {
        "draw": "table",
        "header": flag(options, "showHeader", True),
        "height": text(options, "cellHeight", "sm"),
        "columns": columns,
        "rows": rows,
        "rows_cut": cut,
        "sort_by": _sort(canvas, looks),
        "page_size": number(options, "pageSize"),
        "frames": [
            {"title": canvas.frames[i].name or canvas.frames[i].ref, "selected": i == shown[wanted]}
            for i in shown
        ]
        if len(shown) > 1
        else [],
    }


def _hidden(look: Look) -> bool:
    return flag(mapping(look.custom, "hideFrom"), "viz")


def _sort(canvas: Canvas, looks: list[Look]) -> list[dict[str, Any]]:
    names = [look.field.display for look in looks]
    out = []
    for entry in mappings(canvas.panel.options, "sortBy"):
        name = text(entry, "displayName")
        column = (
            names.index(name) if name in names else integer(entry, "column", -1) if "column" in entry else -1
        )
        if 0 <= column < len(names):
            out.append({"column": column, "descending": flag(entry, "desc")})
    return out


def _kind(look: Look) -> tuple[str, str]:
    """Cell type and gauge mode; ``displayMode`` is how Grafana 9 and earlier wrote it."""
    cell = mapping(look.custom, "cellOptions")
    name = text(cell, "type") or text(look.custom, "displayMode", "auto")
    mode = {"gradient-gauge": "gradient", "lcd-gauge": "lcd"}.get(name) or text(cell, "mode", "basic")
    return _CELLS.get(name, "text"), mode


def _column(look: Look, canvas: Canvas) -> dict[str, Any]:
    kind, mode = _kind(look)
    align = text(look.custom, "align", "auto")
    numeric = look.field.type == "number"
    return {
        "name": look.field.display,
        "numeric": numeric,
        "width": number(look.custom, "width"),
        "align": align if align in ("left", "right", "center") else "right" if numeric else "left",
        "cell": kind,
        "gauge_mode": mode,
        "filterable": flag(look.custom, "filterable"),
        "wrap": flag(mapping(look.custom, "cellOptions"), "wrapText") or flag(look.custom, "wrapText"),
        "footer": _footer(look, canvas),
    }


def _footer(look: Look, canvas: Canvas) -> str:
    own = mapping(look.custom, "footer")
    old = mapping(canvas.panel.options, "footer")
    reducers = texts(own.get("reducers"))
    if not reducers and flag(old, "show"):
        fields = texts(old.get("fields"))
        reducers = texts(old.get("reducer")) if not fields or look.field.name in fields else []
    if look.field.type != "number" or not reducers:
        return ""
    return look.text(reduce_values(look.field.values, reducers[0]))


def _cell(look: Look, row: int, canvas: Canvas) -> dict[str, Any]:
    value = look.field.values[row]
    kind, _ = _kind(look)
    if look.field.type == "time":
        form = look.format if look.unit else _TIME
        text_of = "" if value is None else form.text(float(value))
        return _plain(text_of, value)
    if isinstance(value, Frame):
        numbers = value.first("number")
        spark = [finite(v) for v in numbers.values] if numbers else []
        return {**_plain("", None), "spark": spark, "colour": look.series_colour()}
    links = canvas.links(look, value, row)
    numeric = finite(value)
    mapped = look.mapped(value)
    coloured = kind in ("color-text", "color-background", "gauge", "pill")
    colour = (mapped[1] if mapped else "") or (look.value_colour(numeric) if coloured else "")
    return {
        "text": ""
        if value is None and mapped is None and not text(look.config, "noValue")
        else look.text(value),
        "sort": numeric if look.field.type == "number" else None if value is None else str(value),
        "colour": colour if coloured or mapped else "",
        "percent": look.percent(numeric) if kind == "gauge" else 0.0,
        "url": links[0]["url"] if links else "",
        "title": links[0]["title"] if links else "",
        "spark": None,
    }


def _plain(shown: str, value: Any) -> dict[str, Any]:
    sort = value if isinstance(value, int | float) else None
    return {"text": shown, "sort": sort, "colour": "", "percent": 0.0, "url": "", "title": "", "spark": None}
