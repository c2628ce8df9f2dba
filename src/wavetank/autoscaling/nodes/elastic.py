"""Nodes that come and go: what the node autoscaler asks for, made of kubelets in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from wavetank.kube.client import ApiError, Client
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.server import LocalKubelets
from wavetank.kube.resources import LEASES, NODES

__all__ = ["ElasticNodes"]


class _Server(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Running:
    kubelet: Kubelet
    server: _Server | None
    index: int


class ElasticNodes:
    """The autoscaler's ``NodeProvider``. ``make`` builds the kubelet of a node, by its name, labels and place
    among the cluster's addresses, and its server where it has one; ``places`` are those that the standing
    nodes leave free. ``kubelets`` is kept up to date with the ones that run."""

    def __init__(
        self,
        client: Client,
        make: Callable[[str, Mapping[str, str], int], tuple[Kubelet, _Server | None]],
        places: Sequence[int],
        registry: LocalKubelets,
        kubelets: list[Kubelet],
    ) -> None:
        self._client = client
        self._make = make
        self._places = list(places)
        self._registry = registry
        self._kubelets = kubelets
        self._running: dict[str, _Running] = {}

    async def start_node(self, name: str, labels: Mapping[str, str]) -> None:
        """Start a kubelet; it registers its node."""
        index = self._places.pop(0)
        kubelet, server = self._make(name, labels, index)
        self._running[name] = _Running(kubelet, server, index)
        self._registry.add(kubelet)
        try:
            await kubelet.start()
            if server is not None:
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
        if node.server is not None:
            await node.server.stop()
        await node.kubelet.stop()
        self._registry.remove(node.kubelet.node.name)
