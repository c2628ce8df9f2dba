"""Lag attribution: stages follow the pipeline, add up to the total, and hide nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.analysis.lag import UNEXPLAINED, Scaling, attribute_scalings

HPA, TARGET = "shop/web", "Deployment/web"
OLD, NEW = "shop/web-7f9-aaaaa", "shop/web-7f9-bbbbb"


def scale_up() -> list[dict[str, Any]]:
    """A load step at t=100 that a textbook pipeline answers: every stage has a length of its own."""
    rows: list[tuple[float, str, dict[str, Any]]] = [
        (50.0, "pod.created", {"pod": OLD, "uid": "a", "owner": "ReplicaSet/web-7f9"}),
        (80.0, "load.stage", {"index": 0, "rps": 5.0}),
        (95.0, "kubelet.sample", {"pods": {OLD: 10.0}}),
        (100.0, "load.stage", {"index": 1, "rps": 80.0}),
        (104.0, "kubelet.sample", {"pods": {OLD: 11.0}}),
        (110.0, "metrics_server.scrape", {"pods": {OLD: [0.3, 104.0, 9.0]}}),
        (112.0, "hpa.sync", sync(current=1, proposed=1, desired=1, sample=104.0)),
        (114.0, "kubelet.sample", {"pods": {OLD: 13.0}}),
        (125.0, "metrics_server.scrape", {"pods": {OLD: [0.5, 114.0, 10.0]}}),
        (127.0, "hpa.sync", sync(current=1, proposed=2, desired=2, sample=114.0)),
        (127.01, "scale", {"target": "Deployment/shop/web", "from": 1, "to": 2, "by": "hpa"}),
        (127.05, "pod.created", {"pod": NEW, "uid": "b", "owner": "ReplicaSet/web-7f9"}),
        (127.10, "pod.scheduled", {"pod": NEW, "uid": "b", "node": "n"}),
        (129.10, "pod.image", {"pod": NEW, "uid": "b", "image": "web:1", "seconds": 2.0, "modelled": True}),
        (129.20, "container.started", {"pod": NEW, "uid": "b", "container": "c", "pid": 1, "restart": 0}),
        (131.20, "pod.ready", {"pod": NEW, "uid": "b"}),
        (131.21, "endpoint.programmed", {"pod": NEW, "service": "shop/web", "action": "added"}),
        (131.25, "endpoint.first_request", {"pod": NEW, "service": "shop/web"}),
    ]
    return [{"at": at, "kind": kind, **fields} for at, kind, fields in rows]


def sync(current: int, proposed: int, desired: int, sample: float, limited: str = "") -> dict[str, Any]:
    return {
        "hpa": HPA, "target": TARGET, "current": current, "proposed": proposed, "desired": desired,
        "rescaled": desired != current, "limited": limited, "timestamps": {OLD: sample},
    }  # fmt: skip


def lengths(scaling: Scaling) -> dict[str, float]:
    return {s.name: round(s.seconds, 3) for s in scaling.stages}


def test_each_stage_of_a_scale_up_has_its_measured_length() -> None:
    (scaling,) = attribute_scalings(scale_up())
    assert (scaling.replicas_from, scaling.replicas_to, scaling.complete) == (1, 2, True)
    assert scaling.cause == "load rose to 80 requests/s"
    assert lengths(scaling) == {
        "usage sampled": 4.0,
        "first scrape": 6.0,
        "metric window": 15.0,
        "HPA sync": 2.0,
        "scale written": 0.01,
        "pod created": 0.04,
        "scheduled": 0.05,
        "image pulled": 2.0,
        "process started": 0.1,
        "ready": 2.0,
        "endpoint programmed": 0.01,
        "first request": 0.04,
    }
    assert [s.name for s in scaling.stages if s.modelled] == ["image pulled"]
    assert scaling.total_seconds == pytest.approx(31.25)
    assert scaling.unexplained_seconds == 0


def test_a_held_back_decision_shows_the_wait_and_its_reason() -> None:
    records = scale_up()
    for record in records:
        if record["kind"] == "hpa.sync" and record["at"] == 127.0:
            record.update(sync(1, 2, 1, 114.0, "ScaleUpStabilized"), at=127.0)
        elif record["at"] > 127:
            record["at"] += 30
    records.append({"at": 157.0, "kind": "hpa.sync", **sync(1, 2, 2, 114.0)})
    records.sort(key=lambda r: float(r["at"]))
    (scaling,) = attribute_scalings(records)
    held = next(s for s in scaling.stages if s.name == "rate limit or stabilisation")
    assert (held.seconds, held.note) == (30.0, "ScaleUpStabilized")
    assert sum(s.seconds for s in scaling.stages) == pytest.approx(scaling.total_seconds)


def test_a_missing_instant_is_shown_as_unexplained() -> None:
    records = [r for r in scale_up() if r["kind"] != "pod.scheduled"]
    (scaling,) = attribute_scalings(records)
    (gap,) = [s for s in scaling.stages if s.name == UNEXPLAINED]
    assert gap.note == "no record of: scheduled"
    assert scaling.unexplained_seconds == pytest.approx(2.05)


def test_a_run_that_ends_too_early_is_not_complete() -> None:
    records = [r for r in scale_up() if r["at"] < 130]
    (scaling,) = attribute_scalings(records)
    assert not scaling.complete
    assert scaling.stages[-1].name == "process started"


def test_a_scale_down_counts_its_stabilisation() -> None:
    records = [
        *scale_up(),
        {"at": 150.0, "kind": "load.stage", "index": 2, "rps": 5.0},
        {"at": 154.0, "kind": "kubelet.sample", "pods": {OLD: 20.0}},
        {"at": 155.0, "kind": "metrics_server.scrape", "pods": {OLD: [0.01, 154.0, 10.0]}},
        {"at": 157.0, "kind": "hpa.sync", **sync(2, 1, 2, 154.0, "ScaleDownStabilized")},
        {"at": 187.0, "kind": "hpa.sync", **sync(2, 1, 1, 154.0)},
        {"at": 187.01, "kind": "scale", "target": "Deployment/shop/web", "from": 2, "to": 1, "by": "hpa"},
        {"at": 187.03, "kind": "pod.terminating", "pod": NEW, "uid": "b", "grace_seconds": 30},
        {"at": 187.04, "kind": "endpoint.programmed", "pod": NEW, "service": "shop/web", "action": "removed"},
        {"at": 187.5, "kind": "pod.gone", "pod": NEW, "uid": "b"},
    ]
    _, down = attribute_scalings(records)
    assert (down.direction, down.cause, down.complete) == ("down", "load fell to 5 requests/s", True)
    assert lengths(down)["rate limit or stabilisation"] == 30.0
    assert down.total_seconds == pytest.approx(37.5)


def test_the_second_of_two_scalings_begins_at_the_first() -> None:
    records = [
        *scale_up(),
        {"at": 142.0, "kind": "hpa.sync", **sync(2, 4, 4, 139.0)},
        {"at": 142.01, "kind": "scale", "target": "Deployment/shop/web", "from": 2, "to": 4, "by": "hpa"},
    ]
    _, second = attribute_scalings(records)
    assert second.began == 127.0
    assert second.cause.endswith("continued from the scaling before")


def test_a_scaling_hours_after_another_has_a_cause_of_its_own() -> None:
    records = [
        *scale_up(),
        {"at": 7320.0, "kind": "metrics_server.scrape", "pods": {OLD: [0.9, 7315.0, 10.0]}},
        {"at": 7327.0, "kind": "hpa.sync", **sync(2, 4, 4, 7315.0)},
        {"at": 7327.01, "kind": "scale", "target": "Deployment/shop/web", "from": 2, "to": 4, "by": "hpa"},
    ]
    _, second = attribute_scalings(records)
    assert second.began == 7320.0
    assert "usage moved by itself" in second.cause


@given(st.sets(st.integers(0, 17), max_size=10), st.randoms(use_true_random=False))
def test_stages_always_add_up_whatever_is_lost_or_shifted(lost: set[int], random: Any) -> None:
    records = [r for i, r in enumerate(scale_up()) if i not in lost]
    for record in records:
        record["at"] += random.uniform(-0.01, 0.01)
    records.sort(key=lambda r: float(r["at"]))
    for scaling in attribute_scalings(records):
        assert sum(s.seconds for s in scaling.stages) == pytest.approx(scaling.total_seconds, abs=1e-6)
        assert all(s.seconds >= 0 for s in scaling.stages)
