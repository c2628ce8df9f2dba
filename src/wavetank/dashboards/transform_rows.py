"""Transformations that choose and order rows, or turn them into columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wavetank.dashboards.frame import Field, Frame
from wavetank.dashboards.matchers import compiled
from wavetank.dashboards.values import JSON, flag, integer, mapping, mappings, number, text

__all__ = ["filter_by_value", "limit", "rows_to_fields", "sort_by", "transpose"]


def sort_by(frames: list[Frame], options: JSON) -> list[Frame]:
    """The first entry of ``sort``: field and desc."""
    wanted = next(iter(mappings(options, "sort")), {})
    name, descending = text(wanted, "field"), flag(wanted, "desc")
    out = []
    for frame in frames:
        column = next((f for f in frame.fields if name in (f.display, f.name)), None)
        out.append(frame if column is None else sorted_frame(frame, column, descending))
    return out


def sorted_frame(frame: Frame, column: Field, descending: bool) -> Frame:
    """Rows in the column's order; missing values last either way."""
    known = [row for row in range(frame.length) if column.values[row] is not None]
    missing = [row for row in range(frame.length) if column.values[row] is None]
    known.sort(key=lambda row: _sortable(column.values[row]), reverse=descending)
    return replace(frame, fields=[found.taken([*known, *missing]) for found in frame.fields])


def _sortable(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return (0, float(value), "") if value == value else (0, float("inf"), "")
    return 1, 0.0, str(value).lower()


def limit(frames: list[Frame], options: JSON) -> list[Frame]:
    """The first ``limitField`` rows of each frame."""
    most = integer(options, "limitField", 10)
    rows = range(max(0, most))
    return [
        replace(frame, fields=[found.taken([r for r in rows if r < frame.length]) for found in frame.fields])
        for frame in frames
    ]


def filter_by_value(frames: list[Frame], options: JSON) -> list[Frame]:
    """``filters`` of fieldName and config{id, options}; ``type`` include or exclude, ``match`` any or all."""
    filters = mappings(options, "filters")
    every, exclude = text(options, "match") == "all", text(options, "type") == "exclude"
    out = []
    for frame in frames:
        columns = {found.display: found for found in frame.fields}
        usable = [f for f in filters if text(f, "fieldName") in columns]
        if not usable:
            out.append(frame)
            continue
        rows = []
        for row in range(frame.length):
            held = [_holds(columns[text(f, "fieldName")].values[row], mapping(f, "config")) for f in usable]
            if (all(held) if every else any(held)) != exclude:
                rows.append(row)
        out.append(replace(frame, fields=[found.taken(rows) for found in frame.fields]))
    return out


def _holds(value: Any, config: JSON) -> bool:
    options = mapping(config, "options")
    match text(config, "id"):
        case "isNull":
            return value is None
        case "isNotNull":
            return value is not None
        case "regex":
            regex = compiled(text(options, "value"))
            return regex is not None and bool(regex.search(str(value)))
        case "substring":
            return text(options, "value").lower() in str(value).lower()
        case "equal":
            return value is not None and (
                str(value) == text(options, "value") or value == number(options, "value")
            )
        case "notEqual":
            return not (str(value) == text(options, "value") or value == number(options, "value"))
        case kind:
            return isinstance(value, int | float) and _compares(float(value), kind, options)


def _compares(value: float, kind: str, options: JSON) -> bool:
    bound = number(options, "value", 0.0) or 0.0
    match kind:
        case "greater":
            return value > bound
        case "greaterOrEqual":
            return value >= bound
        case "lower":
            return value < bound
        case "lowerOrEqual":
            return value <= bound
        case "between":
            low, high = number(options, "from", 0.0) or 0.0, number(options, "to", 0.0) or 0.0
            return low < value < high
        case _:
            return False


def rows_to_fields(frames: list[Frame], options: JSON) -> list[Frame]:
    """The first text column's values name the columns, the first number column fills them."""
    out = []
    for frame in frames:
        names, values = frame.first("string"), frame.first("number")
        if names is None or values is None:
            out.append(frame)
            continue
        fields = [Field(str(n), "number", [v]) for n, v in zip(names.values, values.values, strict=True)]
        out.append(Frame(frame.ref, fields, kind="table"))
    return out


def transpose(frames: list[Frame], options: JSON) -> list[Frame]:
    """Rows become columns; the first column names them."""
    out = []
    for frame in frames:
        if len(frame.fields) < 2:
            out.append(frame)
            continue
        head, *rest = frame.fields
        title = text(options, "firstFieldName", "Field")
        fields = [Field(title, "string", [found.display for found in rest])]
        for row, name in enumerate(head.values):
            values = [found.values[row] for found in rest]
            kind = "string" if any(isinstance(v, str) for v in values) else "number"
            fields.append(Field(str(name), kind, values))  # type: ignore[arg-type]
        out.append(Frame(frame.ref, fields, kind="table"))
    return out
