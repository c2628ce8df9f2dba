"""Time series: lines, bars and points on shared instants, axes by unit, thresholds, legend."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from wavetank.dashboards.display import Look
from wavetank.dashboards.draw.canvas import Canvas, finite_all
from wavetank.dashboards.frame import Field
from wavetank.dashboards.source import Exemplar
from wavetank.dashboards.units import format_of
from wavetank.dashboards.values import flag, integer, mapping, number, text
from wavetank.limits import DASHBOARD_EXEMPLARS_MAX, DASHBOARD_SERIES_MAX

__all__ = ["axis_of", "timeseries"]


def timeseries(canvas: Canvas) -> dict[str, Any] | None:
    """As ``TimeDrawing``."""
    lines = [
        (look, time)
        for row in canvas.looks
        for look in row
        if look.field.type == "number" and (time := look.frame.first("time")) is not None and time.values
    ]
    if not lines:
        return None
    cut = max(0, len(lines) - DASHBOARD_SERIES_MAX)
    if cut:
        canvas.notices.append(
            f"{len(lines)} series: the first {DASHBOARD_SERIES_MAX} are drawn; narrow the query or a variable"
        )
    lines = lines[:DASHBOARD_SERIES_MAX]
    times = _union([time for _, time in lines])
    step = max((look.frame.step_ms for look, _ in lines), default=0)
    times = _with_gaps(times, step, canvas)
    place = {moment: index for index, moment in enumerate(times)}
    axes: dict[str, dict[str, Any]] = {}
    series = [_series(canvas, look, time, times, place, axes) for look, time in lines]
    newest = canvas.now_ms - step if step and canvas.to_ms >= canvas.now_ms - step else None
    return {
        "draw": "timeseries",
        "from": canvas.from_ms / 1000,
        "to": canvas.to_ms / 1000,
        "step": step / 1000,
        "incomplete_from": None if newest is None else newest / 1000,
        "times": [moment / 1000 for moment in times],
        "axes": list(axes.values()),
        "series": series,
        "series_cut": cut,
        "exemplars": _exemplars(canvas),
        "thresholds": _thresholds(canvas, [look for look, _ in lines], axes),
        "legend": canvas.legend(),
        "tooltip": _tooltip(canvas),
    }


def _union(fields: Sequence[Field]) -> list[int]:
    first = fields[0].values
    if all(found.values is first or found.values == first for found in fields):
        return list(first)
    return sorted({moment for found in fields for moment in found.values})


def _with_gaps(times: list[int], step: int, canvas: Canvas) -> list[int]:
    """Every step of the range, so that what is missing is a gap and not a line across it."""
    if not step or (times[-1] - times[0]) // step + 1 > 20_000:
        return times
    grid = range(times[0], times[-1] + 1, step)
    if len(grid) == len(times) or any((moment - times[0]) % step for moment in times):
        return times
    return list(grid)


def _values(look: Look, time: Field, times: list[int], place: dict[int, int]) -> list[float | None]:
    values: list[float | None]
    if len(time.values) == len(times):
        values = finite_all(look.field.values)
    else:
        values = [None] * len(times)
        for moment, value in zip(time.values, finite_all(look.field.values), strict=True):
            values[place[moment]] = value
    match text(look.custom, "transform"):
        case "negative-Y":
            values = [None if v is None else -v for v in values]
        case "constant":
            first = next((v for v in values if v is not None), None)
            values = [first] * len(values)
    if flag(look.custom, "nullAsZero"):
        values = [0.0 if v is None else v for v in values]
    return values


def _series(
    canvas: Canvas,
    look: Look,
    time: Field,
    times: list[int],
    place: dict[int, int],
    axes: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    custom = look.custom
    axis = axis_of(look)
    axes.setdefault(axis["key"], axis)
    _widen(axes[axis["key"]], axis)
    stacking, hide = mapping(custom, "stacking"), mapping(custom, "hideFrom")
    mode = text(stacking, "mode", "none")
    style = mapping(custom, "lineStyle")
    spans = custom.get("spanNulls")
    return {
        "label": look.field.display,
        "ref": look.frame.ref,
        "colour": look.series_colour(),
        "axis": axis["key"],
        "format": look.as_format(),
        "mappings": look.mapping_texts,
        "values": _values(look, time, times, place),
        "draw": {"bars": "bars", "points": "points"}.get(text(custom, "drawStyle"), "line"),
        "interpolation": text(custom, "lineInterpolation", "linear"),
        "width": number(custom, "lineWidth", 1.0),
        "dash": _dash(style),
        "fill": (number(custom, "fillOpacity", 0.0) or 0.0) / 100,
        "gradient": text(custom, "gradientMode", "none"),
        "points": text(custom, "showPoints", "auto"),
        "point_size": number(custom, "pointSize", 5.0),
        "span_gaps": spans if isinstance(spans, bool | int | float) else False,
        "bar_align": integer(custom, "barAlignment"),
        "bar_width": number(custom, "barWidthFactor", 0.6),
        "stack": mode if mode in ("normal", "percent") else "",
        "stack_group": text(stacking, "group", "A"),
        "fill_below_to": text(custom, "fillBelowTo"),
        "hide": {key: flag(hide, key) for key in ("legend", "tooltip", "viz")},
        "calcs": canvas.calculated(look),
        "links": canvas.links(look),
    }


def _dash(style: Any) -> list[float]:
    if text(style, "fill") not in ("dash", "dot"):
        return []
    default = [0, 10] if text(style, "fill") == "dot" else [10, 10]
    found = [float(v) for v in style.get("dash") or default if isinstance(v, int | float) and v >= 0]
    return found[:8] or [float(v) for v in default]


def axis_of(look: Look) -> dict[str, Any]:
    """As ``Axis``: fields of one unit, side and scale share it."""
    custom = look.custom
    placement = text(custom, "axisPlacement", "auto")
    side = placement if placement in ("left", "right", "hidden") else "left"
    scale = mapping(custom, "scaleDistribution")
    kind = text(scale, "type", "linear")
    label = text(custom, "axisLabel")
    bounds = (number(look.config, "min"), number(look.config, "max"))
    shown = bounds if side != "hidden" else (*bounds,)
    key = f"{look.unit}|{side}|{kind}|{label}|{shown[0]}|{shown[1]}"
    percent = text(mapping(custom, "stacking"), "mode") == "percent"
    return {
        "key": key,
        "side": side,
        "label": label,
        "format": format_of("percentunit").as_json(None) if percent else look.as_format(),
        "scale": kind if kind in ("log", "symlog") else "linear",
        "base": number(scale, "log", 10.0) if kind == "log" else number(scale, "linearThreshold", 1.0),
        "min": bounds[0],
        "max": bounds[1],
        "soft_min": number(custom, "axisSoftMin"),
        "soft_max": number(custom, "axisSoftMax"),
        "centred_zero": flag(custom, "axisCenteredZero"),
    }


def _widen(axis: dict[str, Any], other: dict[str, Any]) -> None:
    for key, choose in (("soft_min", min), ("soft_max", max)):
        known = [v for v in (axis[key], other[key]) if v is not None]
        axis[key] = choose(known) if known else None


def _thresholds(
    canvas: Canvas, looks: Sequence[Look], axes: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    seen = set()
    for look in looks:
        style, key = canvas.thresholds_style(look), axis_of(look)["key"]
        if style == "off" or key in seen:
            continue
        seen.add(key)
        for index, (start, colour) in enumerate(look.steps):
            following = look.steps[index + 1][0] if index + 1 < len(look.steps) else None
            if colour != "transparent":
                out.append(
                    {
                        "axis": key,
                        "value": start,
                        "until": following,
                        "colour": colour,
                        "line": start is not None and ("line" in style or "dashed" in style),
                        "dashed": "dashed" in style,
                        "area": "area" in style,
                    }
                )
    return out


def _exemplars(canvas: Canvas) -> list[dict[str, Any]]:
    """By time; where there are too many, the largest of each of as many stretches as make the bound."""
    shown = [e for e in canvas.exemplars if canvas.from_ms <= e.at_ms <= canvas.to_ms and isfinite(e.value)]
    if len(shown) > DASHBOARD_EXEMPLARS_MAX:
        span = max(1, -(-(canvas.to_ms - canvas.from_ms) // DASHBOARD_EXEMPLARS_MAX))
        largest: dict[int, Exemplar] = {}
        for one in shown:
            place = (one.at_ms - canvas.from_ms) // span
            if place not in largest or largest[place].value < one.value:
                largest[place] = one
        canvas.notices.append(f"{len(shown)} exemplars: the largest {len(largest)} over time are shown")
        shown = list(largest.values())
    return [
        {"time": e.at_ms / 1000, "value": e.value, "labels": e.labels, "series": e.series}
        for e in sorted(shown, key=lambda e: e.at_ms)
    ]


def _tooltip(canvas: Canvas) -> dict[str, Any]:
    found = mapping(canvas.panel.options, "tooltip")
    mode, sort = text(found, "mode", "single"), text(found, "sort", "none")
    return {
        "mode": mode if mode in ("single", "multi", "none") else "single",
        "sort": sort if sort in ("asc", "desc") else "none",
        "hide_zeros": flag(found, "hideZeros"),
    }
