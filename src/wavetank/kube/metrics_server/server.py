"""The metrics server's shell: scrapes on a period, serves metrics.k8s.io/v1beta1."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from wavetank.clock import Clock
from wavetank.errors import InputError, WavetankError
from wavetank.exposition.registry import Registry
from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Client, Object, Resource, WatchType
from wavetank.kube.informer import Informer
from wavetank.kube.kubelet.background import background
from wavetank.kube.metrics_server.decode import Batch, decode
from wavetank.kube.metrics_server.index import LabelIndex
from wavetank.kube.metrics_server.storage import PodKey, PodUsage, Point, Storage
from wavetank.kube.resources import NODES, PODS
from wavetank.kube.selectors import LabelSelector, parse_labels
from wavetank.kube.times import format_time
from wavetank.model.quoting import go_duration

__all__ = ["MetricsServer", "MetricsServerOptions", "NodeScraper", "ScrapeError"]

NODE_METRICS: Final = Resource("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", False)
POD_METRICS: Final = Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", True)
EXACT_TIME: Final = "wavetank.dev/timestamp"
"""Annotation with the sample's unrounded Unix time; the API's own field has whole seconds."""


class ScrapeError(WavetankError):
    """A kubelet gave no usable answer."""


class NodeScraper(Protocol):
    async def scrape(self, node: Object) -> bytes | Batch:
        """The body of the node's /metrics/resource, or what would be read in it. Raises ScrapeError."""
        ...


@dataclass(frozen=True, slots=True)
class MetricsServerOptions:
    """``metric_resolution``: seconds between scrapes, at least 10; ``kubelet_timeout`` below 0.9 of it."""

    metric_resolution: float = 15.0
    kubelet_timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.metric_resolution < 10:
            raise InputError(
                "metric-resolution should be a time duration at least 10s, but value "
                f"{self.metric_resolution:g}s provided"
            )
        if self.kubelet_timeout >= self.metric_resolution * 0.9:
            raise InputError("metric-resolution should be larger than kubelet-request-timeout / 0.9")


