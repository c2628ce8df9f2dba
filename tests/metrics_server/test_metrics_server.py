"""metrics-server's storage cases (data/metrics_server_storage.json), decoding, and the API it serves."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.clock import VirtualClock
from wavetank.errors import InputError
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Api
from wavetank.kube.client import ApiError, Object
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.local_client import LocalClient
from wavetank.kube.metrics_server.decode import decode
from wavetank.kube.metrics_server.server import MetricsServer, MetricsServerOptions, quantities
from wavetank.kube.metrics_server.storage import Point, Storage
from wavetank.kube.quantity import canonical, format_bytes, parse_quantity, whole
from wavetank.kube.registry import Registry
from wavetank.kube.resources import NAMESPACES, NODES, PODS
from wavetank.kube.storage import Storage as ObjectStorage
from wavetank.model.quoting import go_duration

TABLE = json.loads((Path(__file__).parent / "data" / "metrics_server_storage.json").read_text())


def points(batch: dict[str, Any]) -> dict[tuple[str, str], dict[str, Point]]:
    return {
        ("ns", pod): {
            name: Point(c["startTime"], c["timestamp"], c["cpuCoreSeconds"] * 10**9, c["memoryBytes"])
            for name, c in containers.items()
        }
        for pod, containers in batch.items()
    }


@pytest.mark.parametrize("case", [pytest.param(c, id=c["name"]) for c in TABLE["cases"]])
def test_upstream_scenario(case: dict[str, Any]) -> None:
    storage = Storage(case["metricResolutionSeconds"])
    for batch, expect in zip(case["batches"], case["expect"], strict=True):
        storage = storage.store(points(batch), {})
        if expect is None:
            continue
        found = storage.pod(("ns", "pod1"))
        assert (found is not None) == expect["served"]
        if found is None:
            continue
        if "timestamp" in expect:
            assert (found.at, found.window) == (expect["timestamp"], expect["windowSeconds"])
        if "containers" in expect:
            assert {n: (u.cpu_nanocores, u.memory) for n, u in found.containers.items()} == {
                n: (u["cpuNanoCores"], u["memoryBytes"]) for n, u in expect["containers"].items()
            }


def body(seconds: float, at: float, memory: int = 4096) -> bytes:
    stamp = int(at * 1000)
    return f"""# HELP container_cpu_usage_seconds_total x
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{{container="main",namespace="default",pod="web"}} {seconds} {stamp}
container_memory_working_set_bytes{{container="main",namespace="default",pod="web"}} {memory} {stamp}
container_start_time_seconds{{container="main",namespace="default",pod="web"}} 900 {stamp}
node_cpu_usage_seconds_total {seconds + 1} {stamp}
node_memory_working_set_bytes 8192 {stamp}
other_series{{pod="web"}} 1
""".encode()


def test_decode_takes_the_series_with_their_own_times() -> None:
    batch = decode(body(12.5, 1000.25), now=2000.0)
    assert batch.pods == {("default", "web"): {"main": Point(900.0, 1000.25, 12_500_000_000, 4096)}}
    assert batch.node == Point(None, 1000.25, 13_500_000_000, 8192)


def test_decode_gives_samples_without_a_time_that_of_the_request() -> None:
    assert decode(b"node_cpu_usage_seconds_total 1\nnode_memory_working_set_bytes 2\n", 7.0).node == Point(
        None, 7.0, 10**9, 2
    )


@pytest.mark.parametrize("text", [body(0, 1000), body(1, 1000, memory=0)])
def test_decode_leaves_out_pods_that_have_used_nothing_yet(text: bytes) -> None:
    assert decode(text, 0.0).pods == {}


@given(
    st.binary(max_size=300)
    | st.text(alphabet='node_cpu_usage_seconds_total{}=", \n019.e-', max_size=200).map(str.encode)
)
def test_decode_survives_anything(text: bytes) -> None:
    decode(b"node_cpu_usage_seconds_total " + text, 0.0)
    decode(b"container_cpu_usage_seconds_total{" + text + b"} 1\n" + text, 0.0)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(15.2, "15.2s"), (15.0, "15s"), (60.5, "1m0.5s"), (0.25, "250ms"), (0, "0s"), (3600, "1h0m0s")],
)
def test_windows_are_printed_as_go_prints_them(seconds: float, shown: str) -> None:
    assert go_duration(seconds) == shown


def test_the_flags_are_checked_as_upstream_checks_them() -> None:
    with pytest.raises(InputError, match="at least 10s"):
        MetricsServerOptions(metric_resolution=5)
    with pytest.raises(InputError, match="kubelet-request-timeout"):
        MetricsServerOptions(metric_resolution=10, kubelet_timeout=9)


@given(st.integers(0, 10**12 - 1), st.integers(0, 10**15))
def test_usage_is_printed_as_canonical_quantities(nanocores: int, memory: int) -> None:
    shown = quantities(nanocores, memory)
    assert parse_quantity(shown["cpu"]).value == Fraction(nanocores, 10**9)
    assert shown["cpu"] == canonical(shown["cpu"])
    assert whole(shown["memory"]) == memory
    assert shown["memory"] == format_bytes(memory)


class Kubelet:
    """Answers a scrape with what the test has put there."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []

    async def scrape(self, node: Object) -> bytes:
        return self.answers.pop(0)


