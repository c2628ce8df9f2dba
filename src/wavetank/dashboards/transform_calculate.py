"""Transformations that compute: new columns, groups, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from wavetank.dashboards.frame import Field, FieldType, Frame
from wavetank.dashboards.reducers import TITLES, reduce_values
from wavetank.dashboards.transform_join import join_by_field
from wavetank.dashboards.values import JSON, flag, mapping, text, texts

__all__ = ["calculate_field", "group_by", "reduce_frames"]


def _divide(a: float, b: float) -> float | None:
    return a / b if b else None


_BINARY: Final[dict[str, Callable[[float, float], float | None]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": lambda a, b: math.fmod(a, b) if b else None,
    "**": lambda a, b: a**b if abs(b) < 1000 and (a >= 0 or b == int(b)) and (a or b >= 0) else None,
}
_UNARY: Final[dict[str, Callable[[float], float]]] = {
    "abs": abs,
    "ceil": lambda v: float(math.ceil(v)),
    "floor": lambda v: float(math.floor(v)),
    "round": lambda v: float(math.floor(v + 0.5)),
    "ln": lambda v: math.log(v),
    "exp": lambda v: math.exp(v),
}


def calculate_field(frames: list[Frame], options: JSON) -> list[Frame]:
    """``mode`` binary, unary, reduceRow, cumulativeFunctions or index; ``replaceFields`` keeps only the
    result."""
    mode, alias = text(options, "mode", "reduceRow"), text(options, "alias")
    time_series = len(frames) > 1 and all(frame.first("time") is not None for frame in frames)
    if mode in ("reduceRow", "binary") and time_series and all(len(f.fields) == 2 for f in frames):
        frames = join_by_field(frames, {})
        for frame in frames:
            for found in frame.fields:
                found.display = found.display or found.legend or found.name
    out = []
    for frame in frames:
        made = _calculated(frame, mode, alias, options)
        if made is None:
            out.append(frame)
            continue
        kept = (
            [f for f in frame.fields if f.type == "time"] if flag(options, "replaceFields") else frame.fields
        )
        out.append(replace(frame, fields=[*kept, made]))
    return out


def _calculated(frame: Frame, mode: str, alias: str, options: JSON) -> Field | None:
    match mode:
        case "binary":
            return _binary(frame, alias, mapping(options, "binary"))
        case "unary":
            return _unary(frame, alias, mapping(options, "unary"))
        case "reduceRow":
            return _row(frame, alias, mapping(options, "reduce"))
        case "cumulativeFunctions":
            return _cumulative(frame, alias, mapping(options, "cumulative"))
        case "index":
            return Field(alias or "Row", "number", list(range(frame.length)))
        case _:
            return None


def _operand(frame: Frame, side: Any) -> Sequence[Any] | None:
    """A column by its name, or a number; today's files hold ``{matcher}`` or ``{fixed}``."""
    name = side
    if isinstance(side, dict):
        name = side.get("fixed") or mapping(side, "matcher").get("options", "")
    found = next((f for f in frame.fields if str(name) in (f.display, f.name) and f.type == "number"), None)
    if found is not None:
        return found.values
    try:
        return [float(str(name))] * frame.length
    except ValueError:
        return None


def _binary(frame: Frame, alias: str, options: JSON) -> Field | None:
    left, right = _operand(frame, options.get("left")), _operand(frame, options.get("right"))
    name = text(options, "operator", "+")
    compute = _BINARY.get(name)
    if left is None or right is None or compute is None:
        return None
    values = [
        compute(float(a), float(b)) if a is not None and b is not None else None
        for a, b in zip(left, right, strict=True)
    ]
    title = alias or f"{options.get('left')} {name} {options.get('right')}"
    return Field(title, "number", values, config={"displayName": title})


def _unary(frame: Frame, alias: str, options: JSON) -> Field | None:
    name = text(options, "operator")
    values, compute = _operand(frame, options.get("fieldName")), _UNARY.get(name)
    if values is None or compute is None:
        return None
    title = alias or f"{name}({options.get('fieldName')})"
    return Field(title, "number", [_tried(compute, v) for v in values], config={"displayName": title})


