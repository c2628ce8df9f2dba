"""The old ``graph`` panel becomes ``timeseries``, ``barchart`` or ``histogram``.

Mirrors graphToTimeseriesOptions of Grafana's time series panel. Beyond it, "null as zero" is kept (as
``custom.nullAsZero``), which Grafana's own migration drops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wavetank.dashboards.values import JSON, flag, integer, items, mapping, mappings, number, text

__all__ = ["graph"]

_LEGEND_CALCS: Final = (
    ("min", "min"),
    ("max", "max"),
    ("avg", "mean"),
    ("current", "lastNotNull"),
    ("total", "sum"),
)
_THRESHOLD_COLOURS: Final = {"critical": "red", "warning": "orange", "ok": "green"}


def graph(panel: dict[str, Any]) -> None:
    """Changes the panel in place."""
    axis_mode = text(mapping(panel, "xaxis"), "mode")
    panel["type"] = {"series": "barchart", "histogram": "histogram"}.get(axis_mode, "timeseries")
    axes = mappings(panel, "yaxes")
    left = axes[0] if axes else {}
    right = axes[1] if len(axes) > 1 else {}
    defaults = panel["fieldConfig"]["defaults"]
    defaults.update(_axis(left))
    if "decimals" not in defaults and number(panel, "decimals") is not None:
        defaults["decimals"] = integer(panel, "decimals")
    custom = dict(mapping(defaults.get("custom")))
    custom.update(_custom(panel))
    custom.update(_axis_custom(left))
    defaults["custom"] = custom
    _thresholds(panel, defaults, custom)
    links = items(mapping(panel, "options"), "dataLinks")
    if links:
        defaults["links"] = list(links)
    panel["fieldConfig"]["overrides"] += _overrides(panel, right)
    panel["options"] = _options(panel)


def _axis(axis: JSON) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if text(axis, "format"):
        out["unit"] = text(axis, "format")
    for key in ("min", "max", "decimals"):
        value = number(axis, key)
        if value is not None:
            out[key] = value
    return out


def _axis_custom(axis: JSON) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if text(axis, "label"):
        out["axisLabel"] = text(axis, "label")
    if axis.get("show") is False:
        out["axisPlacement"] = "hidden"
    base = number(axis, "logBase")
    if base is not None and base > 1:
        out["scaleDistribution"] = {"type": "log", "log": base}
    return out


def _custom(panel: JSON) -> dict[str, Any]:
    bars, lines, points = flag(panel, "bars"), flag(panel, "lines", True), flag(panel, "points")
    out: dict[str, Any] = {
        "drawStyle": "bars" if bars else "line" if lines else "points",
        "lineInterpolation": "stepAfter" if flag(panel, "steppedLine") else "linear",
        "lineWidth": integer(panel, "linewidth", 1),
        "fillOpacity": 100 if bars else min(100, 10 * integer(panel, "fill", 1)),
        "gradientMode": "opacity" if integer(panel, "fillGradient") > 0 else "none",
        "showPoints": "always" if points else "never",
        "pointSize": 2 * integer(panel, "pointradius", 2) if points else 5,
        "axisPlacement": "auto",
    }
    if flag(panel, "dashes"):
        out["lineStyle"] = {
            "fill": "dash",
            "dash": [integer(panel, "dashLength", 10), integer(panel, "spaceLength", 10)],
        }
    match text(panel, "nullPointMode"):
        case "connected":
            out["spanNulls"] = True
        case "null as zero":
            out["nullAsZero"] = True
    if flag(panel, "stack"):
        out["stacking"] = {"mode": "percent" if flag(panel, "percentage") else "normal", "group": "A"}
    return out


def _thresholds(panel: JSON, defaults: dict[str, Any], custom: dict[str, Any]) -> None:
    """Regions above (``gt``) or below (``lt``) a value become steps between which colours change."""
    found = sorted(
        (t for t in mappings(panel, "thresholds") if number(t, "value") is not None),
        key=lambda t: number(t, "value") or 0.0,
    )
    if not found:
        return
    steps: list[dict[str, Any]] = [{"value": None, "color": "transparent"}]
    for index, item in enumerate(found):
        value, mode = number(item, "value"), text(item, "colorMode", "critical")
        colour = _THRESHOLD_COLOURS.get(mode) or text(item, "fillColor") or text(item, "lineColor") or "red"
        if text(item, "op", "gt") == "lt":
            steps[-1]["color"] = colour
            ahead = found[index + 1] if index + 1 < len(found) else None
            if ahead is None or text(ahead, "op", "gt") != "lt":
                steps.append({"value": value, "color": "transparent"})
            else:
                steps.append({"value": value, "color": colour})
        else:
            steps.append({"value": value, "color": colour})
    line, fill = flag(found[0], "line", True), flag(found[0], "fill", True)
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    custom["thresholdsStyle"] = {"mode": "line+area" if line and fill else "area" if fill else "line"}


def _overrides(panel: JSON, right: JSON) -> list[dict[str, Any]]:
    out = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in mapping(panel, "aliasColors").items()
        if isinstance(colour, str)
    ]
    for item in mappings(panel, "seriesOverrides"):
        alias = text(item, "alias")
        if not alias:
            continue
        properties = [
            {"id": path, "value": value}
            for key, setting in item.items()
            for path, value in _override(key, setting, right)
        ]
        regex = len(alias) > 1 and alias.startswith("/") and "/" in alias[1:]
        matcher = {"id": "byRegexp" if regex else "byName", "options": alias}
        out.append({"matcher": matcher, "properties": properties})
    return out


def _override(key: str, value: Any, right: JSON) -> list[tuple[str, Any]]:
    match key:
        case "yaxis" if value == 2:
            axis = [*_axis(right).items(), *((f"custom.{k}", v) for k, v in _axis_custom(right).items())]
            return [*axis, ("custom.axisPlacement", "right" if right.get("show") is not False else "hidden")]
        case "color" if isinstance(value, str):
            return [("color", {"mode": "fixed", "fixedColor": value})]
        case "fill" if isinstance(value, int | float):
            return [("custom.fillOpacity", min(100, value * 10))]
        case "fillGradient":
            return [("custom.gradientMode", "opacity" if value else "none")]
        case "linewidth":
            return [("custom.lineWidth", value)]
        case "bars" if value:
            return [("custom.drawStyle", "bars"), ("custom.fillOpacity", 100)]
        case "lines":
            return [("custom.lineWidth", 0)] if value is False else []
        case "points":
            return [("custom.showPoints", "always" if value else "never")]
        case "pointradius" if isinstance(value, int | float):
            return [("custom.pointSize", 2 * value)]
        case "steppedLine":
            return [("custom.lineInterpolation", "stepAfter" if value else "linear")]
        case "transform" if value == "negative-Y":
            return [("custom.transform", "negative-Y")]
        case "dashes" if value:
            return [("custom.lineStyle", {"fill": "dash", "dash": [10, 10]})]
        case "stack":
            if value is False:
                return [("custom.stacking", {"mode": "none"})]
            return [("custom.stacking", {"mode": "normal", "group": str(value)})]
        case "fillBelowTo" if isinstance(value, str):
            return [("custom.fillBelowTo", value)]
        case "nullPointMode":
            return [
                ("custom.spanNulls", value == "connected"),
                ("custom.nullAsZero", value == "null as zero"),
            ]
        case "legend" if value is False:
            return [("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False})]
        case "hideTooltip" if value:
            return [("custom.hideFrom", {"legend": False, "tooltip": True, "viz": False})]
        case _:
            return []


def _options(panel: JSON) -> dict[str, Any]:
    legend, tooltip = mapping(panel, "legend"), mapping(panel, "tooltip")
    values = flag(legend, "values")
    shown: dict[str, Any] = {
        "showLegend": flag(legend, "show", True),
        "displayMode": "table" if flag(legend, "alignAsTable") else "list",
        "placement": "right" if flag(legend, "rightSide") else "bottom",
        "calcs": [calc for key, calc in _LEGEND_CALCS if values and flag(legend, key)],
    }
    sort = dict(_LEGEND_CALCS).get(text(legend, "sort"))
    if sort:
        shown |= {"sortBy": sort, "sortDesc": flag(legend, "sortDesc")}
    if number(legend, "sideWidth"):
        shown["width"] = number(legend, "sideWidth")
    out: dict[str, Any] = {
        "legend": shown,
        "tooltip": {
            "mode": "multi" if flag(tooltip, "shared", True) else "single",
            "sort": {1: "asc", 2: "desc"}.get(integer(tooltip, "sort"), "none"),
        },
    }
    axis = mapping(panel, "xaxis")
    if text(axis, "mode") == "series":
        chosen = items(axis, "values")
        calc = dict(_LEGEND_CALCS).get(str(chosen[0])) if chosen else None
        out["reduceOptions"] = {"calcs": [calc or "sum"]}
    elif text(axis, "mode") == "histogram" and isinstance(axis, Mapping):
        out["bucketCount"] = integer(axis, "buckets", 30)
    return out
