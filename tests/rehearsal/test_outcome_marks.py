"""What the journal says happened, as marks: rollouts, scalings, and what ended a container."""

from __future__ import annotations

from typing import Any

from wavetank.rehearsal.outcome.marks import journal_marks
from wavetank.rehearsal.outcome.scalings import events


def created(at: float, pod: str, owner: str) -> dict[str, Any]:
    return {"at": at, "kind": "pod.created", "pod": pod, "uid": pod, "owner": owner}


RECORDS: list[dict[str, Any]] = [
    created(10, "shop/web-6d4-a", "ReplicaSet/web-6d4"),
    created(11, "shop/web-6d4-b", "ReplicaSet/web-6d4"),
    created(12, "other/web-77c-a", "ReplicaSet/web-77c"),  # a Deployment of the same name elsewhere
    created(13, "shop/job-a", "Job/job"),
    {"at": 15.0, "kind": "hpa.sync", "target": "Deployment/web", "rescaled": True, "current": 1, "desired": 3, "reason": "cpu"},
    created(20, "shop/web-77c-a", "ReplicaSet/web-77c"),
    created(21, "shop/web-77c-b", "ReplicaSet/web-77c"),
    {"at": 22.0, "kind": "pod.ready", "pod": "shop/web-77c-a", "uid": "x"},
    {"at": 30.0, "kind": "container.exited", "pod": "shop/web-77c-a", "uid": "x", "container": "web", "reason": "OOMKilled"},
    created(40, "shop/web-6d4-c", "ReplicaSet/web-6d4"),  # rolled back
]  # fmt: skip


def test_a_rollout_begins_with_the_first_pod_of_another_replica_set() -> None:
    found = [(e.at_seconds, e.message) for e in events(RECORDS, 10.0) if e.kind == "rollout"]
    assert found == [(10.0, "new ReplicaSet web-77c"), (30.0, "new ReplicaSet web-6d4")]


def test_dashboards_get_what_explains_a_curve_within_the_range() -> None:
    marks = journal_marks(lambda: RECORDS)
    assert [(m.at_ms, m.title) for m in marks(0, 30_000)] == [
        (15_000, "scale: Deployment/web"),
        (20_000, "rollout: Deployment/web"),
        (30_000, "oom: shop/web-77c-a"),
    ]
    assert marks(31_000, 39_000) == []
