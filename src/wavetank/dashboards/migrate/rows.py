"""Schemas below 16: ``rows`` of panels that span up to 12 columns become a grid of 24.

Mirrors upgradeToGridLayout of Grafana's DashboardMigrator.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

__all__ = ["rows_to_grid"]

_UNIT_PX: Final = 38  # 30 px and a gap of 8
_COLUMNS: Final = 24
_LEAST_HEIGHT: Final = 3
_DEFAULT_ROW_PX: Final = 250


def rows_to_grid(found: dict[str, Any]) -> None:
    """Replaces ``rows``; panels that are already on the grid stay as they are."""
    rows = found.pop("rows", None)
    if not isinstance(rows, list) or not rows:
        return
    panels = found.setdefault("panels", [])
    if not isinstance(panels, list):
        panels = found["panels"] = []
    usable = [row for row in rows if isinstance(row, dict)]
    headed = any(row.get("showTitle") or row.get("collapse") or row.get("repeat") for row in usable)
    y = 0
    for row in usable:
        y = _place(row, panels, y, headed)


def _place(row: dict[str, Any], panels: list[Any], y: int, headed: bool) -> int:
    height = _units(row.get("height"))
    collapsed = bool(row.get("collapse"))
    placed: list[Any] = panels
    if headed:
        inside: list[Any] = []
        head: dict[str, Any] = {
            "type": "row",
            "title": row.get("title") or "",
            "collapsed": collapsed,
            "repeat": row.get("repeat") or None,
            "panels": inside,
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
        }
        panels.append(head)
        y += 1
        if collapsed:
            placed = inside
    x, tallest = 0, 0
    for panel in row.get("panels") or ():
        if not isinstance(panel, dict):
            continue
        width, own = _span(panel), _units(panel.get("height"), height)
        if x + width > _COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        panel["gridPos"] = {"x": x, "y": y, "w": width, "h": own}
        x, tallest = x + width, max(tallest, own)
        panel.pop("span", None)
        placed.append(panel)
    return y + tallest


def _span(panel: dict[str, Any]) -> int:
    span = panel.get("span")
    if isinstance(span, str):
        try:
            span = float(span)
        except ValueError:
            span = None
    if not isinstance(span, int | float) or not 0 < span <= 12:
        span = 4
    return max(1, min(_COLUMNS, math.floor(span) * 2))


def _units(height: Any, default: int | None = None) -> int:
    """A height in pixels, as a number or ``"250px"``, in units of the grid."""
    if isinstance(height, str):
        digits = re.match(r"\s*(\d{1,6})", height)
        height = int(digits[1]) if digits else None
    if not isinstance(height, int | float) or not 0 < height < 1e6:
        return default if default is not None else math.ceil(_DEFAULT_ROW_PX / _UNIT_PX)
    return max(_LEAST_HEIGHT, math.ceil(height / _UNIT_PX))
