"""Files of every schema: community dashboards, old panels, v2 resources, and what is no dashboard at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_samples import board, panel
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.clock import VirtualClock
from wavetank.dashboards.check import NoSource, check_dashboard
from wavetank.dashboards.load import load_bytes, load_file, to_dashboard
from wavetank.dashboards.model import Panel
from wavetank.dashboards.store import Store
from wavetank.dashboards.view import View
from wavetank.errors import InputError, WavetankError

COMMUNITY = sorted((Path(__file__).parent / "data/community").glob("*.json"))
SHIPPED = Store().all()


def every(panels: tuple[Panel, ...]) -> Iterator[Panel]:
    for found in panels:
        yield found
        yield from every(found.panels)


@pytest.mark.parametrize("path", COMMUNITY, ids=lambda path: path.stem)
def test_community_dashboards_load_resolve_and_are_answered_unedited(
    path: Path, source: Any, clock: VirtualClock
) -> None:
    dashboard = load_file(path)
    result = check_dashboard(dashboard, source, clock)
    assert result.problems == ()
    assert [p for p in result.panels if p.state in ("failed", "unsupported")] == []
    shown = [p for p in every(dashboard.panels) if p.type != "row"]
    assert len(result.panels) >= len(shown) > 0


@pytest.mark.parametrize("stored", SHIPPED, ids=lambda stored: stored.uid)
def test_shipped_dashboards_are_sound(stored: Any, clock: VirtualClock) -> None:
    result = check_dashboard(stored.dashboard, NoSource(), clock)
    assert not result.failed
    assert stored.dashboard.description and not stored.writable


def test_rows_of_schema_14_become_a_grid() -> None:
    found = load_file(Path(__file__).parent / "data/community/query.json")
    rows = [p for p in found.panels if p.type == "row"]
    assert rows and found.schema == 14
    assert {p.grid.w for p in found.panels if p.type != "row"} == {8, 12, 24}
    assert all(p.grid.h == 7 for p in found.panels if p.type != "row")


def only(found: dict[str, Any]) -> Panel:
    return to_dashboard(board([{"id": 1, "gridPos": {}, **found}])).panels[0]


def test_a_graph_becomes_a_time_series_with_nothing_lost() -> None:
    found = only(
        {
            "type": "graph",
            "bars": True,
            "stack": True,
            "percentage": True,
            "nullPointMode": "null as zero",
            "aliasColors": {"a": "#123456"},
            "seriesOverrides": [{"alias": "/r.*/", "yaxis": 2, "transform": "negative-Y"}],
            "yaxes": [
                {"format": "bytes", "min": 0, "logBase": 10, "label": "l"},
                {"format": "s", "max": "9"},
            ],
            "legend": {
                "show": True,
                "values": True,
                "avg": True,
                "current": True,
                "alignAsTable": True,
                "rightSide": True,
            },
            "tooltip": {"shared": True, "sort": 2},
            "thresholds": [{"value": 5, "op": "gt", "colorMode": "critical", "line": True, "fill": False}],
        }
    )
    defaults = found.field_config.defaults
    assert (found.type, defaults["unit"], defaults["min"]) == ("timeseries", "bytes", 0)
    assert defaults["custom"]["stacking"] == {"mode": "percent", "group": "A"}
    assert defaults["custom"]["nullAsZero"] and defaults["custom"]["drawStyle"] == "bars"
    assert defaults["custom"]["scaleDistribution"] == {"type": "log", "log": 10}
    assert defaults["thresholds"]["steps"][1] == {"value": 5, "color": "red"}
    properties = dict(found.field_config.overrides[1].properties)
    assert (
        properties["unit"] == "s" and properties["max"] == 9 and properties["custom.axisPlacement"] == "right"
    )
    assert found.options["legend"]["calcs"] == ["mean", "lastNotNull"]
    assert found.options["tooltip"] == {"mode": "multi", "sort": "desc"}


def test_a_singlestat_becomes_a_stat_or_a_gauge() -> None:
    old = {
        "type": "singlestat",
        "format": "percent",
        "valueName": "current",
        "thresholds": "50,80",
        "colors": ["green", "orange", "red"],
        "colorBackground": True,
        "sparkline": {"show": True},
        "postfix": " x",
        "valueMaps": [{"op": "=", "value": "0", "text": "none"}, {"op": "=", "value": "null", "text": "N/A"}],
    }
    found = only(old)
    assert (found.type, found.options["colorMode"], found.options["graphMode"]) == (
        "stat",
        "background",
        "area",
    )
    assert found.options["affix"]["postfix"] == " x"
    assert [s["value"] for s in found.field_config.defaults["thresholds"]["steps"]] == [None, 50.0, 80.0]
    assert [m["type"] for m in found.field_config.defaults["mappings"]] == ["value", "special"]
    gauge = only(old | {"gauge": {"show": True, "minValue": 0, "maxValue": 10}})
    assert (gauge.type, gauge.field_config.defaults["max"]) == ("gauge", 10)


def test_in_an_old_table_the_first_style_that_matches_wins() -> None:
    styles = [
        {"pattern": "a", "alias": "first", "type": "number", "unit": "s"},
        {"pattern": "/a/", "alias": "second", "type": "hidden"},
        {"pattern": "/.*/", "type": "number", "unit": "short", "decimals": 2},
    ]
    found = only({"type": "table", "styles": styles, "transform": "table", "sort": {"col": 1, "desc": True}})
    assert [o.options for o in found.field_config.overrides] == ["/a/", "a"]
    assert found.field_config.defaults["decimals"] == 2
    assert found.transformations[0].id == "merge"


V2: dict[str, Any] = {
    "apiVersion": "dashboard.grafana.app/v2beta1",
    "kind": "Dashboard",
    "metadata": {"name": "two"},
    "spec": {
        "title": "Two",
        "cursorSync": "Tooltip",
        "timeSettings": {"from": "now-3h", "to": "now", "autoRefresh": "10s"},
        "variables": [
            {
                "kind": "QueryVariable",
                "spec": {
                    "name": "job",
                    "query": {"kind": "DataQuery", "group": "prometheus", "spec": {"query": "label_values(up, job)"}},
                    "refresh": "onTimeRangeChanged",
                    "sort": "alphabeticalAsc",
                    "multi": True,
                    "includeAll": True,
                    "hide": "dontHide",
                },
            }
        ],
        "elements": {
            "p": {
                "kind": "Panel",
                "spec": {
                    "id": 4,
                    "title": "P",
                    "data": {
                        "kind": "QueryGroup",
                        "spec": {
                            "queries": [
                                {"kind": "PanelQuery", "spec": {"refId": "A", "hidden": False, "query": {"kind": "DataQuery", "group": "prometheus", "datasource": {"name": "u"}, "spec": {"expr": "up"}}}}
                            ],
                            "transformations": [{"kind": "Transformation", "group": "limit", "spec": {"options": {"limitField": 3}}}],
                            "queryOptions": {"interval": "1m"},
                        },
                    },
                    "vizConfig": {"kind": "VizConfig", "group": "stat", "spec": {"options": {"colorMode": "none"}, "fieldConfig": {"defaults": {"unit": "s"}, "overrides": []}}},
                },
            }
        },
        "layout": {
            "kind": "RowsLayout",
            "spec": {
                "rows": [
                    {
                        "kind": "RowsLayoutRow",
                        "spec": {
                            "title": "R",
                            "collapse": False,
                            "layout": {"kind": "GridLayout", "spec": {"items": [{"kind": "GridLayoutItem", "spec": {"x": 0, "y": 0, "width": 6, "height": 4, "element": {"kind": "ElementReference", "name": "p"}, "repeat": {"mode": "variable", "value": "job"}}}]}},
                        },
                    }
                ]
            },
        },
    },
}  # fmt: skip


def test_a_v2_resource_is_the_same_dashboard(source: Any, clock: VirtualClock) -> None:
    found = to_dashboard(V2)
    row, stat = found.panels
    assert (found.uid, found.time_from, found.refresh, found.cursor) == ("two", "now-3h", "10s", "tooltip")
    assert (row.type, row.title, stat.type, stat.interval, stat.repeat) == ("row", "R", "stat", "1m", "job")
    assert stat.targets[0].expr == "up" and stat.transformations[0].id == "limit"
    result = check_dashboard(found, source, clock)
    assert not result.failed and [p.id for p in result.panels] == ["4", "4~db", "4~web"]


def test_tabs_and_automatic_grids_become_rows() -> None:
    spec = json.loads(json.dumps(V2["spec"]))
    item = {"kind": "AutoGridLayoutItem", "spec": {"element": {"name": "p"}}}
    auto = {"kind": "AutoGridLayout", "spec": {"maxColumnCount": 2, "items": [item] * 3}}
    spec["layout"] = {"kind": "TabsLayout", "spec": {"tabs": [{"spec": {"title": "T", "layout": auto}}]}}
    found = to_dashboard({**V2, "spec": spec})
    assert [(p.type, p.grid.x, p.grid.y, p.grid.w) for p in found.panels] == [
        ("row", 0, 0, 24),
        ("stat", 0, 1, 12),
        ("stat", 12, 1, 12),
        ("stat", 0, 10, 12),
    ]


def test_library_panels_of_an_export_are_used_and_missing_ones_named() -> None:
    elements = {"e": {"uid": "lib", "name": "L", "model": {"type": "gauge", "title": "From the library"}}}
    panels = [
        {"id": 1, "libraryPanel": {"uid": "lib", "name": "L"}},
        {"id": 2, "libraryPanel": {"uid": "x", "name": "X"}},
    ]
    found = to_dashboard(board(panels, __elements=elements))
    assert [p.type for p in found.panels] == ["gauge", ""]
    assert found.notices == ("library panel 'X' is not in the file",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "no object"),
        (b"{}", "not a dashboard"),
        (b'{"panels": ' + b"[" * 200 + b"]" * 200 + b"}", "nested deeper"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_what_is_no_dashboard_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_bytes(data)


def test_two_thousand_panels_load_and_check(clock: VirtualClock) -> None:
    panels = [{**panel("stat", "up"), "id": i + 1} for i in range(2000)]
    result = check_dashboard(to_dashboard(board(panels)), NoSource(), clock)
    assert len(result.panels) == 2000 and not result.failed


def test_what_would_fail_is_named(source: Any, clock: VirtualClock) -> None:
    panels = [
        {**panel("magic-panel", "up"), "id": 1},
        {**panel("stat", "up{job='$nobody'}"), "id": 2},
        {**panel("stat", "up", transformations=[{"id": "nonsense"}]), "id": 3},
        {**panel("stat", 'up{job="gone"}'), "id": 4},
    ]
    result = check_dashboard(to_dashboard(board(panels)), source, clock)
    assert [(p.state, p.why[0]) for p in result.panels] == [
        ("failed", "panel type 'magic-panel' is not known"),
        ("failed", "variable $nobody is not defined"),
        ("failed", "transformation 'nonsense' is not supported"),
        ("empty", 'no series match up{job="gone"}'),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=150)
@given(data=st.data())
def test_no_json_crashes_reading_or_checking(data: st.DataObject) -> None:
    """A valid dashboard with some values replaced by anything."""
    found = json.loads(json.dumps(data.draw(st.sampled_from(HOSTILE_BASES))))
    for _ in range(data.draw(st.integers(1, 4))):
        _replace(found, data)
    try:
        dashboard = to_dashboard(found)
        check_dashboard(dashboard, NoSource(), VirtualClock(start=1_760_000_000))
    except WavetankError:
        pass


def _replace(node: Any, data: st.DataObject) -> None:
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        inner = node[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 3)) == 0:
            node[key] = data.draw(JSON)
            return
        node = inner


HOSTILE_BASES = [
    V2,
    board(
        [
            {**panel("graph", "up", yaxes=[{"format": "s"}], seriesOverrides=[{"alias": "x", "yaxis": 2}], thresholds=[{"value": 1}]), "span": 4},
            panel("singlestat", "up", thresholds="1,2", colors=["a", "b"], valueMaps=[{"value": "1", "text": "x"}], gauge={"show": True}),
            panel("table", "up", styles=[{"pattern": "/x/", "type": "number", "thresholds": ["1"]}], sort={"col": 1}),
            panel("heatmap", "up", options={"calculate": True, "color": {"scheme": "Oranges"}}),
            panel("text", options={"content": "# $x", "mode": "markdown"}),
            panel("stat", {"expr": "up", "interval": "1m", "legendFormat": "{{a}}"}, repeat="v", maxPerRow=2, fieldConfig={"defaults": {"mappings": [{"type": "value", "options": {"1": {"text": "a"}}}], "thresholds": {"steps": [{"value": 1, "color": "red"}]}}, "overrides": [{"matcher": {"id": "byName", "options": "x"}, "properties": [{"id": "unit", "value": "s"}]}]}, transformations=[{"id": "organize", "options": {"renameByName": {"a": "b"}}}]),
        ],
        templating={"list": [{"name": "v", "type": "custom", "query": "a,b", "multi": True, "current": {"value": ["a"]}}, {"name": "q", "type": "query", "query": {"query": "label_values(up, $v)"}, "regex": "/x/"}]},
        links=[{"type": "link", "url": "https://x", "title": "t"}],
    ),
]  # fmt: skip


def test_gaps_that_a_row_keeps_from_its_past_are_closed(opened: Callable[..., View]) -> None:
    def at(id_: int, x: int, y: int, w: int = 12) -> dict[str, Any]:
        return {**panel("timeseries", "up"), "id": id_, "gridPos": {"x": x, "y": y, "w": w, "h": 8}}

    row = {"type": "row", "id": 9, "collapsed": True, "gridPos": {"y": 0, "h": 1, "w": 24, "x": 0}}
    inner = [at(1, 0, 3), at(2, 12, 3), at(3, 0, 300), at(4, 12, 500, 6), at(5, 0, 700, 24)]
    found = opened(board([{**row, "panels": inner}])).rows[0].panels
    assert [(p.id, p.grid.y) for p in found] == [("1", 0), ("2", 0), ("3", 8), ("4", 8), ("5", 16)]