async def server(clock: VirtualClock, kubelet: Kubelet) -> tuple[MetricsServer, MemoryJournal]:
    journal = MemoryJournal(clock)
    registry = Registry()
    register_built_in(registry)
    client = LocalClient(Api(ObjectStorage(), registry, clock, journal), "test")
    await client.create(NAMESPACES, {"metadata": {"name": "default"}})
    await client.create(NODES, {"metadata": {"name": "node-1"}})
    pod = {
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "x"}]},
    }
    await client.create(PODS, pod, "default")
    await client.patch(PODS, "web", {"status": {"phase": "Running"}}, "default", subresource="status")
    made = MetricsServer(client, kubelet, clock, journal)
    await made.start()
    return made, journal


async def test_the_api_serves_the_usage_between_two_scrapes() -> None:
    clock = VirtualClock(1_750_000_000.0, seed=1)
    kubelet = Kubelet()
    kubelet.answers = [body(10, 1_749_999_999.5), body(13, 1_750_000_009.5), body(16, 1_750_000_024.5)]
    made, journal = await server(clock, kubelet)
    await clock.advance(0.1)
    assert not made.ready
    assert (await made.handle("namespaces/default/pods", {}))["items"] == []
    await clock.advance(15)  # the phase is drawn, but one scrape falls into any 15 s
    assert made.ready
    (item,) = (await made.handle("namespaces/default/pods", {"labelSelector": "app=web"}))["items"]
    assert item["containers"] == [{"name": "main", "usage": {"cpu": "300m", "memory": "4Ki"}}]
    assert (item["window"], item["timestamp"]) == ("10s", "2025-06-15T15:06:49Z")
    assert item["metadata"]["labels"] == {"app": "web"}
    assert item["metadata"]["annotations"] == {"wavetank.dev/timestamp": "1750000009.500"}
    (record,) = [r for r in journal.of("metrics_server.scrape") if r["pods"]]
    assert record["pods"] == {"default/web": (0.3, 1_750_000_009.5, 10.0)}
    (node,) = (await made.handle("nodes", {}))["items"]
    assert node["usage"] == {"cpu": "300m", "memory": "8Ki"}
    assert (await made.handle("pods", {"labelSelector": "app=other"}))["items"] == []
    await made.stop()


async def test_unknown_pods_and_paths_are_not_found() -> None:
    clock = VirtualClock(1_750_000_000.0)
    kubelet = Kubelet()
    kubelet.answers = [b"garbage {"]
    made, _ = await server(clock, kubelet)
    await clock.advance(0.1)
    for path in ("namespaces/default/pods/web", "nodes/node-9", "things", ""):
        with pytest.raises(ApiError) as raised:
            await made.handle(path, {})
        assert raised.value.code == 404
    with pytest.raises(ApiError) as raised:
        await made.handle("pods", {"labelSelector": "a in ("})
    assert raised.value.code == 400
    await made.stop()
