"""What the cluster and the traffic page show, as functions of plain objects."""

from __future__ import annotations

import pytest
from web_data import OBJECTS, RECORDS

from wavetank.errors import InputError
from wavetank.web.cluster import cluster_view, last_syncs, why
from wavetank.web.traffic import Shift, routes_view, weights_patch

VIEW = cluster_view(
    {
        "nodes": OBJECTS["Node"],
        "pods": OBJECTS["Pod"],
        "workloads": OBJECTS["apps/Deployment"],
        "hpas": OBJECTS["autoscaling/HorizontalPodAutoscaler"],
        "pod_metrics": OBJECTS["metrics.k8s.io/PodMetrics"],
        "hpa_decisions": OBJECTS["autoscaling.wavetank.dev/HpaDecision"],
    },
    RECORDS,
)
ROUTE = OBJECTS["networking.istio.io/VirtualService"][0]


def test_a_pod_is_shown_with_its_use_against_its_requests() -> None:
    first = VIEW["pods"][0]
    assert (first["state"], first["ready"], first["restarts"]) == ("Running", 1, 0)
    assert (first["cpu"], first["cpuRequest"], first["cpuLimit"]) == (0.15, 0.2, 1.0)
    assert (first["memory"], first["memoryRequest"]) == (32 * 2**20, 64 * 2**20)


def test_a_pod_that_waits_shows_the_reason_and_its_last_end() -> None:
    second = VIEW["pods"][1]
    assert (second["state"], second["lastExit"], second["message"]) == (
        "CrashLoopBackOff",
        "OOMKilled 137",
        "back-off",
    )
    assert second["cpu"] is None


def test_a_node_sums_what_its_pods_request_and_use() -> None:
    node = VIEW["nodes"][0]
    assert (node["pods"], node["cpuRequests"], node["cpuUsed"]) == (2, 0.4, 0.15)


def test_an_autoscaler_says_why_in_the_controllers_words_and_from_the_journal() -> None:
    hpa = VIEW["hpas"][0]
    assert hpa["explained"]["lines"] == ["cpu: 90 against a target of 70", "Deployment/web goes from 1 to 2"]
    assert [d["why"] for d in hpa["decisions"]] == [
        "cpu 490 against 70 (7.00 of it): 1 to 7 wanted, 4 allowed (ScaleUpLimit)",
        "cpu 60 against 70 (0.86 of it): 1 is right",
    ]
    assert hpa["metrics"] == [{"type": "Resource", "name": "cpu", "target": "70 %", "current": "90 %"}]


def test_decisions_that_repeat_count_once_and_the_newest_stays() -> None:
    again = {**RECORDS[0], "at": 110.0}
    assert [s["at"] for s in last_syncs([RECORDS[0], again, RECORDS[1]])["shop/web"]] == [115.0, 110.0]


def test_a_decision_without_metrics_says_so() -> None:
    assert why({"kind": "hpa.sync", "current": 1, "desired": 1}) == "no metric was read"


def test_nothing_makes_an_empty_view() -> None:
    assert cluster_view({}, [])["pods"] == []


def test_routes_show_their_rules_with_weights() -> None:
    shown = routes_view([ROUTE], [])
    assert shown[0]["rules"][0]["matches"] == ["uri prefix /api"]
    assert shown[0]["rules"][0]["to"] == [{"to": "web (v1)", "weight": 90}, {"to": "web (v2)", "weight": 10}]


def test_a_shift_of_weights_is_a_patch_of_the_rule() -> None:
    shift = Shift("VirtualService", "shop", "web", 0, [50, 50])
    assert weights_patch(ROUTE, shift) == [
        {"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 50},
        {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 50},
    ]


@pytest.mark.parametrize(("rule", "weights"), [(0, [100]), (0, [60, 60]), (0, [-1, 101]), (7, [50, 50])])
def test_weights_that_do_not_fit_are_refused(rule: int, weights: list[int]) -> None:
    with pytest.raises(InputError):
        weights_patch(ROUTE, Shift("VirtualService", "shop", "web", rule, weights))
