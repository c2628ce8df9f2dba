"""Frames: columns with labels and configuration, between the query's answer and the drawing.

Mirrors the DataFrame of Grafana's data library as far as transformations, overrides and panels need it. Times
are milliseconds; a missing number is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

__all__ = ["Field", "FieldType", "Frame", "display_names", "series_label"]

FieldType = Literal["time", "number", "string"]


@dataclass(slots=True)
class Field:
    """A column.

    ``config`` is the field's own configuration (``displayName``, ``unit``, ...), later completed by the
    panel's; ``legend`` is the name that the query's legend gave it.
    """

    name: str
    type: FieldType
    values: list[Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    legend: str = ""
    display: str = ""

    def renamed(self, name: str) -> Field:
        return replace(self, name=name, config={**self.config, "displayName": name}, legend="")

    def taken(self, rows: Sequence[int]) -> Field:
        """The same column with only these rows, in this order."""
        return replace(self, values=[self.values[row] for row in rows])


@dataclass(slots=True)
class Frame:
    """Columns of one length. ``step_ms`` is the step of a range query, 0 for a table."""

    ref: str
    fields: list[Field]
    name: str = ""
    step_ms: int = 0
    kind: str = "time_series"

    @property
    def length(self) -> int:
        return len(self.fields[0].values) if self.fields else 0

    def first(self, kind: FieldType) -> Field | None:
        return next((found for found in self.fields if found.type == kind), None)


def series_label(labels: Mapping[str, str]) -> str:
    """``name{a="b", c="d"}`` with the labels sorted."""
    name = labels.get("__name__", "")
    pairs = ", ".join(f'{key}="{value}"' for key, value in sorted(labels.items()) if key != "__name__")
    return f"{name}{{{pairs}}}" if pairs or not name else name


def display_names(frames: Sequence[Frame]) -> None:
    """Sets ``display`` of every field: configured name, legend, or what tells the field from the others."""
    taken: dict[str, int] = {}
    for frame in frames:
        for found in frame.fields:
            name = str(found.config.get("displayName") or found.legend or _computed(found, frame, frames))
            found.display = name
            if found.type == "time" or found.config.get("displayName"):
                continue
            taken[name] = taken.get(name, 0) + 1
            if taken[name] > 1 and frame.kind == "time_series":
                found.display = f"{name} {taken[name]}"


def _computed(found: Field, frame: Frame, frames: Sequence[Frame]) -> str:
    if found.type == "time" or not found.labels:
        return found.name
    return series_label(found.labels) if frame.kind == "time_series" else found.name
