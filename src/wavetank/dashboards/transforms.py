"""Transformations: frames in, frames out, in the order in which a panel lists them.

Mirrors the transformers of Grafana's data library by their ids and options. One that is not known is passed
over and named, since the panel still shows something true without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from wavetank.dashboards.frame import Frame, display_names
from wavetank.dashboards.model import Transformation
from wavetank.dashboards.transform_calculate import calculate_field, group_by, reduce_frames
from wavetank.dashboards.transform_columns import (
    convert_types,
    filter_by_name,
    filter_by_ref,
    labels_to_fields,
    organize,
    rename_by_regex,
)
from wavetank.dashboards.transform_join import concatenate, join_by_field, merge, series_to_rows
from wavetank.dashboards.transform_rows import filter_by_value, limit, rows_to_fields, sort_by, transpose
from wavetank.dashboards.values import JSON, text

__all__ = ["NAMES", "transform"]

Step = Callable[[list[Frame], JSON], list[Frame]]

_STEPS: Final[dict[str, Step]] = {
    "calculateField": calculate_field,
    "concatenate": concatenate,
    "convertFieldType": convert_types,
    "filterByRefId": filter_by_ref,
    "filterByValue": filter_by_value,
    "filterFieldsByName": filter_by_name,
    "groupBy": group_by,
    "joinByField": join_by_field,
    "labelsToFields": labels_to_fields,
    "limit": limit,
    "merge": merge,
    "organize": organize,
    "reduce": reduce_frames,
    "renameByRegex": rename_by_regex,
    "rowsToFields": rows_to_fields,
    "seriesToColumns": join_by_field,
    "seriesToRows": series_to_rows,
    "sortBy": sort_by,
    "transpose": transpose,
}
#: Those that change how frames are held, not what a panel shows of them.
_SILENT: Final = frozenset(("prepareTimeSeries", "noop", "convertFrameType", "ensureColumns", "joinByLabels"))

NAMES: Final = frozenset(_STEPS) | _SILENT


def transform(frames: list[Frame], steps: Sequence[Transformation]) -> tuple[list[Frame], list[str]]:
    """The frames after all steps, and what could not be done."""
    notices = []
    display_names(frames)
    for step in steps:
        if step.disabled or step.id in _SILENT:
            continue
        found = _STEPS.get(step.id)
        if found is None:
            notices.append(f"transformation {step.id!r} is not applied: it is not supported")
            continue
        wanted = text(step.filter, "options") if text(step.filter, "id") == "byRefId" else ""
        inside = [frame for frame in frames if not wanted or frame.ref == wanted]
        outside = [frame for frame in frames if wanted and frame.ref != wanted]
        frames = [*outside, *found(inside, step.options)]
        display_names(frames)
    return frames, notices
