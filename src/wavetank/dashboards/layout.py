"""From the model to what is on the screen: repetitions made, rows and panels placed.

Mirrors Grafana's DashboardModel: a panel repeats over a variable's chosen values, beside each other in rows
of at most ``maxPerRow`` or below each other; a row repeats with all its panels. Whatever lies below moves
down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from wavetank.dashboards.interpolate import Value
from wavetank.dashboards.model import Dashboard, Grid, Panel
from wavetank.dashboards.variables import Chosen
from wavetank.limits import DASHBOARD_PANELS_MAX, DASHBOARD_REPEATS_MAX

__all__ = ["PlacedPanel", "PlacedRow", "place"]

_COLUMNS = 24


@dataclass(frozen=True, slots=True)
class PlacedPanel:
    """``id`` is unique on the dashboard; ``scope`` holds the values that it repeats for."""

    id: str
    panel: Panel
    grid: Grid
    scope: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """``y`` of its panels counts from the row's top."""

    id: str
    title: str
    collapsed: bool
    panels: tuple[PlacedPanel, ...]
    scope: Mapping[str, Value] = field(default_factory=dict)


def place(dashboard: Dashboard, chosen: Sequence[Chosen]) -> tuple[list[PlacedRow], list[str]]:
    """Rows from above, the first without a title where panels stand above all rows; and notices."""
    repeats = {c.variable.name: _values(c) for c in chosen}
    notices: list[str] = []
    rows: list[PlacedRow] = []
    left = DASHBOARD_PANELS_MAX
    for head, panels in _groups(dashboard.panels):
        for suffix, scope in _repetitions(head, repeats, notices):
            placed = _flow(panels, suffix, scope, repeats, notices)
            if len(placed) > left:
                notices.append(f"only the first {DASHBOARD_PANELS_MAX} panels are shown, repetitions counted")
                placed = placed[:left]
            left -= len(placed)
            if head is None:
                rows.append(PlacedRow("", "", False, tuple(placed)))
            else:
                name = f"{head.id}{suffix}"
                rows.append(PlacedRow(name, head.title, head.collapsed, tuple(placed), scope))
    return rows, list(dict.fromkeys(notices))


def _values(chosen: Chosen) -> list[tuple[str, str]]:
    """(text, value) of each chosen value; All is every option."""
    if chosen.selected == ("$__all",):
        return [option for option in chosen.options if option[1]]
    texts = {value: shown for shown, value in chosen.options}
    return [(texts.get(value, value), value) for value in chosen.selected if value]


def _groups(panels: Sequence[Panel]) -> list[tuple[Panel | None, list[Panel]]]:
    """Each row with its panels; an expanded row owns what follows it."""
    ordered = sorted(panels, key=lambda p: (p.grid.y, p.grid.x))
    groups: list[tuple[Panel | None, list[Panel]]] = [(None, [])]
    for panel in ordered:
        if panel.type == "row":
            groups.append((panel, list(panel.panels)))
        else:
            groups[-1][1].append(panel)
    return groups if groups[0][1] else groups[1:]


def _repetitions(
    head: Panel | None, repeats: Mapping[str, list[tuple[str, str]]], notices: list[str]
) -> list[tuple[str, dict[str, Value]]]:
    if head is None or not head.repeat or head.repeat not in repeats:
        return [("", {})]
    return [
        ("" if index == 0 else f"~{value}", _scope(head.repeat, shown, value))
        for index, (shown, value) in enumerate(_bounded(repeats[head.repeat], head.repeat, notices))
    ] or [("", {})]


def _scope(name: str, shown: str, value: str) -> dict[str, Value]:
    # Repeated over a variable of several values, one of them is still escaped as part of a regular
    # expression.
    return {name: Value((value,), (shown,), many=True)}


def _bounded(values: list[tuple[str, str]], name: str, notices: list[str]) -> list[tuple[str, str]]:
    if len(values) > DASHBOARD_REPEATS_MAX:
        notices.append(
            f"${name}: only the first {DASHBOARD_REPEATS_MAX} of {len(values)} values are repeated"
        )
    return values[:DASHBOARD_REPEATS_MAX]


def _flow(
    panels: Sequence[Panel],
    suffix: str,
    scope: Mapping[str, Value],
    repeats: Mapping[str, list[tuple[str, str]]],
    notices: list[str],
) -> list[PlacedPanel]:
    """The panels of one row, placed from its top."""
    top = min((panel.grid.y for panel in panels), default=0)
    placed: list[PlacedPanel] = []
    shift = 0
    for panel in sorted(panels, key=lambda p: (p.grid.y, p.grid.x)):
        grid = replace(panel.grid, y=panel.grid.y - top + shift)
        values = repeats.get(panel.repeat, []) if panel.repeat and panel.repeat not in scope else []
        if not values:
            placed.append(PlacedPanel(f"{panel.id}{suffix}", panel, grid, scope))
            continue
        many = _bounded(values, panel.repeat, notices)
        grids = _grids(panel, grid, len(many))
        for index, ((shown, value), own) in enumerate(zip(many, grids, strict=True)):
            name = f"{panel.id}{suffix}" if index == 0 else f"{panel.id}{suffix}~{value}"
            placed.append(PlacedPanel(name, panel, own, {**scope, **_scope(panel.repeat, shown, value)}))
        shift += max(own.y + own.h for own in grids) - (grid.y + grid.h)
    return _compact(placed)


def _compact(placed: Sequence[PlacedPanel]) -> list[PlacedPanel]:
    """Each panel as far up as those above it let it go. Files keep heights of long ago: Node Exporter Full
    has gaps of hundreds of units inside its collapsed rows, which Grafana closes too."""
    free = [0] * _COLUMNS  # by column, the first unit that nothing covers
    out = []
    for one in sorted(placed, key=lambda p: (p.grid.y, p.grid.x)):
        columns = slice(one.grid.x, one.grid.x + one.grid.w)
        y = max(free[columns], default=0)
        free[columns] = [y + one.grid.h] * len(free[columns])
        out.append(replace(one, grid=replace(one.grid, y=y)))
    return out


def _grids(panel: Panel, grid: Grid, count: int) -> list[Grid]:
    if panel.repeat_vertical:
        return [replace(grid, y=grid.y + index * grid.h) for index in range(count)]
    per_row = min(count, panel.max_per_row)
    width = max(_COLUMNS // per_row, 1)
    return [
        Grid(index % per_row * width, grid.y + index // per_row * grid.h, width, grid.h)
        for index in range(count)
    ]
