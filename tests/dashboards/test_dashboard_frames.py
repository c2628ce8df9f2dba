"""What a panel answers: legends, tables, heatmaps, configuration, transformations, and failures that stay
alone."""

from __future__ import annotations

from typing import Any

import pytest
from dashboard_samples import NOW_S, board, panel

from wavetank.clock import VirtualClock
from wavetank.dashboards.draw.text import rich_text
from wavetank.dashboards.frame import Field, Frame
from wavetank.dashboards.load import to_dashboard
from wavetank.dashboards.model import Transformation
from wavetank.dashboards.reducers import reduce_values
from wavetank.dashboards.refresh import refresh
from wavetank.dashboards.source import EngineSource
from wavetank.dashboards.transforms import transform
from wavetank.dashboards.view import open_view
from wavetank.model.labels import Labels
from wavetank.promql.promqltest.memory import MemoryStorage


def names(answer: dict[str, Any]) -> list[str]:
    return [series["label"] for series in answer["drawing"]["series"]]


@pytest.mark.parametrize(
    ("expr", "legend", "expected"),
    [
        ("load", "{{job}}", ["api", "db", "web"]),
        ("load", "{{ job }} of {{missing}}", ["api of ", "db of ", "web of "]),
        ("load", "", ['load{job="api"}', 'load{job="db"}', 'load{job="web"}']),
        ("load", "__auto", ["api", "db", "web"]),
        ("sum(load)", "", ["sum(load)"]),
        ("sum(load)", "__auto", ["sum(load)"]),
        ("load", "x", ["x", "x 2", "x 3"]),
        (
            "sum by (job, code) (requests_total)",
            "__auto",
            ['{code="200", job="api"}', '{code="200", job="db"}'],
        ),
    ],
)
def test_legends(answered: Any, expr: str, legend: str, expected: list[str]) -> None:
    answer = answered(board([panel("timeseries", {"expr": expr, "legendFormat": legend})]))
    assert names(answer)[: len(expected)] == expected


def test_points_lie_on_the_step_and_the_newest_step_is_marked(answered: Any) -> None:
    drawing = answered(board([panel("timeseries", "load")]), width=240)["drawing"]
    assert drawing["step"] == 15
    assert all(moment % 15 == 0 for moment in drawing["times"])
    assert drawing["incomplete_from"] == drawing["to"] - 15


def test_overrides_apply_in_their_order_and_by_every_matcher(answered: Any) -> None:
    overrides = [
        {
            "matcher": {"id": "byName", "options": "api"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}}],
        },
        {
            "matcher": {"id": "byRegexp", "options": "/^(api|db)$/"},
            "properties": [{"id": "custom.lineWidth", "value": 7}],
        },
        {"matcher": {"id": "byFrameRefID", "options": "A"}, "properties": [{"id": "unit", "value": "bytes"}]},
        {"matcher": {"id": "byName", "options": "api"}, "properties": [{"id": "unit", "value": "s"}]},
        {
            "matcher": {"id": "byValue", "options": {"reducer": "mean", "op": "gte", "value": 3.5}},
            "properties": [{"id": "custom.drawStyle", "value": "bars"}],
        },
    ]
    found = board(
        [
            panel(
                "timeseries",
                {"expr": "load", "legendFormat": "{{job}}"},
                fieldConfig={"overrides": overrides},
            )
        ]
    )
    api, db, web = answered(found)["drawing"]["series"]
    assert (api["colour"], api["width"], api["format"]["kind"]) == ("#F2495C", 7, "steps")
    assert (db["width"], db["format"]["factor"]) == (7, 1024)
    assert (api["draw"], web["draw"]) == ("line", "bars")


def test_negative_y_and_stacking_reach_the_browser_as_they_are_meant(answered: Any) -> None:
    config = {
        "defaults": {"custom": {"transform": "negative-Y", "stacking": {"mode": "normal", "group": "B"}}}
    }
    series = answered(board([panel("timeseries", "load", fieldConfig=config)]))["drawing"]["series"][0]
    assert max(v for v in series["values"] if v is not None) < 0
    assert (series["stack"], series["stack_group"]) == ("normal", "B")


