"""Nodes that come and go: what the node autoscaler asks for, made of kubelets in the control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from wavetank.autoscaling.nodes.model import GROUP_LABEL, NodesOptions
from wavetank.kube.client import ApiError, Client
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.server import LocalKubelets
from wavetank.kube.resources import LEASES, NODES
from wavetank.load.stages import parse_duration
from wavetank.rehearsal.spec import Node, NodeAutoscaling

__all__ = ["ElasticNodes", "nodes_options"]

GROUP = "auto"


class _Server(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Running:
    kubelet: Kubelet
    server: _Server
    index: int


class ElasticNodes:
    """The autoscaler's ``NodeProvider``. ``make`` builds the kubelet and its server for a node and a place in
    the tank's addresses, ``places`` are those that the standing nodes leave free. ``kubelets`` is kept up to
    date with the ones that run."""

    def __init__(
        self,
        client: Client,
        make: Callable[[Node, int], tuple[Kubelet, _Server]],
        places: Sequence[int],
        registry: LocalKubelets,
        kubelets: list[Kubelet],
        given: NodeAutoscaling,
    ) -> None:
        self._client = client
        self._make = make
        self._places = list(places)
        self._registry = registry
        self._kubelets = kubelets
        self._given = given
        self._running: dict[str, _Running] = {}

    async def start_node(self, name: str, labels: Mapping[str, str]) -> None:
        """Start a kubelet of the template; it registers its node."""
        template = self._given.template
        index = self._places.pop(0)
        node = Node(name, template.cpu, template.memory, template.pods, {**template.labels, **labels})
        kubelet, server = self._make(node, index)
        self._running[name] = _Running(kubelet, server, index)
        self._registry.add(kubelet)
        try:
            await kubelet.start()
            await server.start()
        except BaseException:
            await self.stop_node(name)
            raise
        self._kubelets.append(kubelet)

    async def stop_node(self, name: str) -> None:
        """Stop the kubelet and what it runs, and remove the node from the API."""
        found = self._running.pop(name, None)
        if found is not None:
            await self._end(found)
            self._places.append(found.index)
        for resource, namespace in ((NODES, None), (LEASES, "kube-node-lease")):
            with suppress(ApiError):
                await self._client.delete(resource, name, namespace)

    async def start(self) -> None:
        """Nothing yet: the autoscaler says when."""

    async def stop(self) -> None:
        running = list(self._running.values())
        self._running.clear()
        await asyncio.gather(*(self._end(each) for each in running))

    async def _end(self, node: _Running) -> None:
        if node.kubelet in self._kubelets:
            self._kubelets.remove(node.kubelet)
        await node.server.stop()
        await node.kubelet.stop()
        self._registry.remove(node.kubelet.node.name)


def nodes_options(given: NodeAutoscaling) -> NodesOptions:
    """The autoscaler's flags from the rehearsal file."""
    template = given.template
    capacity = {"cpu": str(template.cpu), "memory": str(template.memory), "pods": str(template.pods)}
    return NodesOptions(
        template={
            "metadata": {"name": GROUP, "labels": {**template.labels, GROUP_LABEL: GROUP}},
            "status": {"capacity": capacity, "allocatable": capacity},
        },
        group=GROUP,
        minimum=given.min,
        maximum=given.max,
        boot_delay=parse_duration(given.boot_delay),
        scan_interval=parse_duration(given.scan_interval),
        unneeded_time=parse_duration(given.unneeded_time),
        delay_after_add=parse_duration(given.delay_after_add),
        utilization_threshold=given.utilization_threshold,
    )