class MetricsServer:
    """``start`` scrapes once at once; from then on every resolution, from a random phase. As an
    ``ApiExtension`` it answers for its API group."""

    group = "metrics.k8s.io"
    version = "v1beta1"
    resources: Sequence[Resource] = (NODE_METRICS, POD_METRICS)

    def __init__(
        self,
        client: Client,
        scraper: NodeScraper,
        clock: Clock,
        journal: Journal,
        options: MetricsServerOptions = MetricsServerOptions(),
    ) -> None:
        self._scraper = scraper
        self._clock = clock
        self._journal = journal
        self._options = options
        self._nodes = Informer(client, NODES, clock=clock)
        self._pods = Informer(client, PODS, clock=clock)
        self._index = LabelIndex()
        self._task: asyncio.Task[None] | None = None
        self.storage = Storage(options.metric_resolution)
        self.metrics = Registry()
        self._ticks = self.metrics.histogram(
            "metrics_server_manager_tick_duration_seconds",
            "The total time spent collecting and storing metrics in seconds.",
        )
        self._requests = self.metrics.counter(
            "metrics_server_kubelet_request_total",
            "Number of requests sent to Kubelet API",
            ("success",),
        )
        self._points = self.metrics.gauge(
            "metrics_server_storage_points", "Number of metrics points stored.", ("type",)
        )

    @property
    def ready(self) -> bool:
        """As /readyz: once usage of pods and of nodes has been stored."""
        return bool(self.storage.before) and bool(self.storage.nodes_before)

    async def start(self) -> None:
        self._pods.add_handler(self._on_pod)
        await self._nodes.start()
        await self._pods.start()
        self._task = background(self._run(), "metrics server")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._nodes.stop()
        await self._pods.stop()

    def _on_pod(self, kind: WatchType, before: Object | None, pod: Object) -> None:
        if kind is WatchType.DELETED:
            self._index.remove(pod)
        else:
            self._index.put(pod)

    async def _run(self) -> None:
        resolution = self._options.metric_resolution
        await self.tick()
        due = self._clock.monotonic() + resolution * self._clock.random("metrics-server-phase").random()
        while True:
            await self._clock.sleep(due - self._clock.monotonic())
            await self.tick()
            now = self._clock.monotonic()
            due += resolution * max(1, -(-(now - due) // resolution))

    async def tick(self) -> None:
        """Scrape all nodes and store the result."""
        begun = self._clock.monotonic()
        nodes = list(self._nodes.objects())
        spread = min(0.008 * len(nodes), 4.0)
        batches = await asyncio.gather(*(self._scrape(node, spread) for node in nodes))
        pods: dict[PodKey, Mapping[str, Point]] = {}
        points: dict[str, Point] = {}
        for node, batch in zip(nodes, batches, strict=True):
            if batch is not None:
                pods.update(batch.pods)
                if batch.node is not None:
                    points[node["metadata"]["name"]] = batch.node
        self.storage = self.storage.store(pods, points)
        self._note(nodes, batches)
        self._ticks.observe(self._clock.monotonic() - begun)
        self._points.set(len(self.storage.nodes_before), "node")
        self._points.set(sum(len(c) for c in self.storage.before.values()), "container")

    async def _scrape(self, node: Object, spread: float) -> Batch | None:
        if spread > 0.008:  # upstream staggers its requests; alone there is nobody to stagger against
            await self._clock.sleep(spread * self._clock.random("metrics-server").random())
        now = self._clock.now()
        body: bytes | Batch | None = None
        with suppress(ScrapeError, TimeoutError):
            async with asyncio.timeout(self._options.kubelet_timeout):
                body = await self._scraper.scrape(node)
        self._requests.inc(1, "true" if body is not None else "false")
        return decode(body, now) if isinstance(body, bytes) else body

    def _note(self, nodes: Sequence[Object], batches: Sequence[Batch | None]) -> None:
        for node, batch in zip(nodes, batches, strict=True):
            if batch is None:
                continue
            served: dict[str, tuple[float, float, float]] = {}
            for key in batch.pods:
                usage = self.storage.pod(key)
                if usage is not None:
                    cores = sum(c.cpu_nanocores for c in usage.containers.values()) / 1e9
                    served["/".join(key)] = (cores, usage.at, usage.window)
            self._journal.record("metrics_server.scrape", node=node["metadata"]["name"], pods=served)

    # The API

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        """Answer GET below /apis/metrics.k8s.io/v1beta1/."""
        parts = [part for part in path.strip("/").split("/") if part]
        selector = _selector(query)
        match parts:
            case ["pods"]:
                return self._pod_list(None, selector)
            case ["namespaces", namespace, "pods"]:
                return self._pod_list(namespace, selector)
            case ["namespaces", namespace, "pods", name]:
                return self._one_pod(namespace, name)
            case ["nodes"]:
                return self._node_list(selector)
            case ["nodes", name]:
                return self._one_node(name)
            case _:
                raise ApiError(404, "NotFound", "the server could not find the requested resource")

    def _pod_list(self, namespace: str | None, selector: LabelSelector) -> Object:
        items = []
        for pod in self._index.matching(namespace, selector):
            usage = self.storage.pod((pod["metadata"].get("namespace") or "", pod["metadata"]["name"]))
            if usage is not None and (pod.get("status") or {}).get("phase") == "Running":
                items.append(self._pod_metrics(pod, usage))
        return _list("PodMetricsList", items)

    def _one_pod(self, namespace: str, name: str) -> Object:
        pod = self._pods.get(name, namespace)
        usage = self.storage.pod((namespace, name))
        if pod is None or usage is None:
            missing = f'podmetrics.metrics.k8s.io "{namespace}/{name}" not found'
            raise ApiError(404, "NotFound", missing, {"name": f"{namespace}/{name}", "kind": "podmetrics"})
        return self._pod_metrics(pod, usage)

    def _pod_metrics(self, pod: Object, usage: PodUsage) -> Object:
        return {
            **_head("PodMetrics", self._clock.now(), pod, usage.at),
            "timestamp": _stamp(int(usage.at)),
            "window": go_duration(usage.window),
            "containers": [
                {"name": name, "usage": quantities(each.cpu_nanocores, each.memory)}
                for name, each in usage.containers.items()
            ],
        }

    def _node_list(self, selector: LabelSelector) -> Object:
        nodes = (
            n for _, n in sorted(self._nodes.cache.items()) if selector.matches(n["metadata"].get("labels"))
        )
        found = (self._node_metrics(node) for node in nodes)
        return _list("NodeMetricsList", [item for item in found if item is not None])

    def _one_node(self, name: str) -> Object:
        node = self._nodes.get(name)
        found = self._node_metrics(node) if node is not None else None
        if found is None:
            missing = f'nodemetrics.metrics.k8s.io "{name}" not found'
            raise ApiError(404, "NotFound", missing, {"name": name, "kind": "nodemetrics"})
        return found

    def _node_metrics(self, node: Object) -> Object | None:
        found = self.storage.node(node["metadata"]["name"])
        if found is None:
            return None
        at, window, usage = found
        return {
            **_head("NodeMetrics", self._clock.now(), node, at),
            "timestamp": _stamp(int(at)),
            "window": go_duration(window),
            "usage": quantities(usage.cpu_nanocores, usage.memory),
        }


def _selector(query: Mapping[str, str]) -> LabelSelector:
    try:
        return parse_labels(query.get("labelSelector", ""))
    except InputError as error:
        raise ApiError(400, "BadRequest", error.message) from None


def _head(kind: str, now: float, obj: Object, at: float) -> Object:
    meta = obj["metadata"]
    metadata: Object = {"name": meta["name"], "creationTimestamp": _stamp(int(now))}
    if meta.get("namespace"):
        metadata["namespace"] = meta["namespace"]
    if meta.get("labels"):
        metadata["labels"] = meta["labels"]
    metadata["annotations"] = {EXACT_TIME: f"{at:.3f}"}
    return {"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": metadata}


def _list(kind: str, items: list[Object]) -> Object:
    return {"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}


def quantities(nanocores: int, memory: int) -> dict[str, str]:
    return {"cpu": _scaled(nanocores, 1000, ("n", "u", "m", "")), "memory": _scaled(memory, 1024, _BINARY)}


_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")


def _scaled(value: int, step: int, suffixes: Sequence[str]) -> str:
    """The canonical quantity: the largest unit that leaves a whole number."""
    index = 0
    while value and value % step == 0 and index + 1 < len(suffixes):
        value //= step
        index += 1
    return f"{value}{suffixes[index]}" if value else "0"


@lru_cache(maxsize=4096)
def _stamp(second: int) -> str:
    return format_time(second)
