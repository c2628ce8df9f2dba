"""Transformations that choose, order and name columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wavetank.dashboards.frame import Field, Frame
from wavetank.dashboards.matchers import compiled
from wavetank.dashboards.values import JSON, integer, mapping, mappings, text, texts

__all__ = [
    "convert_types",
    "filter_by_name",
    "filter_by_ref",
    "labels_to_fields",
    "organize",
    "rename_by_regex",
]


def organize(frames: list[Frame], options: JSON) -> list[Frame]:
    """``excludeByName``, ``indexByName``, ``renameByName``; ``includeByName`` keeps only those named."""
    exclude, index = mapping(options, "excludeByName"), mapping(options, "indexByName")
    rename, include = mapping(options, "renameByName"), mapping(options, "includeByName")
    wanted = {name for name, on in include.items() if on}
    out = []
    for frame in frames:
        kept = [
            found
            for found in frame.fields
            if not exclude.get(found.display) and (not wanted or found.display in wanted)
        ]
        last = len(kept) + max((integer(index, name) for name in index), default=0)
        order = sorted(range(len(kept)), key=lambda i: (integer(index, kept[i].display, last), i))
        fields = []
        for found in (kept[i] for i in order):
            name = text(rename, found.display)
            fields.append(found.renamed(name) if name else found)
        out.append(replace(frame, fields=fields))
    return out


def filter_by_name(frames: list[Frame], options: JSON) -> list[Frame]:
    """``include`` and ``exclude``, each of ``names`` and a ``pattern``."""

    def meant(side: JSON, found: Field) -> bool:
        pattern = text(side, "pattern")
        regex = compiled(pattern) if pattern else None
        return found.display in texts(side.get("names")) or bool(regex and regex.search(found.display))

    include, exclude = mapping(options, "include"), mapping(options, "exclude")
    out = []
    for frame in frames:
        fields = [
            found
            for found in frame.fields
            if (not include or meant(include, found)) and not (exclude and meant(exclude, found))
        ]
        if fields:
            out.append(replace(frame, fields=fields))
    return out


def filter_by_ref(frames: list[Frame], options: JSON) -> list[Frame]:
    """Frames of the queries whose ref the expression matches as a whole."""
    regex = compiled(text(options, "include"))
    return [frame for frame in frames if regex is None or regex.fullmatch(frame.ref)]


def rename_by_regex(frames: list[Frame], options: JSON) -> list[Frame]:
    """``regex`` and ``renamePattern`` with ``$1``."""
    regex = compiled(text(options, "regex"))
    # JavaScript's $1 is \1 to RE2.
    into = re.sub(r"\$(\d)", r"\\\1", text(options, "renamePattern").replace("\\", "\\\\"))
    if regex is None:
        return frames
    out = []
    for frame in frames:
        fields = []
        for found in frame.fields:
            name = regex.sub(into, found.display) if regex.search(found.display) else found.display
            fields.append(found.renamed(name) if name != found.display and found.type != "time" else found)
        out.append(replace(frame, fields=fields))
    return out


def labels_to_fields(frames: list[Frame], options: JSON) -> list[Frame]:
    """Labels become columns (``mode`` columns) or rows of label and value."""
    keep, value_label = texts(options.get("keepLabels")), text(options, "valueLabel")
    if text(options, "mode") == "rows":
        return _label_rows(frames, keep)
    out = []
    for frame in frames:
        numbers = [found for found in frame.fields if found.type == "number"]
        labels: dict[str, str] = {}
        for found in numbers:
            labels.update(found.labels)
        kept = {name: value for name, value in labels.items() if (not keep or name in keep)}
        fields = [found for found in frame.fields if found.type != "number"]
        fields += [
            Field(name, "string", [value] * frame.length)
            for name, value in kept.items()
            if name != value_label
        ]
        for found in numbers:
            name = (
                found.labels.get(value_label, "") if value_label else found.labels.get("__name__", found.name)
            )
            fields.append(Field(name or found.name, "number", found.values, config=dict(found.config)))
        out.append(Frame(frame.ref, fields, kind="table"))
    return _stacked(out)


def _label_rows(frames: list[Frame], keep: Sequence[str]) -> list[Frame]:
    out = []
    for frame in frames:
        pairs = [
            (name, value)
            for found in frame.fields
            for name, value in sorted(found.labels.items())
            if not keep or name in keep
        ]
        fields = [
            Field("label", "string", [name for name, _ in pairs]),
            Field("value", "string", [value for _, value in pairs]),
        ]
        out.append(Frame(frame.ref, fields, frame.name, kind="table"))
    return out


def _stacked(frames: list[Frame]) -> list[Frame]:
    """Tables one below the other, columns by name."""
    if len(frames) < 2:
        return frames
    columns: dict[str, Field] = {}
    rows = 0
    for frame in frames:
        for found in frame.fields:
            if found.name not in columns:
                columns[found.name] = replace(found, values=[None] * rows)
        for name, column in columns.items():
            own = next((found for found in frame.fields if found.name == name), None)
            column.values.extend(own.values if own is not None else [None] * frame.length)
        rows += frame.length
    return [Frame(frames[0].ref, list(columns.values()), kind="table")]


def convert_types(frames: list[Frame], options: JSON) -> list[Frame]:
    """``conversions`` of ``targetField`` to ``destinationType``."""
    wanted = {text(c, "targetField"): text(c, "destinationType") for c in mappings(options, "conversions")}
    for frame in frames:
        for found in frame.fields:
            _convert(found, wanted)
    return frames


def _convert(found: Field, wanted: Mapping[str, str]) -> None:
    match wanted.get(found.display):
        case "number":
            found.type, found.values = "number", [_number(value) for value in found.values]
        case "string" | "enum":
            found.type, found.values = "string", [None if v is None else str(v) for v in found.values]
        case "time":
            found.type, found.values = "time", [_number(value) for value in found.values]
        case "boolean":
            found.type, found.values = "number", [None if v is None else float(bool(v)) for v in found.values]


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
