"""Drawings: what each type of panel makes of its frames, in the shapes of the browser's contract.

One module a family of panels. Each takes a ``Canvas`` (the panel, its looks, the time range) and gives JSON;
none asks the data source anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from wavetank.dashboards.draw.bars import barchart, histogram
from wavetank.dashboards.draw.canvas import Canvas
from wavetank.dashboards.draw.heatmap import heatmap
from wavetank.dashboards.draw.single import bargauge, gauge, piechart, stat
from wavetank.dashboards.draw.states import state_timeline, status_history
from wavetank.dashboards.draw.table import table
from wavetank.dashboards.draw.timeseries import timeseries

__all__ = ["DATA_TYPES", "UNSUPPORTED", "Canvas", "draw"]

_DRAW: Final[dict[str, Callable[[Canvas], dict[str, Any] | None]]] = {
    "barchart": barchart,
    "bargauge": bargauge,
    "gauge": gauge,
    "heatmap": heatmap,
    "histogram": histogram,
    "piechart": piechart,
    "stat": stat,
    "state-timeline": state_timeline,
    "status-history": status_history,
    "table": table,
    "timeseries": timeseries,
}

DATA_TYPES: Final = frozenset(_DRAW)

#: Why a panel of this type is not drawn.
UNSUPPORTED: Final = {
    "alertlist": "lists Grafana's own alerts; Prometheus' alerts are on the Alerts page",
    "annolist": "lists annotations of a Grafana database",
    "candlestick": "needs open, high, low and close fields, which Prometheus does not have",
    "canvas": "places elements freely; not drawn",
    "debug": "shows Grafana's internals",
    "flamegraph": "needs profiles, not metrics",
    "geomap": "needs map tiles from a network",
    "gettingstarted": "is Grafana's own welcome page",
    "live": "needs Grafana Live",
    "logs": "shows log lines of a log store, not metrics",
    "news": "shows an RSS feed from a network",
    "nodeGraph": "needs a data source of nodes and edges",
    "datagrid": "edits data in the panel",
    "traces": "shows traces of a trace store, not metrics",
    "trend": "needs an x field other than time; not drawn",
    "welcome": "is Grafana's own welcome page",
    "xychart": "needs an x field other than time; not drawn",
}


def draw(kind: str, canvas: Canvas) -> dict[str, Any] | None:
    """The drawing of a data panel; None where the frames hold nothing that it could show."""
    return _DRAW[kind](canvas)
