"""A query's answer as frames: series with their legends, tables, heatmap buckets.

Mirrors the result transformer of Grafana's Prometheus data source: empty legends, ``{{label}}``, ``__auto``;
tables with one column a label; heatmaps as differences between buckets that follow each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from wavetank.dashboards.frame import Field, Frame, series_label
from wavetank.dashboards.model import Target
from wavetank.dashboards.source import Answer
from wavetank.model.quoting import format_float

__all__ = ["heatmap_frames", "legend", "series_frames", "table_frame"]

_TAG: Final = re.compile(r"\{\{\s*(.+?)\s*\}\}")


def series_frames(answer: Answer, target: Target, expr: str, step_ms: int, pattern: str) -> list[Frame]:
    """One frame a series."""
    if answer.kind == "string":
        return []
    names = _legends(answer.labels, pattern, expr)
    times = answer.times.tolist()
    frames = []
    for labels, name, values, mask in zip(answer.labels, names, answer.values, answer.mask, strict=True):
        moments = times
        if answer.kind in ("vector", "scalar"):
            moments = times[-1:]
        frames.append(
            Frame(
                target.ref,
                [
                    Field("Time", "time", moments, config={"interval": step_ms}),
                    Field("Value", "number", _numbers(values, mask), dict(labels), legend=name),
                ],
                name,
                step_ms,
            )
        )
    return frames


def _numbers(values: Any, mask: Any) -> list[float | None]:
    found: list[float | None] = values.tolist()
    if not mask.all():
        for index in np.flatnonzero(~mask).tolist():
            found[index] = None
    return found


def _legends(labels: Sequence[Mapping[str, str]], pattern: str, expr: str) -> list[str]:
    if pattern == "__auto":
        return _auto(labels, expr)
    if pattern:
        return [legend(pattern, found) for found in labels]
    return [_plain(found, expr) for found in labels]


def _plain(labels: Mapping[str, str], expr: str) -> str:
    return series_label(labels) if labels else expr


def legend(pattern: str, labels: Mapping[str, str]) -> str:
    """``{{label}}`` filled in; a label that is not there leaves nothing."""
    return _TAG.sub(lambda match: labels.get(match[1], ""), pattern)


def _auto(labels: Sequence[Mapping[str, str]], expr: str) -> list[str]:
    """Only the labels that tell the series apart; the bare value where it is one."""
    if len(labels) < 2:
        return [_plain(found, expr) for found in labels]
    names = {name for found in labels for name in found}
    apart = {name for name in names if len({found.get(name) for found in labels}) > 1}
    out = []
    for found in labels:
        kept = {name: value for name, value in found.items() if name in apart}
        if len(apart) == 1 and "__name__" not in apart:
            out.append(next(iter(kept.values()), "") or series_label(kept))
        else:
            out.append(series_label(kept) if kept else _plain(found, expr))
    return out


def table_frame(answers: Sequence[Answer], ref: str, many: bool) -> Frame:
    """Time, one column a label, and the value; ``many`` names it ``Value #A``."""
    names = sorted({name for answer in answers for labels in answer.labels for name in labels})
    times: list[int] = []
    columns: dict[str, list[str]] = {name: [] for name in names}
    values: list[float | None] = []
    for answer in answers:
        for labels, row, mask in zip(answer.labels, answer.values, answer.mask, strict=True):
            found = np.flatnonzero(mask)
            times += answer.times[found].tolist()
            values += row[found].tolist()
            for name in names:
                columns[name] += [labels.get(name, "")] * len(found)
    fields = [Field("Time", "time", times)]
    fields += [Field(name, "string", column) for name, column in columns.items()]
    fields.append(Field(f"Value #{ref}" if many else "Value", "number", values))
    if any(later < earlier for earlier, later in pairwise(times)):
        order = sorted(range(len(times)), key=times.__getitem__)
        fields = [found.taken(order) for found in fields]
    return Frame(ref, fields, kind="table")


def heatmap_frames(answer: Answer, ref: str, step_ms: int) -> list[Frame]:
    """Buckets by their upper bound, each without what the bucket below it counts."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[float, int]]] = {}
    for index, labels in enumerate(answer.labels):
        bound = _bound(labels.get("le", ""))
        if bound is not None:
            rest = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
            groups.setdefault(rest, []).append((bound, index))
    if not groups:
        return []
    frames = []
    for rest, rows in groups.items():
        below: Any = None
        for bound, index in sorted(rows):
            counts = np.where(answer.mask[index], answer.values[index], np.nan)
            own = counts if below is None else counts - np.where(np.isnan(below), 0.0, below)
            own = np.where(own < 1e-9, 0.0, own)
            below = counts
            name = "+Inf" if math.isinf(bound) else format_float(bound)
            values = _numbers(own, ~np.isnan(own))
            fields = [
                Field("Time", "time", answer.times.tolist()),
                Field(name, "number", values, {**dict(rest), "le": name}, legend=name),
            ]
            frames.append(Frame(ref, fields, name, step_ms, "heatmap"))
    return frames


def _bound(text: str) -> float | None:
    try:
        return float(text.replace("Inf", "inf"))
    except ValueError:
        return None
