"""A kubelet's points without text between: for clusters in virtual time, where both ends are one process.

``batch_of`` gives what ``decode`` reads in the text of ``resource_families``; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable

from wavetank.kube.client import ApiError, Object
from wavetank.kube.kubelet.cadvisor import Cadvisor, ContainerSample
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.metrics_server.decode import Batch
from wavetank.kube.metrics_server.server import ScrapeError
from wavetank.kube.metrics_server.storage import PodKey, Point

__all__ = ["DirectScraper", "batch_of"]


def batch_of(cadvisor: Cadvisor) -> Batch:
    """The points of one node at its last samples."""
    pods: dict[PodKey, dict[str, Point]] = {}
    for sample in cadvisor.samples():
        at = sample.timestamp_ms / 1000
        points = {c.name: _point(c, at) for c in sample.containers}
        if all(p.cpu_ns > 0 and p.memory > 0 for p in points.values()):
            pods[sample.namespace, sample.name] = points
    at, cpu_seconds, memory = cadvisor.node_usage
    node = Point(None, int(at * 1000) / 1000, int(cpu_seconds * 1e9), memory)
    return Batch(pods, node if at and node.cpu_ns > 0 and node.memory > 0 else None)


def _point(container: ContainerSample, at: float) -> Point:
    # By way of seconds, as in the text: a nanosecond may be lost there.
    cpu_ns = int(container.usage.cpu_ns / 1e9 * 1e9)
    return Point(container.started_at or None, at, cpu_ns, container.usage.memory_working_set)


class DirectScraper:
    """Asks kubelets of this process; ``get`` gives one by its node's name, or raises ApiError."""

    def __init__(self, get: Callable[[str], Kubelet]) -> None:
        self._get = get

    async def scrape(self, node: Object) -> Batch:
        try:
            return batch_of(self._get(node["metadata"]["name"]).cadvisor)
        except ApiError as error:
            raise ScrapeError(error.message) from None