def _tried(compute: Callable[[float], float], value: Any) -> float | None:
    try:
        return None if value is None else compute(float(value))
    except (ValueError, OverflowError):
        return None


def _row(frame: Frame, alias: str, options: JSON) -> Field | None:
    include = texts(options.get("include"))
    columns = [f.values for f in frame.fields if f.type == "number" and (not include or f.display in include)]
    if not columns:
        return None
    reducer = text(options, "reducer", "sum")
    values = [reduce_values(row, reducer) for row in zip(*columns, strict=True)]
    title = alias or TITLES.get(reducer, reducer)
    return Field(title, "number", values, config={"displayName": title})


def _cumulative(frame: Frame, alias: str, options: JSON) -> Field | None:
    values = _operand(frame, options.get("field"))
    if values is None:
        return None
    mean, total = text(options, "reducer") == "mean", 0.0
    out: list[float | None] = []
    for count, value in enumerate(values, 1):
        total += float(value or 0)
        out.append(total / count if mean else total)
    title = alias or f"cumulative {options.get('field')}"
    return Field(title, "number", out, config={"displayName": title})


def group_by(frames: list[Frame], options: JSON) -> list[Frame]:
    """``fields`` by name, each ``groupby`` or ``aggregate`` with reducers: columns ``name (reducer)``."""
    wanted = mapping(options, "fields")
    out = []
    for frame in frames:
        keys = [f for f in frame.fields if text(mapping(wanted, f.display), "operation") == "groupby"]
        if not keys:
            out.append(frame)
            continue
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row in range(frame.length):
            groups.setdefault(tuple(key.values[row] for key in keys), []).append(row)
        fields = [
            replace(key, values=[group[i] for group in groups], labels={}) for i, key in enumerate(keys)
        ]
        for found in frame.fields:
            setting = mapping(wanted, found.display)
            if text(setting, "operation") != "aggregate":
                continue
            for reducer in texts(setting.get("aggregations")):
                values = [
                    reduce_values([found.values[row] for row in rows], reducer) for rows in groups.values()
                ]
                fields.append(Field(f"{found.display} ({reducer})", _type(values), values))
        out.append(Frame(frame.ref, fields, kind="table"))
    return out


def _type(values: Sequence[Any]) -> FieldType:
    return "string" if any(isinstance(v, str | list) for v in values) else "number"


def reduce_frames(frames: list[Frame], options: JSON) -> list[Frame]:
    """``seriesToRows`` (a row a series, a column a reducer) or ``reduceFields`` (a row a frame)."""
    reducers = texts(options.get("reducers")) or ["max"]
    if text(options, "mode", "seriesToRows") == "reduceFields":
        return [_reduced(frame, reducers) for frame in frames]
    named = [(found, frame) for frame in frames for found in frame.fields if found.type == "number"]
    fields = [Field("Field", "string", [found.display for found, _ in named])]
    if flag(options, "labelsToFields"):
        labels = sorted({name for found, _ in named for name in found.labels})
        fields += [Field(n, "string", [found.labels.get(n, "") for found, _ in named]) for n in labels]
    for reducer in reducers:
        values = [reduce_values(found.values, reducer) for found, _ in named]
        fields.append(Field(TITLES.get(reducer, reducer), _type(values), values))
    return [Frame(frames[0].ref if frames else "", fields, kind="table")]


def _reduced(frame: Frame, reducers: Sequence[str]) -> Frame:
    fields = []
    for found in frame.fields:
        if found.type == "time":
            continue
        for reducer in reducers:
            value = reduce_values(found.values, reducer)
            title = found.display if len(reducers) == 1 else f"{found.display} {TITLES.get(reducer, reducer)}"
            fields.append(replace(found, values=[value], config={**found.config, "displayName": title}))
    return Frame(frame.ref, fields, kind="table")