def test_the_legend_has_the_calculated_columns(answered: Any) -> None:
    options = {
        "legend": {"displayMode": "table", "placement": "right", "calcs": ["min", "mean", "lastNotNull"]}
    }
    config = {"defaults": {"unit": "s", "decimals": 1}}
    drawing = answered(board([panel("timeseries", "up", options=options, fieldConfig=config)]))["drawing"]
    assert drawing["legend"]["calcs"] == ["Min", "Mean", "Last *"]
    assert [calc["text"] for calc in drawing["series"][0]["calcs"]] == ["1.0 s", "1.0 s", "1.0 s"]


def test_a_stat_shows_mappings_before_units(answered: Any) -> None:
    mappings = [
        {"type": "value", "options": {"0": {"text": "down", "color": "red"}}},
        {"type": "range", "options": {"from": 0.5, "to": 2, "result": {"text": "up", "color": "green"}}},
    ]
    found = board(
        [
            panel(
                "stat",
                {"expr": "up", "legendFormat": "{{job}}"},
                fieldConfig={"defaults": {"mappings": mappings}},
            )
        ]
    )
    items = answered(found)["drawing"]["items"]
    assert [(i["title"], i["text"], i["colour"]) for i in items] == [
        ("api", "up", "#73BF69"),
        ("db", "down", "#F2495C"),
        ("web", "up", "#73BF69"),
    ]


def test_thresholds_in_percent_lie_between_the_bounds(answered: Any) -> None:
    steps = [{"value": None, "color": "green"}, {"value": 50, "color": "red"}]
    defaults = {"min": 0, "max": 8, "thresholds": {"mode": "percentage", "steps": steps}}
    found = board(
        [panel("gauge", {"expr": "load", "legendFormat": "{{job}}"}, fieldConfig={"defaults": defaults})]
    )
    items = answered(found)["drawing"]["items"]
    assert [i["colour"] for i in items] == ["#73BF69" if i["value"] < 4 else "#F2495C" for i in items]
    assert items[0]["steps"][1]["from"] == 0.5


def test_tables_join_and_organize_as_the_mixins_do(answered: Any) -> None:
    targets = [
        {"expr": e, "format": "table", "instant": True} for e in ("sum by (job) (load)", "sum by (job) (up)")
    ]
    steps = [
        {"id": "joinByField", "options": {"byField": "job", "mode": "outer"}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time 1": True, "Time 2": True},
                "indexByName": {"job": 0, "Value #B": 1, "Value #A": 2},
                "renameByName": {"Value #A": "Load", "Value #B": "Up"},
            },
        },
    ]
    override = {
        "matcher": {"id": "byName", "options": "Up"},
        "properties": [{"id": "links", "value": [{"url": "/d/x?var-job=${__data.fields.job}"}]}],
    }
    found = board([panel("table", *targets, transformations=steps, fieldConfig={"overrides": [override]})])
    drawing = answered(found)["drawing"]
    assert [column["name"] for column in drawing["columns"]] == ["job", "Up", "Load"]
    assert [row[0]["text"] for row in drawing["rows"]] == ["api", "db", "web"]
    assert drawing["rows"][1][1]["url"] == "/d/x?var-job=db"


def test_one_table_has_a_plain_value_column(answered: Any) -> None:
    drawing = answered(board([panel("table", {"expr": "up", "format": "table", "instant": True})]))["drawing"]
    assert [column["name"] for column in drawing["columns"]] == ["Time", "__name__", "job", "Value"]


def test_heatmaps_count_what_lies_between_buckets(answered: Any) -> None:
    target = {"expr": "sum by (le) (rate(latency_bucket[1m]))", "format": "heatmap", "legendFormat": "{{le}}"}
    drawing = answered(board([panel("heatmap", target, options={"yAxis": {"unit": "s"}})]))["drawing"]
    assert drawing["labels"] == ["100 ms", "500 ms", "+Inf"]
    last = [row[-1] for row in drawing["counts"]]
    assert last == pytest.approx([1 / 15] * 3)


def test_instant_and_range_together_are_two_queries(answered: Any) -> None:
    answer = answered(board([panel("timeseries", {"expr": "up", "instant": True, "range": True})]))
    assert [query["ref"] for query in answer["queries"]] == ["A", "A-Instant"]


