"""kr8s and lightkube: two more client libraries nobody here wrote."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from kube_cluster import cluster

pytestmark = [pytest.mark.peer, pytest.mark.slow]

_DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
        },
    },
}


async def test_kr8s(tmp_path: Path) -> None:
    kr8s = pytest.importorskip("kr8s.asyncio", reason="kr8s is not installed")
    from kr8s import NotFoundError
    from kr8s.asyncio.objects import Deployment

    async with cluster(tmp_path) as tank:
        api = await kr8s.api(kubeconfig=str(tank.kubeconfig))
        try:
            assert (await api.version())["gitVersion"] == "v1.33.1+wavetank"
            deployment = await Deployment(_DEPLOYMENT, api=api)
            await deployment.create()
            await deployment.wait("condition=Available", timeout=30)
            await deployment.scale(3)
            pods = [pod async for pod in api.get("pods", namespace="default", label_selector="app=web")]
            assert {pod.status.phase for pod in pods} == {"Running"}
            assert "".join([line async for line in pods[0].logs()]).startswith("c line 1")
            await deployment.patch({"metadata": {"labels": {"tier": "front"}}})
            assert [d.labels["tier"] async for d in api.get("deployments", namespace="default")] == ["front"]
            kinds = {resource["kind"] for resource in await api.api_resources()}
            assert {"Pod", "HorizontalPodAutoscaler", "VirtualService"} <= kinds
            await deployment.delete()
            with pytest.raises(NotFoundError):
                await deployment.refresh()
        finally:
            await _close(api)


async def _close(api: object) -> None:
    session = getattr(api, "_session", None)
    if session is not None:
        await session.aclose()


async def test_lightkube(tmp_path: Path) -> None:
    pytest.importorskip("lightkube", reason="lightkube is not installed")
    async with cluster(tmp_path) as tank:
        seen = await asyncio.to_thread(_use_lightkube, tank.kubeconfig)
    assert seen == ["web 2", "Available", 3, ["front"], ["front"], "c line 1", 404]


def _use_lightkube(kubeconfig: Path) -> list[object]:
    from lightkube import ApiError, Client, KubeConfig
    from lightkube.codecs import from_dict
    from lightkube.models.autoscaling_v1 import ScaleSpec
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import Pod

    client = Client(config=KubeConfig.from_file(kubeconfig), field_manager="lightkube")
    seen: list[object] = []
    made = client.create(from_dict(_DEPLOYMENT))
    seen.append(f"{made.metadata.name} {made.spec.replicas}")
    client.wait(Deployment, "web", for_conditions=["Available"])
    seen.append("Available")
    scale = Deployment.Scale(metadata=ObjectMeta(name="web", namespace="default"), spec=ScaleSpec(replicas=3))
    seen.append(client.replace(scale, "web").spec.replicas)
    patch = {"metadata": {"labels": {"tier": "front"}}}
    seen.append(list(client.patch(Deployment, "web", patch).metadata.labels.values()))
    applied = {
        **_DEPLOYMENT,
        "metadata": {**_DEPLOYMENT["metadata"], "labels": {"tier": "front"}},
        "spec": {**_DEPLOYMENT["spec"], "replicas": 3},
    }
    seen.append(list(client.apply(from_dict(applied), force=True).metadata.labels.values()))
    pods = list(client.list(Pod, labels={"app": "web"}, fields={"status.phase": "Running"}))
    seen.append("".join(client.log(pods[0].metadata.name)).partition("\n")[0])
    client.delete(Deployment, "web")
    try:
        client.get(Deployment, "web")
    except ApiError as error:
        seen.append(error.status.code)
    client._client._client.close()  # it has no way of its own to close
    return seen
