"""The old ``singlestat`` panel becomes ``stat``, or ``gauge`` where it showed one.

Mirrors sharedSingleStatPanelChangedHandler of Grafana's single stat helpers; the prefix and postfix, which it
drops, are kept in ``options.affix``.
"""

from __future__ import annotations

from typing import Any, Final

from wavetank.dashboards.migrate.mappings import old_maps
from wavetank.dashboards.values import flag, integer, items, mapping, number, text

__all__ = ["REDUCERS", "colour_steps", "singlestat"]

REDUCERS: Final = {
    "avg": "mean",
    "current": "lastNotNull",
    "total": "sum",
    "first": "firstNotNull",
    "last_time": "lastNotNull",
    "name": "lastNotNull",
}


def singlestat(panel: dict[str, Any]) -> None:
    """Changes the panel in place."""
    gauge = mapping(panel, "gauge")
    shown = flag(gauge, "show")
    panel["type"] = "gauge" if shown else "stat"
    defaults = panel["fieldConfig"]["defaults"]
    if text(panel, "format"):
        defaults["unit"] = text(panel, "format")
    if number(panel, "decimals") is not None:
        defaults["decimals"] = integer(panel, "decimals")
    if text(panel, "nullText"):
        defaults["noValue"] = text(panel, "nullText")
    defaults["mappings"] = old_maps(panel)
    steps = colour_steps(panel.get("thresholds"), [str(c) for c in items(panel, "colors")])
    if steps:
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        defaults["color"] = {"mode": "thresholds"}
    name = text(panel, "valueName", "avg")
    options: dict[str, Any] = {
        "reduceOptions": {"calcs": [REDUCERS.get(name, name)], "fields": "", "values": False},
        "orientation": "horizontal",
    }
    if shown:
        low, high = number(gauge, "minValue", 0.0), number(gauge, "maxValue", 100.0)
        defaults |= {"min": low, "max": high}
        options["showThresholdLabels"] = flag(gauge, "thresholdLabels")
        options["showThresholdMarkers"] = flag(gauge, "thresholdMarkers", True)
    else:
        options |= _stat(panel, name)
    panel["options"] = options


def _stat(panel: dict[str, Any], name: str) -> dict[str, Any]:
    affix = {"prefix": text(panel, "prefix"), "postfix": text(panel, "postfix")}
    background, value = flag(panel, "colorBackground"), flag(panel, "colorValue")
    return {
        "colorMode": "background" if background else "value" if value else "none",
        "graphMode": "area" if flag(mapping(panel, "sparkline"), "show") else "none",
        "textMode": "name" if name == "name" else "auto",
        "justifyMode": "auto",
        **({"affix": affix} if any(affix.values()) else {}),
    }


def colour_steps(thresholds: Any, colours: list[str]) -> list[dict[str, Any]]:
    """``"50,80"`` or a list of numbers, and one colour more than there are."""
    if not colours:
        return []
    parts = thresholds.split(",") if isinstance(thresholds, str) else thresholds
    values: list[float] = []
    for part in parts if isinstance(parts, list) else ():
        try:
            values.append(float(part))
        except (TypeError, ValueError):
            continue
    if not values:
        return []
    steps: list[dict[str, Any]] = [{"value": None, "color": colours[0]}]
    for index, value in enumerate(values):
        steps.append({"value": value, "color": colours[min(index + 1, len(colours) - 1)]})
    return steps
