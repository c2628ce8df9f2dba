"""Smaller changes of a panel's options: stat-like panels, heatmap, pie chart, text."""

from __future__ import annotations

from typing import Any

from wavetank.dashboards.migrate.singlestat import REDUCERS
from wavetank.dashboards.values import flag, items, mapping, mappings, number, text

__all__ = ["field_options", "heatmap", "piechart", "text_panel"]


def field_options(panel: dict[str, Any]) -> None:
    """``options.fieldOptions`` (Grafana 6.2 to 6.7) and ``options.valueOptions`` (6.0, 6.1)."""
    options, defaults = panel["options"], panel["fieldConfig"]["defaults"]
    old = options.pop("fieldOptions", None)
    if isinstance(old, dict):
        defaults.update(mapping(old.get("defaults")))
        panel["fieldConfig"]["overrides"] += [_override(o) for o in mappings(old, "overrides")]
        reduce = {"calcs": list(items(old, "calcs")) or ["mean"], "values": flag(old, "values")}
        options.setdefault("reduceOptions", reduce)
        for key in ("mappings", "thresholds"):
            if isinstance(old.get(key), list):
                defaults.setdefault(key, old[key])
    value = options.pop("valueOptions", None)
    if isinstance(value, dict):
        stat = text(value, "stat", "mean")
        options.setdefault("reduceOptions", {"calcs": [REDUCERS.get(stat, stat)], "values": False})
        for key in ("unit", "decimals"):
            if value.get(key) is not None:
                defaults.setdefault(key, value[key])
        for old_key, key in (("minValue", "min"), ("maxValue", "max")):
            if number(options, old_key) is not None:
                defaults.setdefault(key, number(options, old_key))
    if "title" in defaults:
        defaults.setdefault("displayName", defaults.pop("title"))
    thresholds = defaults.get("thresholds", options.get("thresholds"))
    if isinstance(thresholds, list):
        steps = [
            {"value": number(t, "value"), "color": text(t, "color", "green")}
            for t in thresholds
            if isinstance(t, dict)
        ]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}


def _override(found: Any) -> dict[str, Any]:
    """In 6.x the property's path was called ``path``."""
    properties = [
        {"id": text(p, "id") or text(p, "path"), "value": p.get("value")}
        for p in mappings(found, "properties")
    ]
    return {"matcher": dict(mapping(found, "matcher")), "properties": properties}


def heatmap(panel: dict[str, Any]) -> None:
    """The old heatmap's top-level settings; a panel of today's kind is left alone."""
    panel["type"] = "heatmap"
    if "dataFormat" not in panel and "heatmap" not in panel and "cards" not in panel:
        return
    colour, axis = mapping(panel, "color"), mapping(panel, "yAxis")
    scheme = text(colour, "colorScheme", "interpolateOranges").removeprefix("interpolate")
    mode = text(colour, "mode", "spectrum")
    panel["options"] = {
        "calculate": text(panel, "dataFormat", "timeseries") == "timeseries",
        "color": {
            "mode": "opacity" if mode == "opacity" else "scheme",
            "scheme": scheme,
            "fill": text(colour, "cardColor", "dark-orange"),
            "exponent": number(colour, "exponent", 0.5),
            "steps": 128,
            "min": number(colour, "min"),
            "max": number(colour, "max"),
        },
        "yAxis": {
            "unit": text(axis, "format"),
            "decimals": number(axis, "decimals"),
            "reverse": flag(panel, "reverseYBuckets"),
        },
        "cellGap": number(mapping(panel, "cards"), "cardPadding", 1),
        "filterValues": {"le": 1e-9 if flag(panel, "hideZeroBuckets", True) else None},
        "legend": {"show": flag(mapping(panel, "legend"), "show", True)},
        "calculation": {
            "yBuckets": {"mode": "count", "value": number(panel, "yBucketNumber")},
            "xBuckets": {"mode": "count", "value": number(panel, "xBucketNumber")},
        },
    }


def piechart(panel: dict[str, Any]) -> None:
    """The plug-in ``grafana-piechart-panel``."""
    panel["type"] = "piechart"
    defaults, legend = panel["fieldConfig"]["defaults"], mapping(panel, "legend")
    defaults["unit"] = text(panel, "format", "short")
    if number(panel, "decimals") is not None:
        defaults["decimals"] = number(panel, "decimals")
    name = text(panel, "valueName", "current")
    kind = text(panel, "legendType", "Under graph")
    panel["options"] = {
        "pieType": "donut" if text(panel, "pieType") == "donut" else "pie",
        "reduceOptions": {"calcs": [REDUCERS.get(name, name)]},
        "displayLabels": ["name"] if kind == "On graph" else [],
        "legend": {
            "showLegend": flag(legend, "show", True) and kind != "On graph",
            "displayMode": "table" if flag(legend, "values") or flag(legend, "percentage") else "list",
            "placement": "right" if kind == "Right side" else "bottom",
            "values": [
                word for key, word in (("values", "value"), ("percentage", "percent")) if flag(legend, key)
            ],
        },
    }
    for alias, colour in mapping(panel, "aliasColors").items():
        panel["fieldConfig"]["overrides"].append(
            {
                "matcher": {"id": "byName", "options": alias},
                "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
            }
        )


def text_panel(panel: dict[str, Any]) -> None:
    """``content`` and ``mode`` once stood beside ``type``."""
    panel["type"] = "text"
    for key in ("content", "mode"):
        if key in panel and key not in panel["options"]:
            panel["options"][key] = panel[key]
