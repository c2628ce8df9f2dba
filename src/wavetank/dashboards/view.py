"""A dashboard resolved for one reader: time range, variables, rows; as the browser's ``Resolved``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from wavetank.dashboards.annotations import annotation_queries
from wavetank.dashboards.draw import DATA_TYPES, UNSUPPORTED
from wavetank.dashboards.draw.canvas import safe_url
from wavetank.dashboards.interpolate import Value, interpolate
from wavetank.dashboards.layout import PlacedPanel, PlacedRow, place
from wavetank.dashboards.model import Dashboard, DashboardLink
from wavetank.dashboards.source import Source
from wavetank.dashboards.times import TimeRange, time_range, zone_of
from wavetank.dashboards.variables import Chosen, built_ins, resolve_variables

__all__ = ["OTHER_TYPES", "Catalogue", "View", "open_view", "support_of", "view_json"]

OTHER_TYPES: Final = frozenset(("text", "dashlist"))
_REFRESHES: Final = ("5s", "10s", "30s", "1m", "5m", "15m", "30m", "1h")
_HIDE: Final = {1: "label", 2: "variable"}

Catalogue = Callable[[Sequence[str]], list[tuple[str, str]]]
"""Given tags, (title, uid) of the dashboards that have all of them."""


@dataclass(frozen=True, slots=True)
class View:
    """``scope`` holds every variable and the built-in ones."""

    dashboard: Dashboard
    time: TimeRange
    chosen: Sequence[Chosen]
    scope: Mapping[str, Value]
    rows: Sequence[PlacedRow]
    notices: Sequence[str] = field(default=())

    def panels(self, *, collapsed: bool) -> list[PlacedPanel]:
        """All placed panels; those of collapsed rows only if asked for."""
        return [p for row in self.rows if collapsed or not row.collapsed for p in row.panels]


def open_view(
    dashboard: Dashboard,
    source: Source,
    now_ms: int,
    *,
    raw_from: str = "",
    raw_to: str = "",
    given: Mapping[str, Sequence[str]] | None = None,
) -> View:
    """Asks the source what the variables need. Raises InputError for a time range that cannot be read."""
    zone = zone_of(dashboard.timezone)
    raw_to = raw_to or dashboard.time_to
    if raw_to == "now" and dashboard.now_delay:
        raw_to = f"now-{dashboard.now_delay}"
    time = time_range(
        raw_from or dashboard.time_from,
        raw_to,
        now_ms,
        zone,
        dashboard.week_start,
        dashboard.fiscal_month,
    )
    chosen = resolve_variables(dashboard, source, time, given or {})
    scope = dict(built_ins(time, source))
    scope |= {c.variable.name: c.value for c in chosen}
    scope["__dashboard"] = Value((dashboard.title,), fields={"uid": dashboard.uid, "title": dashboard.title})
    scope["__all_variables"] = Value.plain(_query_string(chosen))
    rows, notices = place(dashboard, chosen)
    return View(dashboard, time, chosen, scope, rows, (*dashboard.notices, *notices))


def _query_string(chosen: Sequence[Chosen]) -> str:
    pairs = [(f"var-{c.variable.name}", v) for c in chosen if not c.variable.skip_url for v in c.selected]
    return urlencode(pairs)


def support_of(panel_type: str, missing: str = "") -> tuple[str, str]:
    """The type as the browser knows it, and why it is unsupported."""
    if missing:
        return "unsupported", f"{missing} is not in the file"
    if panel_type in DATA_TYPES or panel_type in OTHER_TYPES:
        return panel_type, ""
    reason = UNSUPPORTED.get(panel_type)
    return "unsupported", reason or f"panel type {panel_type!r} is not known"


def view_json(view: View, *, can_save: bool, folder: str, catalogue: Catalogue) -> dict[str, Any]:
    """As ``Resolved``."""
    board, time = view.dashboard, view.time
    return {
        "uid": board.uid,
        "title": interpolate(board.title, view.scope),
        "description": board.description,
        "tags": board.tags,
        "folder": folder,
        "time": {
            "from": time.raw_from,
            "to": time.raw_to,
            "from_ms": time.from_ms,
            "to_ms": time.to_ms,
        },
        "timezone": board.timezone,
        "refresh": board.refresh,
        "refresh_intervals": board.refresh_intervals or _REFRESHES,
        "cursor": board.cursor,
        "variables": [_variable(c) for c in view.chosen],
        "links": [_link(link, view, view.scope, catalogue) for link in board.links],
        "rows": [_row(row, view, catalogue) for row in view.rows],
        "annotations": [
            {"name": q.name, "colour": q.colour, "enabled": q.enabled, "hidden": q.hidden}
            for q in annotation_queries(board)
        ],
        "notices": [{"severity": "warning", "text": notice} for notice in view.notices],
        "can_save": can_save,
    }


def _variable(chosen: Chosen) -> dict[str, Any]:
    variable = chosen.variable
    selected = set(chosen.selected)
    options = [{"text": s, "value": v, "selected": v in selected} for s, v in chosen.options]
    if variable.include_all:
        options.insert(0, {"text": "All", "value": "$__all", "selected": "$__all" in selected})
    return {
        "name": variable.name,
        "label": variable.label or variable.name,
        "description": variable.description,
        "type": variable.type,
        "hide": _HIDE.get(variable.hide, "variable" if variable.type == "constant" else ""),
        "multi": variable.multi,
        "include_all": variable.include_all,
        "value": chosen.selected,
        "text": chosen.value.text,
        "options": options,
        "options_cut": chosen.cut,
        "error": chosen.error,
    }


def _link(
    link: DashboardLink, view: View, scope: Mapping[str, Value], catalogue: Catalogue
) -> dict[str, Any]:
    extra = []
    if link.keep_time:
        extra.append(urlencode({"from": view.time.raw_from, "to": view.time.raw_to}))
    if link.include_vars:
        extra.append(_query_string(view.chosen))
    query = "&".join(part for part in extra if part)

    def whole(url: str) -> str:
        return f"{url}{'&' if '?' in url else '?'}{query}" if query and url else url

    items = []
    if link.type == "dashboards":
        items = [
            {"title": title, "url": whole(f"/d/{uid}")}
            for title, uid in catalogue(link.tags)
            if uid != view.dashboard.uid
        ]
    return {
        "title": interpolate(link.title, scope, "text"),
        "url": "" if items else whole(safe_url(interpolate(link.url, scope, "percentencode"))),
        "tooltip": link.tooltip,
        "new_tab": link.new_tab,
        "items": items,
    }


def _row(row: PlacedRow, view: View, catalogue: Catalogue) -> dict[str, Any]:
    scope = {**view.scope, **row.scope}
    return {
        "id": row.id,
        "title": interpolate(row.title, scope, "text"),
        "collapsed": row.collapsed,
        "panels": [_panel(placed, view, catalogue) for placed in row.panels],
    }


def _panel(placed: PlacedPanel, view: View, catalogue: Catalogue) -> dict[str, Any]:
    panel = placed.panel
    scope = {**view.scope, **placed.scope}
    kind, reason = support_of(panel.type, panel.missing)
    grid = placed.grid
    return {
        "id": placed.id,
        "panel_id": panel.id,
        "type": kind,
        "source_type": panel.source_type,
        "reason": reason,
        "title": interpolate(panel.title, scope, "text"),
        "description": interpolate(panel.description, scope, "text"),
        "grid": {"x": grid.x, "y": grid.y, "w": grid.w, "h": grid.h},
        "transparent": panel.transparent,
        "links": [_link(link, view, scope, catalogue) for link in panel.links],
        "time_note": _time_note(placed, view),
    }


def _time_note(placed: PlacedPanel, view: View) -> str:
    panel = placed.panel
    if panel.hide_time_override or not view.time.relative:
        return ""
    notes = [f"Last {panel.time_from}"] if panel.time_from else []
    return ", ".join([*notes, *([f"timeshift -{panel.time_shift}"] if panel.time_shift else [])])
