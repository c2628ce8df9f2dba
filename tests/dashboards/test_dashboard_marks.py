"""What is marked on time axes: annotation queries, the tank's own marks, exemplars; and borrowed data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dashboard_samples import NOW_S, board, panel

from wavetank.clock import VirtualClock
from wavetank.dashboards.annotations import Mark
from wavetank.dashboards.load import to_dashboard
from wavetank.dashboards.refresh import refresh
from wavetank.dashboards.source import EngineSource, Exemplar
from wavetank.dashboards.view import View, open_view, view_json
from wavetank.errors import CheckFailed
from wavetank.limits import DASHBOARD_ANNOTATIONS_MAX, DASHBOARD_EXEMPLARS_MAX
from wavetank.promql.promqltest.memory import MemoryStorage

BUILT_IN = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "name": "Annotations & Alerts",
}
Answered = Callable[..., dict[str, Any]]


class Observed(EngineSource):
    """A source whose series have exemplars, one a second over the last ``count`` seconds."""

    def __init__(self, storage: MemoryStorage, count: int = 0) -> None:
        super().__init__(storage, VirtualClock(start=NOW_S))
        self._count = count
        self.asked: list[str] = []

    def exemplars(self, expr: str, start_ms: int, end_ms: int) -> list[Exemplar]:
        self.asked.append(expr)
        if self._count < 0:
            raise CheckFailed("no exemplars today")
        return [
            Exemplar((NOW_S - i) * 1000, float(i % 100), {"trace_id": f"t{i}"}, {"job": "a"})
            for i in range(self._count)
        ]


@pytest.fixture
def whole(storage: MemoryStorage) -> Answered:
    """The answer for a dashboard with these panels and annotations."""

    def answer(panels: list[Any], notes: list[Any] = (), count: int = 0, **more: Any) -> dict[str, Any]:  # type: ignore[assignment]
        source = Observed(storage, count)
        found = to_dashboard(board(panels, annotations={"list": list(notes)}))
        view: View = open_view(found, source, NOW_S * 1000)
        placed = [(p, 600) for p in view.panels(collapsed=True)]
        made = refresh(
            view, source, VirtualClock(start=NOW_S), panels=placed, catalogue=lambda tags: [], **more
        )
        shown = view_json(view, can_save=False, folder="", catalogue=lambda tags: [])
        return {**made, "asked": source.asked, "shown": shown["annotations"]}

    return answer


def note(expr: str, **more: Any) -> dict[str, Any]:
    return {"name": "mine", "enable": True, "expr": expr, "iconColor": "red", "step": "1m", **more}


def test_steps_above_zero_that_follow_each_other_are_one_stretch(whole: Answered) -> None:
    query = note(
        'up{job="api"} and on() (minute() < 30) or up{job="api"} * 0',
        titleFormat="{{job}} is up", textFormat="since then", tagKeys="job, none",
    )  # fmt: skip
    found = whole([panel("timeseries", "up")], [query])["annotations"]
    stretches = [(one["time"], one["end"]) for one in found]
    assert all(end is not None and end - start <= 30 * 60 for start, end in stretches)
    assert all((start // 60) % 60 < 30 for start, _ in stretches)
    first = found[0]
    assert (first["title"], first["text"], list(first["tags"])) == ("api is up", "since then", ["api"])
    assert first["colour"] == "#F2495C" and first["name"] == "mine"


def test_a_series_of_times_marks_those_times(whole: Answered) -> None:
    at = NOW_S - 600
    found = whole([panel("timeseries", "up")], [note(f"vector({at}000)", useValueForTime="on")])[
        "annotations"
    ]
    assert [(one["time"], one["end"]) for one in found] == [(at, None)]
    assert found[0]["title"] == "mine"


def test_a_query_that_fails_costs_only_itself(whole: Answered) -> None:
    notes = [note("up{", name="broken"), note("vector(1)"), note("vector(1)", enable=False, name="off")]
    found = whole([panel("timeseries", "up")], notes)
    assert {one["name"] for one in found["annotations"]} == {"mine"}
    assert "annotation broken" in found["notices"][0]["text"]
    assert found["panels"][0]["state"] == "ok"


def test_the_reader_says_which_are_on(whole: Answered) -> None:
    notes = [note("vector(1)"), note("vector(1)", enable=False, name="off")]
    found = whole([panel("timeseries", "up")], notes, annotations=["off"])
    assert {one["name"] for one in found["annotations"]} == {"off"}
    assert [(one["name"], one["enabled"]) for one in found["shown"]] == [
        ("Marks", True),
        ("mine", True),
        ("off", False),
    ]


@pytest.mark.parametrize("notes", [[], [BUILT_IN]])
def test_what_the_tank_did_stands_where_grafanas_own_annotations_would(
    whole: Answered, notes: list[Any]
) -> None:
    mark = Mark((NOW_S - 60) * 1000, "scale: Deployment/web", "1 to 3 replicas", "#123456")
    found = whole([panel("timeseries", "up")], notes, marks=lambda start, end: [mark])["annotations"]
    assert [(one["title"], one["colour"], one["name"]) for one in found] == [
        ("scale: Deployment/web", "#123456", "Marks")
    ]


def test_there_is_a_bound(whole: Answered) -> None:
    many = [Mark((NOW_S - i) * 1000, str(i)) for i in range(DASHBOARD_ANNOTATIONS_MAX + 10)]
    found = whole([panel("timeseries", "up")], marks=lambda start, end: many)
    assert len(found["annotations"]) == DASHBOARD_ANNOTATIONS_MAX
    assert found["annotations"][-1]["title"] == "0" and found["notices"]


def test_exemplars_are_asked_where_the_target_wants_them(whole: Answered) -> None:
    wanted = panel("timeseries", {"expr": "rate(requests_total[1m])", "exemplar": True})
    found = whole([wanted, panel("timeseries", "up")], count=3)
    assert found["asked"] == ["rate(requests_total[1m])"]
    first, second = (one["drawing"]["exemplars"] for one in found["panels"])
    assert [e["labels"]["trace_id"] for e in first] == ["t2", "t1", "t0"] and second == []


def test_of_many_exemplars_the_largest_are_shown_and_it_is_said(whole: Answered) -> None:
    found = whole([panel("timeseries", {"expr": "up", "exemplar": True})], count=3000)["panels"][0]
    shown = found["drawing"]["exemplars"]
    assert len(shown) <= DASHBOARD_EXEMPLARS_MAX and max(e["value"] for e in shown) == 99
    assert any("exemplars" in one["text"] for one in found["notices"])


def test_exemplars_that_cannot_be_had_are_a_notice(whole: Answered) -> None:
    found = whole([panel("timeseries", {"expr": "up", "exemplar": True})], count=-1)["panels"][0]
    assert found["state"] == "ok" and "no exemplars today" in found["notices"][0]["text"]


def borrowing(panel_id: int, **more: Any) -> dict[str, Any]:
    source = {"type": "datasource", "uid": "-- Dashboard --"}
    target = {"refId": "A", "panelId": panel_id, "datasource": source, **more}
    return {**panel("stat"), "datasource": source, "targets": [target]}


def numbered(*panels: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**one, "id": i + 1} for i, one in enumerate(panels)]


def test_a_panel_shows_what_another_has_asked_and_nothing_is_asked_twice(whole: Answered) -> None:
    lender = panel("timeseries", {"expr": 'load{job=~"api|db"}', "legendFormat": "{{job}}"})
    found = whole(numbered(lender, borrowing(1)))
    assert found["queries"] == 1
    titles = [item["title"] for item in found["panels"][1]["drawing"]["items"]]
    assert titles == [one["label"] for one in found["panels"][0]["drawing"]["series"]]


@pytest.mark.parametrize(("wanted", "count"), [(True, 1), (False, 3)])
def test_its_transformations_come_along_where_wanted(whole: Answered, wanted: bool, count: int) -> None:
    lender = panel("timeseries", {"expr": "load", "legendFormat": "{{job}}"})
    lender["transformations"] = [{"id": "limit", "options": {}}, *(
        [{"id": "filterFieldsByName", "options": {"include": {"names": ["Time", "api"]}}}]
    )]  # fmt: skip
    found = whole(numbered(lender, borrowing(1, withTransforms=wanted)))
    assert len(found["panels"][1]["drawing"]["items"]) == count


@pytest.mark.parametrize(
    ("of", "why"), [(9, "panel 9 is not on this dashboard"), (2, "takes its data from another")]
)
def test_data_that_is_not_there_is_said(whole: Answered, of: int, why: str) -> None:
    found = whole(numbered(panel("timeseries", "up"), borrowing(1), borrowing(of)))["panels"][2]
    assert found["state"] == "error" and why in found["notices"][0]["text"]


def test_mixed_asks_each_target_of_its_own_source(whole: Answered) -> None:
    here, elsewhere = {"type": "prometheus", "uid": "x"}, {"type": "loki", "uid": "y"}
    mixed = panel(
        "timeseries", {"expr": "up", "datasource": here}, {"expr": "{a='b'}", "datasource": elsewhere}
    )
    mixed["datasource"] = {"type": "mixed", "uid": "-- Mixed --"}
    found = whole([mixed])["panels"][0]
    assert len(found["drawing"]["series"]) == 3
    assert "'loki' is not supported" in found["notices"][0]["text"]