def test_macros_follow_the_step(answered: Any) -> None:
    target = {
        "expr": "rate(requests_total[$__rate_interval]) + vector(${__interval_ms}) + vector($__range_s)",
        "interval": "1m",
    }
    query = answered(board([panel("timeseries", target)]), width=300)["queries"][0]
    assert query["expr"] == "rate(requests_total[4m]) + vector(60000) + vector(3600)"


def test_time_from_and_time_shift_move_the_panel_alone(answered: Any) -> None:
    drawing = answered(board([panel("timeseries", "up", timeFrom="10m", timeShift="20m")]))["drawing"]
    assert drawing["to"] - drawing["from"] == 600
    assert drawing["to"] == 1_760_000_000 - 1200


def test_repeated_panels_and_rows(opened: Any) -> None:
    variable = {
        "name": "job",
        "type": "query",
        "query": "label_values(up, job)",
        "multi": True,
        "includeAll": True,
    }
    row = {
        "id": 9,
        "type": "row",
        "title": "Row of $job",
        "repeat": "job",
        "gridPos": {"x": 0, "y": 8, "w": 24, "h": 1},
        "panels": [],
        "collapsed": False,
    }
    found = board(
        [
            {**panel("stat", 'up{job="$job"}', repeat="job", maxPerRow=2), "id": 1},
            row,
            {**panel("stat", 'load{job="$job"}'), "id": 2, "gridPos": {"x": 0, "y": 9, "w": 12, "h": 4}},
        ],
        templating={"list": [variable]},
    )
    view = opened(found)
    assert [(r.title, [(p.id, p.grid.x, p.grid.y, p.grid.w) for p in r.panels]) for r in view.rows] == [
        ("", [("1", 0, 0, 12), ("1~db", 12, 0, 12), ("1~web", 0, 8, 12)]),
        ("Row of $job", [("2", 0, 0, 12)]),
        ("Row of $job", [("2~db", 0, 0, 12)]),
        ("Row of $job", [("2~web", 0, 0, 12)]),
    ]


def test_a_panel_that_fails_fails_alone_and_says_why(answered: Any) -> None:
    answer = answered(board([panel("timeseries", "sum((")]))
    assert answer["state"] == "error"
    assert "parse error" in answer["notices"][0]["text"]
    half = answered(board([panel("timeseries", "sum((", "up")]))
    assert half["state"] == "ok" and half["notices"][0]["severity"] == "error"


def test_other_data_sources_are_named(answered: Any) -> None:
    target = {"expr": "{job=~'.+'}", "datasource": {"type": "loki", "uid": "l"}}
    answer = answered(board([panel("timeseries", target)]))
    assert answer["state"] == "error" and "'loki' is not supported" in answer["notices"][0]["text"]


@pytest.mark.parametrize("kind", ["canvas", "geomap", "nodeGraph", "logs", "alertlist", "news"])
def test_what_is_not_drawn_says_so(answered: Any, kind: str) -> None:
    answer = answered(board([panel(kind, "up")]))
    assert answer["state"] == "unsupported" and answer["notices"][0]["text"]


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("timeseries", "the first 500 are drawn"), ("stat", "the first 300 are shown")],
)
def test_more_series_than_can_be_read_are_cut_and_said(clock: VirtualClock, kind: str, shown: str) -> None:
    storage = MemoryStorage()
    for i in range(2000):
        storage.add_series(Labels.of(__name__="m", i=str(i)), [((NOW_S - 60) * 1000, float(i))])
    source = EngineSource(storage, clock)
    view = open_view(to_dashboard(board([panel(kind, "m")])), source, NOW_S * 1000)
    panels = [(p, 400) for p in view.panels(collapsed=True)]
    answer = refresh(view, source, clock, panels=panels, catalogue=lambda tags: [])["panels"][0]
    assert answer["state"] == "ok" and shown in answer["notices"][0]["text"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lastNotNull", 4.0), ("last", None), ("first", 1.0), ("min", 1.0), ("max", 8.0), ("mean", 13 / 3), ("median", 4.0),
        ("sum", 13.0), ("count", 3), ("countAll", 4), ("range", 7.0), ("diff", 3.0), ("diffperc", 3.0), ("delta", 11.0),
        ("step", -4.0), ("changeCount", 3), ("distinctCount", 4), ("allIsZero", False), ("logmin", 1.0), ("p50", 4.0), ("total", 13.0),
    ],
)  # fmt: skip
def test_reducers(name: str, expected: float | None) -> None:
    assert reduce_values([1.0, 8.0, 4.0, None], name) == expected


