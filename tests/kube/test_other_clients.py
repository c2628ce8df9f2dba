"""Clients nobody here wrote: the PyPI ``kubernetes`` package and Prometheus' own service discovery."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kube_cluster import cluster

from wavetank.kube.resources import DEPLOYMENTS, SERVICES

kubernetes = pytest.importorskip("kubernetes", reason="the kubernetes package is not installed")
pytestmark = [pytest.mark.peer, pytest.mark.slow]

_PROMETHEUS = shutil.which("prometheus")
_PROMTOOL = shutil.which("promtool")
_TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [{"name": "c", "image": "i:1", "ports": [{"name": "http", "containerPort": 8080}]}]
    },
}


def deployment(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": _TEMPLATE},
    }


def use_typed_client(kubeconfig: str) -> list[str]:
    """Every way the typed client speaks: returns what was seen, in order."""
    from kubernetes import client, config, watch

    seen: list[str] = []
    with config.new_client_from_config(kubeconfig) as api:
        seen.append(client.VersionApi(api).get_code().git_version)
        apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
        made = apps.create_namespaced_deployment("default", deployment(2))
        seen.append(f"{made.metadata.name} {made.spec.replicas}")
        for event in watch.Watch().stream(apps.list_namespaced_deployment, "default", timeout_seconds=20):
            if event["raw_object"]["status"].get("readyReplicas") == 2:
                seen.append("ready")
                break
        patched = apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 3}})
        seen.append(f"scaled {patched.spec.replicas}")
        pods = core.list_namespaced_pod("default", label_selector="app=web").items
        seen.append(pods[0].spec.containers[0].image)
        seen.append(core.read_namespaced_pod_log(pods[0].metadata.name, "default").splitlines()[0])
        node = core.list_node().items[0]
        seen.append(node.metadata.name)
        custom = client.CustomObjectsApi(api)
        metrics = custom.list_cluster_custom_object("metrics.k8s.io", "v1beta1", "nodes")
        seen.append(metrics["items"][0]["usage"]["memory"])
        gone = apps.delete_namespaced_deployment("web", "default")
        seen.append(gone["status"] if isinstance(gone, dict) else gone.status)
        with pytest.raises(client.ApiException) as caught:
            apps.read_namespaced_deployment("web", "default")
        seen.append(str(caught.value.status))
    return seen


def use_dynamic_client(kubeconfig: str) -> list[str]:
    from kubernetes import config, dynamic

    seen: list[str] = []
    with config.new_client_from_config(kubeconfig) as api:
        found = dynamic.DynamicClient(api)
        services = found.resources.get(api_version="v1", kind="Service")
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s"},
            "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
        }
        made = services.create(body=body, namespace="default")
        seen.append(made.spec.ports[0].targetPort)
        seen.append(made.spec.clusterIP.rpartition(".")[0])
        applied = services.server_side_apply(
            body={**body, "metadata": {"name": "s", "labels": {"a": "b"}}},
            name="s",
            namespace="default",
            field_manager="me",
        )
        seen.append(applied.metadata.labels.a)
        virtual = found.resources.get(api_version="networking.istio.io/v1", kind="VirtualService")
        route = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
        virtual.create(
            body={**route, "metadata": {"name": "v"}, "spec": {"hosts": ["a"]}}, namespace="default"
        )
        seen.append(virtual.get(name="v", namespace="default").spec.hosts[0])
    return seen


async def test_the_typed_python_client(tmp_path: Path) -> None:
    async with cluster(tmp_path) as tank:
        seen = await asyncio.to_thread(use_typed_client, str(tank.kubeconfig))
    assert seen == [
        "v1.33.1+wavetank", "web 2", "ready", "scaled 3", "i:1", "c line 1", "node-1", "10240Ki", "Success",
        "404",
    ]  # fmt: skip


async def test_the_dynamic_python_client(tmp_path: Path) -> None:
    async with cluster(tmp_path) as tank:
        seen = await asyncio.to_thread(use_dynamic_client, str(tank.kubeconfig))
    assert seen == [80, "127.96.0", "b", "a"]


_CONFIG = """
scrape_configs:
- job_name: {role}
  kubernetes_sd_configs:
  - {{role: {role}, kubeconfig_file: {kubeconfig}}}
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.skipif(not _PROMETHEUS or not _PROMTOOL, reason="prometheus is not installed")
@pytest.mark.parametrize(
    ("role", "label", "count"),
    [
        ("pod", "__meta_kubernetes_pod_ip", 2),
        ("endpointslice", "__meta_kubernetes_endpointslice_name", 2),
        ("endpoints", "__meta_kubernetes_endpoints_name", 2),
        ("service", "__meta_kubernetes_service_cluster_ip", 2),
        ("node", "__meta_kubernetes_node_name", 1),
    ],
)
async def test_prometheus_discovers_targets(tmp_path: Path, role: str, label: str, count: int) -> None:
    assert _PROMETHEUS is not None
    async with cluster(tmp_path) as tank:
        local = tank.plane.client("test")
        await local.create(DEPLOYMENTS, deployment(2), "default")
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
        await local.create(SERVICES, {"metadata": {"name": "web"}, "spec": spec}, "default")
        config = tmp_path / "prometheus.yml"
        config.write_text(_CONFIG.format(role=role, kubeconfig=tank.kubeconfig))
        if await _refuses(config):
            pytest.skip("this prometheus is built without kubernetes_sd (Debian's is)")
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            _PROMETHEUS,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            targets = await asyncio.wait_for(_targets(port, label, count), 40)
        finally:
            process.terminate()
            await process.wait()
    assert len(targets) == count


async def _refuses(config: Path) -> bool:
    assert _PROMTOOL is not None
    check = await asyncio.create_subprocess_exec(
        _PROMTOOL,
        "check",
        "config",
        str(config),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await check.communicate()
    return b"kubernetes_sd_configs not found" in output


async def _targets(port: int, label: str, count: int) -> list[Any]:
    """Ask until the targets are there; discovery takes Prometheus five seconds at least."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/api/v1/targets") as response:
                    data = (await response.json())["data"]
                    found = [t for t in data["activeTargets"] if label in t["discoveredLabels"]]
                    if len(found) >= count:
                        return found
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.3)
