"""All migrations of classic JSON, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wavetank.dashboards.migrate.graph import graph
from wavetank.dashboards.migrate.mappings import modern_mappings
from wavetank.dashboards.migrate.plain import field_options, heatmap, piechart, text_panel
from wavetank.dashboards.migrate.rows import rows_to_grid
from wavetank.dashboards.migrate.singlestat import singlestat
from wavetank.dashboards.migrate.table import table
from wavetank.dashboards.values import mapping

__all__ = ["SCHEMA", "classic", "every_panel"]

SCHEMA = 42


def classic(found: dict[str, Any]) -> dict[str, Any]:
    """The same dashboard at schema 42; ``found`` is changed."""
    rows_to_grid(found)
    for panel in every_panel(found):
        _panel(panel)
    _ids(found)
    found["schemaVersion"] = SCHEMA
    return found


def every_panel(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Panels and rows, and what collapsed rows hold."""
    panels = found.get("panels")
    for panel in panels if isinstance(panels, list) else ():
        if isinstance(panel, dict):
            yield panel
            if panel.get("type") == "row":
                yield from every_panel(panel)


def _panel(panel: dict[str, Any]) -> None:
    for key in ("options", "fieldConfig"):
        if not isinstance(panel.get(key), dict):
            panel[key] = {}
    config = panel["fieldConfig"]
    config["defaults"] = dict(mapping(config.get("defaults")))
    overrides = config.get("overrides")
    config["overrides"] = [o for o in overrides if isinstance(o, dict)] if isinstance(overrides, list) else []
    match panel.get("type"):
        case "graph":
            graph(panel)
        case "singlestat" | "grafana-singlestat-panel":
            singlestat(panel)
        case "table" | "table-old" if "styles" in panel or panel.get("type") == "table-old":
            table(panel)
        case "heatmap" | "heatmap-new" | "grafana-heatmap-panel":
            heatmap(panel)
        case "grafana-piechart-panel":
            piechart(panel)
        case "text" | "text2":
            text_panel(panel)
        case "stat" | "gauge" | "bargauge" | "piechart":
            field_options(panel)
    modern_mappings(panel["fieldConfig"])


def _ids(found: dict[str, Any]) -> None:
    """Every panel gets an id of its own; the first to use one keeps it."""
    seen: set[int] = set()
    later = []
    for panel in every_panel(found):
        number = panel.get("id")
        if isinstance(number, int) and not isinstance(number, bool) and number > 0 and number not in seen:
            seen.add(number)
        else:
            later.append(panel)
    following = max(seen, default=0)
    for panel in later:
        following += 1
        panel["id"] = following
