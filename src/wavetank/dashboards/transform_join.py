"""Transformations that put frames together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wavetank.dashboards.frame import Field, Frame
from wavetank.dashboards.values import JSON, text

__all__ = ["concatenate", "join_by_field", "merge", "series_to_rows"]


def join_by_field(frames: list[Frame], options: JSON) -> list[Frame]:
    """One wide frame over the values of ``byField`` (or time): outer, inner, or ``outerTabular``.

    Columns of one name are numbered (``Time 1``, ``Time 2``), as tables' overrides and organize steps expect.
    """
    by, inner = text(options, "byField"), text(options, "mode", "outer") == "inner"
    parts = []
    for frame in frames:
        key = (
            next((f for f in frame.fields if f.display == by or f.name == by), None)
            if by
            else frame.first("time")
        )
        if key is not None and len(frame.fields) > 1:
            parts.append((frame, key))
    if len(parts) < 2:
        return [frame for frame, _ in parts] or frames
    keys: dict[Any, int] = {}
    for _, key in parts:
        for value in key.values:
            keys.setdefault(value, len(keys))
    if inner:
        shared = set.intersection(*(set(key.values) for _, key in parts))
        keys = {value: i for i, value in enumerate(v for v in keys if v in shared)}
    first = parts[0][1]
    ordered = sorted(keys) if first.type in ("time", "number") else list(keys)
    place = {value: i for i, value in enumerate(ordered)}
    fields = [replace(first, values=ordered, labels={})]
    for frame, key in parts:
        fields += _joined(frame, key, place)
    _numbered(fields)
    steps = {frame.step_ms for frame, _ in parts}
    kind = "time_series" if first.type == "time" else "table"
    return [Frame(parts[0][0].ref, fields, "joined", max(steps), kind)]


def _joined(frame: Frame, key: Field, place: dict[Any, int]) -> list[Field]:
    out = []
    for found in frame.fields:
        if found is key:
            continue
        values: list[Any] = [None] * len(place)
        for where, value in zip(key.values, found.values, strict=True):
            row = place.get(where)
            if row is not None:
                values[row] = value
        out.append(replace(found, values=values))
    return out


def _numbered(fields: list[Field]) -> None:
    """Repeated names get their number, the first one included, unless a label or legend tells them apart."""
    plain = [found for found in fields[1:] if not found.labels and not found.legend]
    count: dict[str, int] = {}
    for found in plain:
        count[found.name] = count.get(found.name, 0) + 1
    seen: dict[str, int] = {}
    for found in plain:
        if count[found.name] > 1:
            seen[found.name] = seen.get(found.name, 0) + 1
            found.name = f"{found.name} {seen[found.name]}"


def merge(frames: list[Frame], options: JSON) -> list[Frame]:
    """Rows that agree in all shared columns become one; others are kept beside each other."""
    if len(frames) < 2:
        return frames
    names = list(dict.fromkeys(found.display for frame in frames for found in frame.fields))
    shared = [name for name in names if all(any(f.display == name for f in frame.fields) for frame in frames)]
    kinds = {found.display: found for frame in frames for found in frame.fields}
    rows: list[dict[str, Any]] = []
    by_key: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for frame in frames:
        columns = {found.display: found.values for found in frame.fields}
        for index in range(frame.length):
            row = {name: values[index] for name, values in columns.items()}
            key = tuple(row[name] for name in shared)
            for other in by_key.setdefault(key, []):
                if all(other.get(name, value) == value for name, value in row.items()):
                    other.update(row)
                    break
            else:
                by_key[key].append(row)
                rows.append(row)
    fields = [
        replace(kinds[name], name=name, values=[row.get(name) for row in rows], labels={}, legend="")
        for name in names
    ]
    return [Frame(frames[0].ref, fields, kind="table")]


def concatenate(frames: list[Frame], options: JSON) -> list[Frame]:
    """All columns side by side, shorter ones filled up."""
    if len(frames) < 2:
        return frames
    length = max(frame.length for frame in frames)
    fields = []
    for frame in frames:
        for found in frame.fields:
            labels = found.labels
            if text(options, "frameNameMode") == "label" and frame.name:
                labels = {**labels, text(options, "frameNameLabel", "frame"): frame.name}
            values = [*found.values, *([None] * (length - len(found.values)))]
            fields.append(replace(found, values=values, labels=labels))
    return [Frame(frames[0].ref, fields, kind="table")]


def series_to_rows(frames: list[Frame], options: JSON) -> list[Frame]:
    """Time, Metric, Value: newest first."""
    rows: list[tuple[Any, str, Any]] = []
    for frame in frames:
        time = frame.first("time")
        for found in frame.fields:
            if time is not None and found.type == "number":
                rows += [(t, found.display, v) for t, v in zip(time.values, found.values, strict=True)]
    rows.sort(key=lambda row: -row[0])
    fields = [
        Field("Time", "time", [row[0] for row in rows]),
        Field("Metric", "string", [row[1] for row in rows]),
        Field("Value", "number", [row[2] for row in rows]),
    ]
    return [Frame(frames[0].ref if frames else "", fields, kind="table")]
