"""A v2 resource (``elements`` and ``layout``) as classic JSON.

Follows the shapes of ``dashboard.grafana.app/v2`` (v2alpha1 and v2beta1 differ in where a query's data source
stands; all are read). Tabs become rows, an automatic grid becomes rows of equal panels; conditional rendering
has no classic form and is left out with a notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from wavetank.dashboards.values import JSON, flag, integer, mapping, mappings, text, texts

__all__ = ["is_v2", "v2_to_classic"]

_TYPES: Final = {
    "QueryVariable": "query",
    "TextVariable": "textbox",
    "ConstantVariable": "constant",
    "DatasourceVariable": "datasource",
    "IntervalVariable": "interval",
    "CustomVariable": "custom",
    "GroupByVariable": "groupby",
    "AdhocVariable": "adhoc",
    "SwitchVariable": "switch",
}
_HIDE: Final = {"dontHide": 0, "hideLabel": 1, "hideVariable": 2, "inControlsMenu": 3}
_REFRESH: Final = {"never": 0, "onDashboardLoad": 1, "onTimeRangeChanged": 2}
_SORT: Final = {
    "disabled": 0,
    "alphabeticalAsc": 1,
    "alphabeticalDesc": 2,
    "numericalAsc": 3,
    "numericalDesc": 4,
    "alphabeticalCaseInsensitiveAsc": 5,
    "alphabeticalCaseInsensitiveDesc": 6,
    "naturalAsc": 7,
    "naturalDesc": 8,
}
_AUTO_HEIGHTS: Final = {"short": 5, "standard": 9, "tall": 14}


def is_v2(found: JSON) -> bool:
    return "elements" in found and "layout" in found


def v2_to_classic(spec: JSON, name: str = "") -> tuple[dict[str, Any], list[str]]:
    """Classic JSON, and what could not be carried over."""
    time = mapping(spec, "timeSettings")
    reader = _Layout(mapping(spec, "elements"))
    reader.layout(mapping(spec, "layout"))
    out: dict[str, Any] = {
        "uid": name,
        "title": text(spec, "title"),
        "description": text(spec, "description"),
        "tags": texts(spec.get("tags")),
        "editable": flag(spec, "editable", True),
        "graphTooltip": {"Crosshair": 1, "Tooltip": 2}.get(text(spec, "cursorSync"), 0),
        "time": {"from": text(time, "from", "now-6h"), "to": text(time, "to", "now")},
        "refresh": text(time, "autoRefresh"),
        "timezone": text(time, "timezone", "browser"),
        "weekStart": text(time, "weekStart"),
        "fiscalYearStartMonth": integer(time, "fiscalYearStartMonth"),
        "timepicker": {
            "refresh_intervals": texts(time.get("autoRefreshIntervals")),
            "nowDelay": text(time, "nowDelay"),
            "hidden": flag(time, "hideTimepicker"),
        },
        "links": [dict(link) for link in mappings(spec, "links")],
        "templating": {"list": [_variable(v) for v in [*mappings(spec, "variables"), *reader.variables]]},
        "annotations": {"list": [_annotation(mapping(a, "spec")) for a in mappings(spec, "annotations")]},
        "panels": reader.panels,
        "schemaVersion": 42,
    }
    return out, reader.notices


class _Layout:
    """Walks nested layouts and writes panels below each other."""

    def __init__(self, elements: JSON) -> None:
        self._elements = elements
        self._y = 0
        self.panels: list[dict[str, Any]] = []
        self.variables: list[JSON] = []
        self.notices: list[str] = []

    def layout(self, found: JSON, depth: int = 0) -> None:
        if depth > 20:
            return
        spec = mapping(found, "spec")
        match text(found, "kind"):
            case "RowsLayout":
                for row in mappings(spec, "rows"):
                    self._row(mapping(row, "spec"), depth)
            case "TabsLayout":
                for tab in mappings(spec, "tabs"):
                    self._row(mapping(tab, "spec"), depth)
            case "AutoGridLayout":
                self._auto(spec)
            case _:
                self._grid(spec)

    def _row(self, spec: JSON, depth: int) -> None:
        if spec.get("conditionalRendering"):
            self._say("conditional rendering is not applied: everything is shown")
        self.variables += mappings(spec, "variables")
        collapsed = flag(spec, "collapse")
        row: dict[str, Any] = {
            "type": "row",
            "title": text(spec, "title"),
            "collapsed": collapsed,
            "repeat": text(mapping(spec, "repeat"), "value") or None,
            "gridPos": {"x": 0, "y": self._y, "w": 24, "h": 1},
            "panels": [],
        }
        if not flag(spec, "hideHeader"):
            self.panels.append(row)
            self._y += 1
        before = len(self.panels)
        self.layout(mapping(spec, "layout"), depth + 1)
        if collapsed and not flag(spec, "hideHeader"):
            row["panels"] = [p for p in self.panels[before:] if p["type"] != "row"]
            self.panels[before:] = [p for p in self.panels[before:] if p["type"] == "row"]

    def _grid(self, spec: JSON) -> None:
        top, bottom = self._y, self._y
        for item in mappings(spec, "items"):
            inner = mapping(item, "spec")
            if text(item, "kind") == "GridLayoutRow":
                self._y = bottom
                self._row(
                    {**inner, "layout": {"kind": "GridLayout", "spec": {"items": inner.get("elements")}}}, 1
                )
                top = bottom = self._y
                continue
            grid = {key: integer(inner, name) for key, name in _GRID}
            grid["y"] += top
            panel = self._panel(inner, grid)
            if panel is not None:
                self.panels.append(panel)
                bottom = max(bottom, grid["y"] + grid["h"])
        self._y = bottom

    def _auto(self, spec: JSON) -> None:
        columns = max(1, min(24, integer(spec, "maxColumnCount", 3)))
        height = _AUTO_HEIGHTS.get(text(spec, "rowHeightMode", "standard"), 9)
        width = 24 // columns
        found = mappings(spec, "items")
        for index, item in enumerate(found):
            grid = {
                "x": index % columns * width,
                "y": self._y + index // columns * height,
                "w": width,
                "h": height,
            }
            panel = self._panel(mapping(item, "spec"), grid)
            if panel is not None:
                self.panels.append(panel)
        self._y += -(-len(found) // columns) * height

    def _panel(self, item: JSON, grid: dict[str, int]) -> dict[str, Any] | None:
        name = text(mapping(item, "element"), "name")
        element = mapping(self._elements, name)
        if not element:
            self._say(f"the layout names an element {name!r} that there is not")
            return None
        spec = mapping(element, "spec")
        if text(element, "kind") == "LibraryPanel":
            library = mapping(spec, "libraryPanel")
            panel: dict[str, Any] = {"type": "", "libraryPanel": dict(library), "title": text(spec, "title")}
        else:
            panel = _panel(spec)
        repeat = mapping(item, "repeat")
        if text(repeat, "value"):
            panel["repeat"] = text(repeat, "value")
            panel["repeatDirection"] = text(repeat, "direction", "h")
            panel["maxPerRow"] = integer(repeat, "maxPerRow", 4)
        return panel | {"gridPos": grid}

    def _say(self, notice: str) -> None:
        if notice not in self.notices:
            self.notices.append(notice)


_GRID: Final = (("x", "x"), ("y", "y"), ("w", "width"), ("h", "height"))


def _panel(spec: JSON) -> dict[str, Any]:
    group = mapping(spec, "data", "spec")
    viz = mapping(spec, "vizConfig")
    options = mapping(group, "queryOptions")
    inner = mapping(viz, "spec")
    # v2alpha1 wrote the panel's type as the kind; later versions have a ``group``.
    kind = text(viz, "group") or text(viz, "kind")
    panel: dict[str, Any] = {
        "id": integer(spec, "id"),
        "type": kind,
        "title": text(spec, "title"),
        "description": text(spec, "description"),
        "links": [dict(link) for link in mappings(spec, "links")],
        "transparent": flag(spec, "transparent"),
        "options": dict(mapping(inner, "options")),
        "fieldConfig": dict(mapping(inner, "fieldConfig")),
        "targets": list(_targets(group)),
        "transformations": [_transformation(t) for t in mappings(group, "transformations")],
    }
    for key in ("interval", "maxDataPoints", "timeFrom", "timeShift", "hideTimeOverride"):
        if options.get(key) is not None:
            panel[key] = options[key]
    return panel


def _transformation(found: JSON) -> dict[str, Any]:
    spec = dict(mapping(found, "spec"))
    return {"id": text(found, "group") or text(spec, "id") or text(found, "kind"), **spec}


def _targets(group: JSON) -> Iterator[dict[str, Any]]:
    for query in mappings(group, "queries"):
        spec = mapping(query, "spec")
        inner = mapping(spec, "query")
        source = mapping(inner, "datasource") or mapping(spec, "datasource")
        kind = text(inner, "group") or text(inner, "kind")
        uid = text(source, "name") or text(source, "uid")
        yield {
            **mapping(inner, "spec"),
            "refId": text(spec, "refId", "A"),
            "hide": flag(spec, "hidden"),
            "datasource": {"type": kind if kind != "DataQuery" else "prometheus", "uid": uid},
        }


def _annotation(spec: JSON) -> dict[str, Any]:
    query = mapping(spec, "query")
    source = mapping(query, "datasource") or mapping(spec, "datasource")
    kind = text(query, "group") or text(query, "kind")
    return {
        **mapping(spec, "legacyOptions"),
        **mapping(query, "spec"),
        **{key: spec[key] for key in ("name", "enable", "hide", "iconColor", "filter") if key in spec},
        "builtIn": int(flag(spec, "builtIn")),
        "datasource": {
            "type": kind if kind != "DataQuery" else "",
            "uid": text(source, "name") or text(source, "uid"),
        },
    }


def _variable(found: JSON) -> dict[str, Any]:
    spec = dict(mapping(found, "spec"))
    out: dict[str, Any] = {**spec, "type": _TYPES.get(text(found, "kind"), "custom")}
    out["hide"] = _HIDE.get(text(spec, "hide"), 0)
    out["refresh"] = _REFRESH.get(text(spec, "refresh"), 1)
    out["sort"] = _SORT.get(text(spec, "sort"), 0)
    if out["type"] == "query":
        query = mapping(spec, "query")
        inner = mapping(query, "spec")
        out["query"] = dict(inner) if inner else text(spec, "definition")
        source = mapping(query, "datasource") or mapping(spec, "datasource")
        out["datasource"] = {"uid": text(source, "name") or text(source, "uid"), "type": text(query, "group")}
    elif out["type"] == "datasource":
        out["query"] = text(spec, "pluginId", "prometheus")
    elif out["type"] == "switch":
        out["options"] = [
            {"text": "Enabled", "value": text(spec, "enabledValue", "true")},
            {"text": "Disabled", "value": text(spec, "disabledValue", "false")},
        ]
        out["current"] = (
            {"value": spec.get("current")} if not isinstance(spec.get("current"), dict) else spec["current"]
        )
    return out