def frame(ref: str, **columns: list[Any]) -> Frame:
    fields = []
    for name, values in columns.items():
        kind: Any = "time" if name == "Time" else "string" if isinstance(values[0], str) else "number"
        fields.append(Field(name, kind, values))
    return Frame(ref, fields, kind="table")


def run(frames: list[Frame], id_: str, **options: Any) -> list[dict[str, list[Any]]]:
    found, notices = transform(frames, [Transformation(id_, options)])
    assert notices == []
    return [{f.display: f.values for f in one.fields} for one in found]


def test_merge_puts_rows_that_agree_together() -> None:
    a, b = frame("A", job=["x", "y"], a=[1.0, 2.0]), frame("B", job=["y", "z"], b=[3.0, 4.0])
    assert run([a, b], "merge") == [{"job": ["x", "y", "z"], "a": [1.0, 2.0, None], "b": [None, 3.0, 4.0]}]


def test_inner_joins_keep_what_all_have() -> None:
    a, b = frame("A", job=["x", "y"], a=[1.0, 2.0]), frame("B", job=["y", "z"], b=[3.0, 4.0])
    assert run([a, b], "joinByField", byField="job", mode="inner") == [{"job": ["y"], "a": [2.0], "b": [3.0]}]


def test_group_by_calculate_sort_limit_and_filter() -> None:
    rows = frame("A", job=["x", "y", "x"], v=[1.0, 5.0, 3.0])
    fields = {
        "job": {"operation": "groupby"},
        "v": {"operation": "aggregate", "aggregations": ["sum", "max"]},
    }
    assert run([rows], "groupBy", fields=fields) == [
        {"job": ["x", "y"], "v (sum)": [4.0, 5.0], "v (max)": [3.0, 5.0]}
    ]
    binary = {"left": "v", "operator": "*", "right": "2"}
    assert run([rows], "calculateField", mode="binary", alias="d", binary=binary)[0]["d"] == [2.0, 10.0, 6.0]
    assert run([rows], "sortBy", sort=[{"field": "v", "desc": True}])[0]["job"] == ["y", "x", "x"]
    assert run([rows], "limit", limitField=1)[0]["v"] == [1.0]
    only = [{"fieldName": "v", "config": {"id": "greater", "options": {"value": 2}}}]
    assert run([rows], "filterByValue", type="include", match="any", filters=only)[0]["v"] == [5.0, 3.0]
    assert run([rows], "renameByRegex", regex="(v)", renamePattern="$1al")[0]["val"] == [1.0, 5.0, 3.0]
    assert run([rows], "reduce", reducers=["max", "sum"]) == [{"Field": ["v"], "Max": [5.0], "Total": [9.0]}]


def test_a_transformation_that_is_not_known_is_named_and_passed_over() -> None:
    found, notices = transform([frame("A", v=[1.0])], [Transformation("heatmapMagic", {})])
    assert found[0].fields[0].values == [1.0] and "heatmapMagic" in notices[0]


@pytest.mark.parametrize("mode", ["markdown", "html"])
def test_text_panels_hold_no_scripts(mode: str) -> None:
    hostile = (
        "<script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>a</a>"
        "<style>*{}</style>[b](javascript:alert(1)) <iframe src=x></iframe><svg onload=alert(1)>"
    )
    text = str(rich_text(hostile, mode))
    assert "url" not in text and "onerror" not in text and "iframe" not in text and "<script" not in text


def test_markdown() -> None:
    found = rich_text("# T\n\na **b** [c](https://x.y)\n\n- i\n- j\n\n```\n<b>\n```", "markdown")
    assert [node["tag"] for node in found if isinstance(node, dict)] == ["h1", "p", "ul", "pre"]
    assert found[1]["children"][3] == {"tag": "a", "url": "https://x.y", "children": ["c"]}  # type: ignore[index]
    assert found[3] == {"tag": "pre", "children": ["<b>"]}
