"""What a namespace may use: ResourceQuota, LimitRange, PriorityClass, and who may do what."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kube_cluster import cluster
from virtual_tank import Tank, workload

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.client import ApiError, Object
from wavetank.kube.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    LIMITRANGES,
    PODS,
    PRIORITYCLASSES,
    RESOURCEQUOTAS,
    SERVICES,
)  # fmt: skip


@pytest.fixture
def tank(clock: VirtualClock, journal: MemoryJournal) -> Tank:
    return Tank(clock, journal)


def pod(name: str, resources: Object | None = None, **spec: Any) -> Object:
    container = {"name": "c", "image": "i:1", **({"resources": resources} if resources else {})}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def quota(hard: Object, **spec: Any) -> Object:
    return {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}}


def limits(**item: Any) -> Object:
    return {"metadata": {"name": "l"}, "spec": {"limits": [item]}}


def used(tank: Tank) -> Object:
    tank.settle()
    tank.clock.run_until(tank.clock.now() + 1)
    tank.settle()
    return tank.get(RESOURCEQUOTAS, "q")["status"]["used"]


def refusal(tank: Tank, obj: Object) -> str:
    with pytest.raises(ApiError) as caught:
        tank.create(PODS, obj)
    assert (caught.value.code, caught.value.reason) == (403, "Forbidden")
    return caught.value.message


# ResourceQuota


def test_a_quota_counts_what_is_there_and_refuses_what_is_more(tank: Tank) -> None:
    tank.create(RESOURCEQUOTAS, quota({"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi"}))
    assert used(tank) == {"pods": "0", "requests.cpu": "0", "limits.memory": "0"}
    ask = {"requests": {"cpu": "400m"}, "limits": {"cpu": "1", "memory": "256Mi"}}
    tank.create(PODS, pod("a", ask))
    tank.create(PODS, pod("b", ask))
    assert used(tank) == {"pods": "2", "requests.cpu": "800m", "limits.memory": "512Mi"}
    assert refusal(tank, pod("d", ask)) == (
        'pods "d" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=400m, '
        "used: pods=2,requests.cpu=800m, limited: pods=2,requests.cpu=1"
    )


def test_what_a_quota_limits_must_be_said(tank: Tank) -> None:
    tank.create(RESOURCEQUOTAS, quota({"limits.cpu": "4", "requests.memory": "1Gi"}))
    assert refusal(tank, pod("a", {"limits": {"cpu": "1"}})) == (
        'pods "a" is forbidden: failed quota: q: must specify requests.memory for: c'
    )
    assert "must specify limits.cpu for: c; requests.memory for: c" in refusal(tank, pod("b"))


def test_a_controller_tells_of_the_quota_and_goes_on_when_there_is_room(tank: Tank) -> None:
    tank.create(RESOURCEQUOTAS, quota({"pods": "1"}))
    tank.create(DEPLOYMENTS, workload(2))
    tank.settle()
    assert len(tank.list(PODS)) == 1
    messages = [e["message"] for e in tank.list(EVENTS) if e["reason"] == "FailedCreate"]
    assert "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1" in messages[0]
    changed = {"pods": "2"}
    tank.api.modify(RESOURCEQUOTAS, "default", "q", lambda o: {**o, "spec": {"hard": changed}})
    for _ in range(20):
        tank.clock.run_until(tank.clock.now() + 30)
        tank.settle()
    assert len(tank.list(PODS)) == 2


def test_other_things_are_counted_too(tank: Tank) -> None:
    tank.create(
        RESOURCEQUOTAS, quota({"configmaps": "1", "count/deployments.apps": "0", "services.nodeports": "1"})
    )
    tank.create(CONFIGMAPS, {"metadata": {"name": "a"}})
    with pytest.raises(ApiError, match='configmaps "b" is forbidden: exceeded quota: q'):
        tank.create(CONFIGMAPS, {"metadata": {"name": "b"}})
    with pytest.raises(ApiError, match=r"requested: count/deployments\.apps=1"):
        tank.create(DEPLOYMENTS, workload(1))
    ports = [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]
    with pytest.raises(ApiError, match=r"requested: services\.nodeports=2"):
        tank.create(SERVICES, {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}})


@pytest.mark.parametrize(
    ("scope", "counted", "free"),
    [
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 60}, {}),
        ({"scopes": ["NotTerminating"]}, {}, {"activeDeadlineSeconds": 60}),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [
                        {"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]}
                    ]
                }
            },
            {"priorityClassName": "system-node-critical"},
            {},
        ),
    ],
)
def test_scopes_choose_the_pods(tank: Tank, scope: Object, counted: Object, free: Object) -> None:
    tank.create(RESOURCEQUOTAS, quota({"pods": "0"}, **scope))
    tank.create(PODS, pod("free", **free))
    assert "exceeded quota" in refusal(tank, pod("counted", **counted))


# LimitRange


def test_a_limit_range_fills_in_what_a_container_does_not_say(tank: Tank) -> None:
    tank.create(
        LIMITRANGES,
        limits(type="Container", default={"cpu": "1"}, defaultRequest={"cpu": "250m", "memory": "64Mi"}),
    )
    made = tank.create(PODS, pod("a"))
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "250m", "memory": "64Mi"},
        "limits": {"cpu": "1"},
    }
    assert made["status"]["qosClass"] == "Burstable"
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container c; cpu limit for container c"
    )


@pytest.mark.parametrize(
    ("item", "resources", "message"),
    [
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, "maximum cpu usage per Container is 1, but limit is 2"),
        ({"min": {"memory": "64Mi"}}, {"requests": {"memory": "10Mi"}}, "minimum memory usage per Container is 64Mi, but request is 10Mi"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "100m"}, "limits": {"cpu": "400m"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
        ),
        ({"type": "Pod", "max": {"cpu": "1"}}, None, "maximum cpu usage per Pod is 1.  No limit is specified"),
        ({"type": "Pod", "max": {"cpu": "1"}}, {"limits": {"cpu": "1500m"}}, "maximum cpu usage per Pod is 1, but limit is 1500m"),
    ],
)  # fmt: skip
def test_bounds_are_kept(tank: Tank, item: Object, resources: Object | None, message: str) -> None:
    tank.create(LIMITRANGES, limits(**{"type": "Container", **item}))
    assert refusal(tank, pod("a", resources)) == f'pods "a" is forbidden: {message}'


def test_a_maximum_is_the_default_limit(tank: Tank) -> None:
    tank.create(LIMITRANGES, limits(type="Container", max={"cpu": "2"}))
    made = tank.create(PODS, pod("a"))
    assert made["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}
    assert tank.get(LIMITRANGES, "l")["spec"]["limits"][0]["defaultRequest"] == {"cpu": "2"}


# PriorityClass


def test_priority_classes_give_pods_their_priority(tank: Tank) -> None:
    tank.api.create(
        PRIORITYCLASSES, None, {"metadata": {"name": "high"}, "value": 1000, "globalDefault": True}
    )
    assert tank.create(PODS, pod("a"))["spec"]["priority"] == 1000
    assert tank.create(PODS, pod("b"))["spec"]["priorityClassName"] == "high"
    assert refusal(tank, pod("d", priorityClassName="none")) == (
        'pods "d" is forbidden: no PriorityClass with name none was found'
    )
    with pytest.raises(ApiError, match="maximum allowed value of a user defined priority is 1000000000"):
        tank.api.create(PRIORITYCLASSES, None, {"metadata": {"name": "higher"}, "value": 2_000_000_000})
    with pytest.raises(ApiError, match="may not be changed in an update"):
        tank.api.modify(PRIORITYCLASSES, None, "high", lambda o: {**o, "value": 1})


# Who may do what


async def test_a_reader_reads_and_is_told_what_it_may_not(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        credentials = made.plane.credentials
        assert credentials is not None
        context = ssl.create_default_context(cadata=credentials.ca.decode())
        headers = {"Authorization": f"Bearer {credentials.tokens.reader}"}
        async with aiohttp.ClientSession(made.plane.url, headers=headers) as session:

            async def ask(method: str, path: str, body: Object | None = None) -> tuple[int, Object]:
                async with session.request(method, path, json=body, ssl=context) as answer:
                    return answer.status, await answer.json()

            assert (await ask("GET", "/apis/apps/v1/namespaces/default/deployments"))[0] == 200
            code, status = await ask("POST", "/apis/apps/v1/namespaces/default/deployments", {})
            assert code == 403 and status["message"] == (
                'deployments.apps is forbidden: User "wavetank-reader" cannot create resource "deployments" '
                'in API group "apps" in the namespace "default"'
            )
            code, status = await ask("DELETE", "/api/v1/nodes/node-1")
            assert code == 403 and status["message"] == (
                'nodes "node-1" is forbidden: User "wavetank-reader" cannot delete resource "nodes" '
                'in API group "" at the cluster scope'
            )
            assert status["details"] == {"name": "node-1", "kind": "nodes"}
            path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
            _, review = await ask(
                "POST", path, {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
            )
            assert review["status"]["userInfo"]["username"] == "wavetank-reader"
            path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            for verb, subresource, allowed in (
                ("list", "", True),
                ("create", "", False),
                ("get", "exec", False),
            ):
                attributes = {"verb": verb, "resource": "pods", "subresource": subresource}
                _, review = await ask("POST", path, {"spec": {"resourceAttributes": attributes}})
                assert review["status"]["allowed"] is allowed
