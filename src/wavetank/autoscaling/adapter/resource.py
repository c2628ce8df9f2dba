"""metrics.k8s.io/v1beta1 from Prometheus, by ``resourceRules``, in place of a metrics server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wavetank.autoscaling.adapter.custom import selector_of
from wavetank.autoscaling.adapter.naming import Labels, Mapper
from wavetank.autoscaling.adapter.query import one_of
from wavetank.autoscaling.adapter.rules import AdapterConfig, ResourceRule
from wavetank.autoscaling.prometheus import Prometheus
from wavetank.clock import Clock
from wavetank.errors import WavetankError
from wavetank.kube.client import ApiError, Client, Object, Resource
from wavetank.kube.metrics_server.server import NODE_METRICS, POD_METRICS, quantities
from wavetank.kube.resources import NODES, PODS
from wavetank.kube.times import format_time
from wavetank.model.quoting import go_duration

__all__ = ["ResourceMetricsApi"]

_NAMESPACES = Resource("", "v1", "Namespace", "namespaces", False)
Usage = dict[str, dict[str, dict[str, float]]]
"""By object, container ("" for nodes) and resource: cores and bytes."""


class ResourceMetricsApi:
    """An ``ApiExtension``. Objects for which a query gives nothing are left out."""

    group = "metrics.k8s.io"
    version = "v1beta1"
    resources: Sequence[Resource] = (NODE_METRICS, POD_METRICS)

    def __init__(
        self, config: AdapterConfig, prometheus: Prometheus, mapper: Mapper, client: Client, clock: Clock
    ) -> None:
        self._rules = config.resource_rules
        self._labels = {name: Labels(rule.mapping, mapper) for name, rule in self._rules.items()}
        self._window = config.window
        self._prometheus = prometheus
        self._mapper = mapper
        self._client = client
        self._clock = clock

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        """Answer GET below /apis/metrics.k8s.io/v1beta1/."""
        selector = query.get("labelSelector", "")
        selector_of(selector)
        match [part for part in path.strip("/").split("/") if part]:
            case ["pods"]:
                return _list("PodMetricsList", await self._pods(None, selector))
            case ["namespaces", namespace, "pods"]:
                return _list("PodMetricsList", await self._pods(namespace, selector))
            case ["namespaces", namespace, "pods", name]:
                return self._only(await self._pods(namespace, "", name), "podmetrics", f"{namespace}/{name}")
            case ["nodes"]:
                return _list("NodeMetricsList", await self._nodes(selector))
            case ["nodes", name]:
                return self._only(await self._nodes("", name), "nodemetrics", name)
        raise ApiError(404, "NotFound", "the server could not find the requested resource")

    def _only(self, items: list[Object], kind: str, name: str) -> Object:
        if not items:
            raise ApiError(404, "NotFound", f'{kind}.metrics.k8s.io "{name}" not found')
        return items[0]

    async def _pods(self, namespace: str | None, selector: str, name: str = "") -> list[Object]:
        listed = (await self._client.list(PODS, namespace, label_selector=selector)).items
        spaces: dict[str, list[Object]] = {}
        for pod in listed:
            running = (pod.get("status") or {}).get("phase") == "Running"
            if running and name in ("", pod["metadata"]["name"]):
                spaces.setdefault(pod["metadata"]["namespace"], []).append(pod)
        items: list[Object] = []
        for space, pods in spaces.items():
            usage = await self._usage(PODS, space, [pod["metadata"]["name"] for pod in pods])
            for pod in pods:
                containers = usage.get(pod["metadata"]["name"], {})
                whole = {c: used for c, used in containers.items() if len(used) == len(self._rules)}
                if whole and len(whole) == len(containers):
                    shown = [{"name": c, "usage": _quantities(used)} for c, used in sorted(whole.items())]
                    items.append({**self._head("PodMetrics", pod), "containers": shown})
        return items

    async def _nodes(self, selector: str, name: str = "") -> list[Object]:
        listed = (await self._client.list(NODES, label_selector=selector)).items
        nodes = [node for node in listed if name in ("", node["metadata"]["name"])]
        usage = await self._usage(NODES, "", [node["metadata"]["name"] for node in nodes]) if nodes else {}
        items = []
        for node in nodes:
            used = usage.get(node["metadata"]["name"], {}).get("", {})
            if len(used) == len(self._rules):
                items.append({**self._head("NodeMetrics", node), "usage": _quantities(used)})
        return items

    async def _usage(self, resource: Resource, namespace: str, names: Sequence[str]) -> Usage:
        found: Usage = {}
        for what, rule in self._rules.items():
            labels = self._labels[what]
            known = self._mapper.find(resource.group, resource.plural) or resource
            label = labels.label_for(known)
            if label is None:
                continue
            expression = self._expression(rule, labels, known, label, namespace, names)
            try:
                result = await self._prometheus.instant(expression, self._clock.now())
            except WavetankError as error:
                raise ApiError(500, "InternalError", f"unable to fetch metrics: {error}") from None
            for series in result:
                name = series.labels.get(label)
                container = series.labels.get(rule.container_label, "") if resource == PODS else ""
                if name is not None and series.values and (resource != PODS or container):
                    found.setdefault(name, {}).setdefault(container, {})[what] = series.values[0]
        return found

    def _expression(
        self,
        rule: ResourceRule,
        labels: Labels,
        resource: Resource,
        label: str,
        namespace: str,
        names: Sequence[str],
    ) -> str:
        matchers = [one_of(label, names)]
        group_by = [label]
        if namespace:
            space = labels.label_for(self._mapper.find("", "namespaces") or _NAMESPACES)
            if space is not None:
                matchers.insert(0, one_of(space, [namespace]))
            group_by.append(rule.container_label)
        query = rule.container_query if namespace else rule.node_query
        try:
            return query.render("", matchers, group_by)
        except ValueError as error:
            raise ApiError(500, "InternalError", f"resource rule: {error}") from None

    def _head(self, kind: str, obj: Object) -> Object:
        stamp = format_time(self._clock.now())
        meta = obj["metadata"]
        kept = {key: meta[key] for key in ("name", "namespace", "labels") if meta.get(key)}
        return {
            "kind": kind,
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {**kept, "creationTimestamp": stamp},
            "timestamp": stamp,
            "window": go_duration(self._window),
        }


def _quantities(used: Mapping[str, float]) -> dict[str, str]:
    return quantities(int(max(0.0, used.get("cpu", 0.0)) * 1e9), int(max(0.0, used.get("memory", 0.0))))


def _list(kind: str, items: list[Object]) -> Object:
    return {"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}
