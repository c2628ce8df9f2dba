"""The old table with ``styles`` becomes today's table.

Mirrors migrateFromAngular of Grafana's table panel. In the old table the first style that matched a column
won; among overrides the last does, so the order is turned round.
"""

from __future__ import annotations

from typing import Any, Final

from wavetank.dashboards.migrate.mappings import old_maps
from wavetank.dashboards.migrate.singlestat import REDUCERS, colour_steps
from wavetank.dashboards.values import JSON, flag, integer, items, mapping, mappings, number, text

__all__ = ["table"]

_TRANSFORMS: Final = {
    "timeseries_to_columns": {"id": "joinByField", "options": {"byField": "Time", "mode": "outer"}},
    "timeseries_to_rows": {"id": "seriesToRows", "options": {}},
    "table": {"id": "merge", "options": {}},
}
_CELLS: Final = {"cell": "color-background", "row": "color-background", "value": "color-text"}


def table(panel: dict[str, Any]) -> None:
    """Changes the panel in place."""
    panel["type"] = "table"
    styles = mappings(panel, "styles")
    defaults = panel["fieldConfig"]["defaults"]
    overrides = panel["fieldConfig"]["overrides"]
    for style in reversed(styles):
        properties = _properties(style)
        if text(style, "pattern") == "/.*/":
            _as_defaults(defaults, properties)
        elif properties:
            overrides.append({"matcher": _matcher(style), "properties": properties})
    _transform(panel)
    options: dict[str, Any] = {"showHeader": flag(panel, "showHeader", True), **mapping(panel, "options")}
    sort = mapping(panel, "sort")
    if number(sort, "col") is not None:
        options["sortBy"] = [{"column": integer(sort, "col"), "desc": flag(sort, "desc")}]
    if number(panel, "pageSize"):
        options["pageSize"] = integer(panel, "pageSize")
    panel["options"] = options


def _matcher(style: JSON) -> dict[str, str]:
    pattern = text(style, "pattern")
    regex = len(pattern) > 1 and pattern.startswith("/") and "/" in pattern[1:]
    return {"id": "byRegexp" if regex else "byName", "options": pattern}


def _properties(style: JSON) -> list[dict[str, Any]]:
    found: list[tuple[str, Any]] = []
    if text(style, "alias"):
        found.append(("displayName", text(style, "alias")))
    match text(style, "type"):
        case "hidden":
            found.append(("custom.hidden", True))
        case "date":
            found.append(("unit", f"time:{text(style, 'dateFormat', 'YYYY-MM-DD HH:mm:ss')}"))
        case "number":
            found.append(("unit", text(style, "unit", "short")))
            if number(style, "decimals") is not None:
                found.append(("decimals", integer(style, "decimals")))
    if text(style, "align") in ("left", "right", "center"):
        found.append(("custom.align", text(style, "align")))
    cell = _CELLS.get(text(style, "colorMode"))
    steps = colour_steps(style.get("thresholds"), [str(c) for c in items(style, "colors")])
    if cell and steps:
        found.append(("custom.cellOptions", {"type": cell}))
        found.append(("thresholds", {"mode": "absolute", "steps": steps}))
    maps = old_maps(style)
    if maps:
        found.append(("mappings", maps))
    if flag(style, "link") and text(style, "linkUrl"):
        link = {
            "title": text(style, "linkTooltip"),
            "url": _link(text(style, "linkUrl")),
            "targetBlank": flag(style, "linkTargetBlank"),
        }
        found.append(("links", [link]))
    return [{"id": path, "value": value} for path, value in found]


def _link(url: str) -> str:
    """``$__cell`` and ``$__cell_2`` of the old table."""
    return url.replace("$__cell_", "$__cell_").replace("$__cell:raw", "${__value.raw}")


def _as_defaults(defaults: dict[str, Any], properties: list[dict[str, Any]]) -> None:
    for item in properties:
        path, value = item["id"], item["value"]
        if path.startswith("custom."):
            defaults.setdefault("custom", {})[path.removeprefix("custom.")] = value
        elif path != "displayName":
            defaults[path] = value


def _transform(panel: dict[str, Any]) -> None:
    name = text(panel, "transform")
    found = _TRANSFORMS.get(name)
    if name == "timeseries_aggregations":
        calcs = [text(column, "value") for column in mappings(panel, "columns")]
        reducers = [REDUCERS.get(calc, calc) for calc in calcs if calc]
        found = {"id": "reduce", "options": {"reducers": reducers or ["mean"]}}
    if found and not panel.get("transformations"):
        panel["transformations"] = [found]
