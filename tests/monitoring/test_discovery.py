"""Discovery from files, HTTP, DNS answers and a real API server."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from wavetank.clock import RealClock, VirtualClock
from wavetank.errors import InputError
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.resources import ENDPOINTSLICES, NODES, PODS, SERVICES
from wavetank.monitoring.config.discovery import (
    HTTPSD,
    FileSD,
    KubernetesSD,
    SDConfigs,
    StaticConfig,
)
from wavetank.monitoring.discovery import DiscoveryPool
from wavetank.monitoring.discovery.dns import Record, group_of, parse_answer, question
from wavetank.monitoring.discovery.files import FileDiscovery
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.discovery.http_sd import HTTPDiscovery
from wavetank.monitoring.discovery.kubernetes.access import access_for, read_kubeconfig
from wavetank.monitoring.discovery.kubernetes.meta import Surroundings, ingress_group, pod_group

POD = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u1",
        "labels": {"app.kubernetes.io/name": "web"},
        "annotations": {"prometheus.io/scrape": "true"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "controller": True}],
    },
    "spec": {
        "nodeName": "n1",
        "containers": [
            {"name": "app", "image": "i:1", "ports": [{"name": "http", "containerPort": 8080}]},
            {"name": "side", "image": "s:1"},
        ],
    },
    "status": {
        "podIP": "10.0.0.1",
        "hostIP": "10.1.0.1",
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "app", "containerID": "x://1"}],
    },
}


def test_pod_labels() -> None:
    around = Surroundings(
        replicasets={
            ("shop", "web-abc"): {
                "metadata": {"ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]}
            }
        },
        nodes={"n1": {"metadata": {"name": "n1", "labels": {"zone": "a"}}}},
    )
    group = pod_group(POD, around)
    assert group.source == "pod/shop/web-1"
    assert dict(group.labels) == {
        "__meta_kubernetes_namespace": "shop",
        "__meta_kubernetes_pod_name": "web-1",
        "__meta_kubernetes_pod_ip": "10.0.0.1",
        "__meta_kubernetes_pod_ready": "true",
        "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_pod_node_name": "n1",
        "__meta_kubernetes_pod_host_ip": "10.1.0.1",
        "__meta_kubernetes_pod_uid": "u1",
        "__meta_kubernetes_pod_label_app_kubernetes_io_name": "web",
        "__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name": "true",
        "__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
        "__meta_kubernetes_pod_annotationpresent_prometheus_io_scrape": "true",
        "__meta_kubernetes_pod_controller_kind": "ReplicaSet",
        "__meta_kubernetes_pod_controller_name": "web-abc",
        "__meta_kubernetes_pod_deployment_name": "web",
        "__meta_kubernetes_node_name": "n1",
        "__meta_kubernetes_node_label_zone": "a",
        "__meta_kubernetes_node_labelpresent_zone": "true",
    }
    assert dict(group.targets[0]) == {
        "__address__": "10.0.0.1:8080",
        "__meta_kubernetes_pod_container_name": "app",
        "__meta_kubernetes_pod_container_image": "i:1",
        "__meta_kubernetes_pod_container_id": "x://1",
        "__meta_kubernetes_pod_container_init": "false",
        "__meta_kubernetes_pod_container_port_name": "http",
        "__meta_kubernetes_pod_container_port_number": "8080",
        "__meta_kubernetes_pod_container_port_protocol": "TCP",
    }
    assert group.targets[1]["__address__"] == "10.0.0.1"


def test_pod_without_address_has_no_targets() -> None:
    assert pod_group({**POD, "status": {}}, Surroundings()) == TargetGroup("pod/shop/web-1")


def test_ingress_scheme_follows_tls() -> None:
    group = ingress_group(
        {
            "metadata": {"name": "i", "namespace": "n"},
            "spec": {
                "tls": [{"hosts": ["*.example.com"]}],
                "rules": [
                    {"host": "a.example.com", "http": {"paths": [{"path": "/x"}]}},
                    {"host": "example.com"},
                ],
            },
        }
    )
    assert [
        (t["__meta_kubernetes_ingress_scheme"], t["__meta_kubernetes_ingress_path"]) for t in group.targets
    ] == [
        ("https", "/x"),
        ("http", "/"),
    ]


# --- a real API server

NODE: dict[str, Any] = {
    "metadata": {"name": "n1"},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.9"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    },
}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    clock = RealClock()
    plane = ControlPlane(
        clock, MemoryJournal(clock), ControlPlaneOptions(state=tmp_path, kubeconfig=tmp_path / "kubeconfig")
    )
    await plane.start()
    await plane.client("test").create(NODES, NODE)
    yield plane
    await plane.stop()


class Watched:
    """The latest targets of one ``kubernetes_sd_configs`` section."""

    def __init__(self, plane: ControlPlane, config: KubernetesSD) -> None:
        assert plane.options.kubeconfig is not None
        environment = {"KUBECONFIG": str(plane.options.kubeconfig)}
        self.targets: list[dict[str, str]] = []
        self._pool = DiscoveryPool(RealClock(), environment, self._take)
        self._pool.apply({"job": SDConfigs(kubernetes_sd_configs=[config])})

    def _take(self, job: str, groups: Any) -> None:
        self.targets = [{**group.labels, **target} for group in groups for target in group.targets]

    async def until(self, addresses: set[str]) -> list[dict[str, str]]:
        async with asyncio.timeout(10):
            while {target["__address__"] for target in self.targets} != addresses:
                await asyncio.sleep(0.01)
        return self.targets

    async def close(self) -> None:
        await self._pool.close()


def pod(name: str, address: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 80}]}],
        },
        "status": {"podIP": address, "phase": "Running"},
    }


async def create_pod(plane: ControlPlane, name: str, address: str) -> None:
    client = plane.client("test")
    made = await client.create(PODS, pod(name, address), "default")
    status = {"podIP": address, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await client.update(PODS, {**made, "status": status}, subresource="status")


async def test_pods_come_and_go(cluster: ControlPlane) -> None:
    watched = Watched(cluster, KubernetesSD(role="pod"))
    await create_pod(cluster, "a", "127.1.0.1")
    (target,) = await watched.until({"127.1.0.1:80"})
    assert target["__meta_kubernetes_pod_label_app"] == "web"
    await create_pod(cluster, "b", "127.1.0.2")
    await watched.until({"127.1.0.1:80", "127.1.0.2:80"})
    await cluster.client("test").delete(PODS, "a", "default", grace_period_seconds=0)
    await watched.until({"127.1.0.2:80"})
    await watched.close()


async def test_endpointslices_join_their_pods_and_service(cluster: ControlPlane) -> None:
    client = cluster.client("test")
    await create_pod(cluster, "a", "127.1.0.1")
    await client.create(
        SERVICES,
        {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": 80}]},
        },
        "default",
    )
    found: Any = await client.list(ENDPOINTSLICES, "default")
    watched = Watched(cluster, KubernetesSD(role="endpointslice"))
    targets = await watched.until({"127.1.0.1:80"})
    assert found is not None
    assert targets[0]["__meta_kubernetes_service_name"] == "web"
    assert targets[0]["__meta_kubernetes_pod_name"] == "a"
    assert targets[0]["__meta_kubernetes_pod_container_port_name"] == "http"
    assert targets[0]["__meta_kubernetes_endpointslice_endpoint_conditions_ready"] == "true"
    await watched.close()


async def test_nodes_and_services(cluster: ControlPlane) -> None:
    nodes = Watched(cluster, KubernetesSD(role="node"))
    (target,) = await nodes.until({"127.0.0.9:10250"})
    assert target["instance"] == "n1"
    await nodes.close()
    services = Watched(cluster, KubernetesSD(role="service"))
    await services.until({"kubernetes.default.svc:443"})
    await services.close()


async def test_watch_survives_the_server(cluster: ControlPlane) -> None:
    """The connection breaks; after it is back, what happened meanwhile is seen."""
    watched = Watched(cluster, KubernetesSD(role="pod"))
    await create_pod(cluster, "a", "127.1.0.1")
    await watched.until({"127.1.0.1:80"})
    listener = cluster._listener
    assert listener is not None
    await listener.stop()
    await create_pod(cluster, "b", "127.1.0.2")
    port = int(cluster.url.rpartition(":")[2])
    again = type(listener)(cluster.server.app, "127.0.0.1", port, cluster.credentials)
    await again.start()
    cluster._listener = again
    await watched.until({"127.1.0.1:80", "127.1.0.2:80"})
    await watched.close()


# --- access


KUBECONFIG = """
current-context: c
contexts: [{name: c, context: {cluster: k, user: u, namespace: ns}}]
clusters: [{name: k, cluster: {server: "https://h:1/", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: secret}}]
"""


def test_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    access = access_for(KubernetesSD(role="pod"), {"KUBECONFIG": str(path)}, tmp_path)
    assert (access.server, access.namespace) == ("https://h:1", "ns")
    assert access.http.authorization is not None
    assert access.http.authorization.credentials.reveal() == "secret"


def test_service_account_comes_before_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("mine\n")
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBECONFIG": "x"}
    access = access_for(KubernetesSD(role="pod"), environment, tmp_path)
    assert (access.server, access.namespace) == ("https://10.0.0.1:443", "mine")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (KUBECONFIG.replace("current-context: c", "current-context: d"), "context 'd' does not exist"),
        (KUBECONFIG.replace("cluster: k,", "cluster: z,"), "names no cluster"),
        (KUBECONFIG.replace("token: secret", "exec: {command: x}"), "credential plugins are not run"),
        ("[]", "not a kubeconfig"),
    ],
)
def test_kubeconfigs_that_do_not_help(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(InputError, match=error):
        read_kubeconfig(tmp_path / "config")


# --- files, HTTP, DNS


def test_file_discovery_follows_changes(tmp_path: Path) -> None:
    discovery = FileDiscovery(FileSD(files=[str(tmp_path / "*.yml")]), VirtualClock())
    assert discovery.look() == []
    path = tmp_path / "a.yml"
    path.write_text("- {targets: [x:1], labels: {a: b}}\n- {targets: [y:1]}\n")
    first, second = discovery.look()
    assert (first.targets, first.labels) == (
        [{"__address__": "x:1"}],
        {"a": "b", "__meta_filepath": str(path)},
    )
    assert discovery.look() == []
    change(path, "- {targets: [x:1]}\n", 1)
    assert [g.targets for g in discovery.look()] == [[{"__address__": "x:1"}], ()]
    change(path, "- {targets: x}\n", 2)
    assert discovery.look() == []  # a broken file keeps its old targets
    path.unlink()
    assert [(g.source, g.targets) for g in discovery.look()] == [(first.source, ())]
    assert second.source.endswith(":1")


def change(path: Path, text: str, seconds: int) -> None:
    """Write, with a modification time of its own."""
    import os

    path.write_text(text)
    os.utime(path, (1e9 + seconds, 1e9 + seconds))


async def test_http_discovery() -> None:
    body = b'[{"targets": ["x:1"], "labels": {"a": "b"}}, {"targets": ["y:1"]}]'
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["X-Prometheus-Refresh-Interval-Seconds"])
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    discovery = HTTPDiscovery(HTTPSD(url=url), RealClock(), lambda: None)
    groups = await discovery.refresh()
    assert groups[0].labels == {"a": "b", "__meta_url": url}
    body = b'[{"targets": ["x:1"]}]'
    assert [list(group.targets) for group in await discovery.refresh()] == [[{"__address__": "x:1"}], []]
    assert seen == ["60", "60"]
    await discovery._client.close()
    await runner.cleanup()


def dns_answer(records: bytes, count: int) -> bytes:
    query = question("a.b", "SRV", 7)
    return struct.pack(">6H", 7, 0x8180, 1, count, 0, 0) + query[12:] + records


def srv(port: int, target: bytes) -> bytes:
    data = struct.pack(">3H", 0, 0, port) + target
    return b"\xc0\x0c" + struct.pack(">2HIH", 33, 1, 60, len(data)) + data


def test_dns_answers() -> None:
    packet = dns_answer(srv(9100, b"\x01h\xc0\x0c"), 1)
    assert parse_answer(packet, 7, "SRV") == [Record("SRV", "h.a.b", 9100)]
    group = group_of("a.b", parse_answer(packet, 7, "SRV"), 0)
    assert group.targets[0] == {
        "__address__": "h.a.b:9100",
        "__meta_dns_name": "a.b",
        "__meta_dns_srv_record_target": "h.a.b.",
        "__meta_dns_srv_record_port": "9100",
    }
    address = group_of("x", [Record("AAAA", socket.inet_ntop(socket.AF_INET6, b"\0" * 15 + b"\1"))], 80)
    assert address.targets[0]["__address__"] == "[::1]:80"


@given(st.binary(max_size=80))
def test_any_dns_packet_parses_or_is_refused(packet: bytes) -> None:
    for raw in (packet, dns_answer(packet, 3)):
        try:
            parse_answer(raw, 7, "SRV")
        except ValueError:
            pass


async def test_pool_keeps_what_did_not_change() -> None:
    calls: list[tuple[str, int]] = []
    take: Callable[[str, Any], None] = lambda job, groups: calls.append((job, len(groups)))  # noqa: E731
    pool = DiscoveryPool(RealClock(), {}, take)
    first = SDConfigs(static_configs=[StaticConfig(targets=["x:1"])])
    pool.apply({"a": first})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    pool.apply({"a": first, "b": SDConfigs(static_configs=[StaticConfig(targets=["y:1"])])})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert calls == [("a", 1), ("b", 1)]
    await pool.close()
