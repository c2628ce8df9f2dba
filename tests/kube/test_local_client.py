"""The Client protocol in process: verbs, preconditions, watches, informers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.client import ApiError, WatchEvent
from wavetank.kube.informer import Informer
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import CONFIGMAPS, DEPLOYMENTS, PODS


def configmap(name: str, **labels: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}, "data": {"a": "1"}}


def deployment(replicas: int = 1) -> dict[str, object]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    found = []
    for _ in range(count):
        event = await asyncio.wait_for(anext(events), 5)
        found.append((event.type.value, event.object["metadata"].get("name", "")))
    return found


async def test_create_fills_what_only_the_server_may_set(client: LocalClient) -> None:
    made = await client.create(CONFIGMAPS, configmap("a"))
    metadata = made["metadata"]
    assert made["kind"] == "ConfigMap" and made["apiVersion"] == "v1"
    assert metadata["creationTimestamp"] == "2025-06-15T15:06:40Z"
    assert metadata["uid"] and metadata["resourceVersion"]


async def test_generate_name_makes_distinct_names(client: LocalClient) -> None:
    made = [
        await client.create(CONFIGMAPS, {"metadata": {"generateName": "a-"}}, "default") for _ in range(20)
    ]
    names = {obj["metadata"]["name"] for obj in made}
    assert len(names) == 20 and all(len(name) == 7 and name.startswith("a-") for name in names)


async def test_a_stale_resource_version_conflicts(client: LocalClient) -> None:
    first = await client.create(CONFIGMAPS, configmap("a"))
    await client.update(CONFIGMAPS, {**first, "data": {"a": "2"}})
    with pytest.raises(ApiError) as caught:
        await client.update(CONFIGMAPS, {**first, "data": {"a": "3"}})
    assert caught.value.code == 409
    assert caught.value.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_an_update_that_changes_nothing_keeps_the_revision(client: LocalClient) -> None:
    first = await client.create(CONFIGMAPS, configmap("a"))
    again = await client.update(CONFIGMAPS, first)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("get", 404, 'configmaps "gone" not found'),
        ("duplicate", 409, 'configmaps "a" already exists'),
        ("namespace", 404, 'namespaces "nowhere" not found'),
        (
            "name",
            422,
            'ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b": a lowercase RFC 1123',
        ),
    ],
)
async def test_failures_are_worded_as_upstream(
    client: LocalClient, call: str, code: int, message: str
) -> None:
    await client.create(CONFIGMAPS, configmap("a"))
    calls = {
        "get": lambda: client.get(CONFIGMAPS, "gone", "default"),
        "duplicate": lambda: client.create(CONFIGMAPS, configmap("a")),
        "namespace": lambda: client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "nowhere"),
        "name": lambda: client.create(CONFIGMAPS, configmap("A_b")),
    }
    with pytest.raises(ApiError) as caught:
        await calls[call]()
    assert caught.value.code == code
    assert caught.value.message.startswith(message)


async def test_watch_lists_then_streams(client: LocalClient) -> None:
    await client.create(CONFIGMAPS, configmap("a"))
    events = client.watch(CONFIGMAPS, "default")
    assert await take(events, 2) == [("ADDED", "a"), ("LISTED", "")]
    await client.create(CONFIGMAPS, configmap("b"))
    await client.delete(CONFIGMAPS, "a", "default")
    assert await take(events, 2) == [("ADDED", "b"), ("DELETED", "a")]


async def test_a_watch_by_labels_sees_objects_enter_and_leave(client: LocalClient) -> None:
    events = client.watch(CONFIGMAPS, "default", label_selector="tier in (x, y)")
    assert await take(events, 1) == [("LISTED", "")]
    made = await client.create(CONFIGMAPS, configmap("a"))
    patch = {"metadata": {"labels": {"tier": "x"}}}
    await client.patch(CONFIGMAPS, "a", patch, "default")
    assert await take(events, 1) == [("ADDED", "a")]
    await client.patch(CONFIGMAPS, "a", {"metadata": {"labels": {"tier": "z"}}}, "default")
    assert await take(events, 1) == [("DELETED", "a")]
    assert made["metadata"]["uid"]


async def test_scale_reads_and_writes_replicas(client: LocalClient, journal: MemoryJournal) -> None:
    await client.create(DEPLOYMENTS, deployment())
    scale = await client.get_subresource(DEPLOYMENTS, "web", "scale", "default")
    assert scale["spec"] == {"replicas": 1} and scale["status"]["selector"] == "app=web"
    await client.update(DEPLOYMENTS, {**scale, "spec": {"replicas": 4}}, subresource="scale")
    stored = await client.get(DEPLOYMENTS, "web", "default")
    assert stored["spec"]["replicas"] == 4 and stored["metadata"]["generation"] == 2
    (record,) = journal.of("scale")
    assert (record["target"], record["from"], record["to"], record["by"]) == (
        "Deployment/default/web",
        1,
        4,
        "test",
    )


async def test_status_is_written_only_through_its_subresource(client: LocalClient) -> None:
    made = await client.create(DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})
    assert "status" not in made or made["status"].get("replicas") is None
    await client.update(DEPLOYMENTS, {**made, "status": {"replicas": 3}}, subresource="status")
    now = await client.get(DEPLOYMENTS, "web", "default")
    assert now["status"]["replicas"] == 3 and now["metadata"]["generation"] == 1
    await client.update(DEPLOYMENTS, {**now, "status": {"replicas": 5}})
    assert (await client.get(DEPLOYMENTS, "web", "default"))["status"]["replicas"] == 3


async def test_a_running_pod_is_deleted_in_two_steps(
    client: LocalClient, clock: VirtualClock, journal: MemoryJournal
) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n", "terminationGracePeriodSeconds": 7}
    await client.create(PODS, {"metadata": {"name": "p"}, "spec": spec}, "default")
    await client.delete(PODS, "p", "default")
    pod = await client.get(PODS, "p", "default")
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 7
    await client.delete(PODS, "p", "default", grace_period_seconds=0)
    with pytest.raises(ApiError):
        await client.get(PODS, "p", "default")
    assert [r["kind"] for r in journal.records] == ["pod.created", "pod.terminating"]
    assert journal.records[1]["grace_seconds"] == 7


async def test_finalizers_hold_an_object_until_they_are_gone(client: LocalClient) -> None:
    made = configmap("a")
    made["metadata"]["finalizers"] = ["example.com/hold"]  # type: ignore[index]
    await client.create(CONFIGMAPS, made)
    await client.delete(CONFIGMAPS, "a", "default")
    held = await client.get(CONFIGMAPS, "a", "default")
    assert held["metadata"]["deletionTimestamp"]
    await client.patch(CONFIGMAPS, "a", {"metadata": {"finalizers": None}}, "default")
    with pytest.raises(ApiError):
        await client.get(CONFIGMAPS, "a", "default")


async def test_an_informer_keeps_a_cache_and_wakes_waiters(client: LocalClient, clock: VirtualClock) -> None:
    await client.create(CONFIGMAPS, configmap("a"))
    informer = Informer(client, CONFIGMAPS, "default", clock=clock)
    seen: list[tuple[str, str]] = []
    informer.add_handler(lambda kind, old, new: seen.append((kind.value, new["metadata"]["name"])))
    await informer.start()
    assert set(informer.cache) == {("default", "a")}
    informer.changed.clear()
    await client.create(CONFIGMAPS, configmap("b"))
    await asyncio.wait_for(informer.changed.wait(), 5)
    await client.delete(CONFIGMAPS, "a", "default")
    for _ in itertools.repeat(None, 10):
        await asyncio.sleep(0)
    assert set(informer.cache) == {("default", "b")}
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    await informer.stop()
