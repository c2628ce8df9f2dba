"""custom.metrics.k8s.io, v1beta1 and v1beta2: metrics of pods and of any other object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from wavetank.autoscaling.adapter.naming import NAMESPACE
from wavetank.autoscaling.adapter.query import from_selector, one_of
from wavetank.autoscaling.adapter.series import CustomMetric, SeriesRegistry
from wavetank.errors import InputError, WavetankError
from wavetank.kube.client import ApiError, Client, Object, Resource
from wavetank.kube.quantity import format_milli
from wavetank.kube.selectors import LabelSelector, parse_labels
from wavetank.kube.times import format_time

__all__ = ["CustomMetricsApi", "metric_value", "selector_of"]

GROUP: Final = "custom.metrics.k8s.io"
_MILLI_MAX: Final = 2**63 - 1


class CustomMetricsApi:
    """An ``ApiExtension`` for one version of the group."""

    group = GROUP

    def __init__(self, registry: SeriesRegistry, client: Client, version: str) -> None:
        self.version = version
        self._registry = registry
        self._client = client

    @property
    def resources(self) -> Sequence[Resource]:
        """What discovery lists: ``pods/http_requests`` and so on, known since the last listing."""
        return [
            Resource(
                GROUP,
                self.version,
                "MetricValueList",
                f"{plural}.{group}/{metric}" if group else f"{plural}/{metric}",
                namespaced,
            )
            for group, plural, namespaced, metric in sorted(self._registry.custom)
        ]

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        """Answer GET below /apis/custom.metrics.k8s.io/VERSION/."""
        match [unquote(part) for part in path.strip("/").split("/") if part]:
            case ["namespaces", namespace, "metrics", metric]:
                return await self._answer(NAMESPACE, "", namespace, metric, query)
            case ["namespaces", namespace, resource, name, metric]:
                return await self._answer(_split(resource), namespace, name, metric, query)
            case [resource, name, metric]:
                return await self._answer(_split(resource), "", name, metric, query)
        raise ApiError(404, "NotFound", "the server could not find the requested resource")

    async def _answer(
        self, of: tuple[str, str], namespace: str, name: str, metric: str, query: Mapping[str, str]
    ) -> Object:
        shown = f"{of[1]}.{of[0]}" if of[0] else of[1]
        missing = ApiError(404, "NotFound", f"the server could not find the metric {metric} for {shown}")
        resource = self._registry.mapper.find(*of)
        if resource is None:
            raise missing
        found = await self._registry.custom_metric(resource, bool(namespace), metric)
        if found is None:
            raise missing
        given = query.get("metricLabelSelector", "")
        selector = selector_of(given)
        names = [name]
        if name == "*":
            listed = await self._client.list(
                resource, namespace or None, label_selector=query.get("labelSelector", "")
            )
            names = [obj["metadata"]["name"] for obj in listed.items]
        values = await self._ask(found, namespace, names, selector) if names else {}
        if name != "*" and name not in values:
            raise ApiError(404, "NotFound", f"{missing.message} {name}")
        items = [
            self._item(resource, namespace, each, metric, given, values[each])
            for each in names
            if each in values
        ]
        api_version = f"{GROUP}/{self.version}"
        return {"kind": "MetricValueList", "apiVersion": api_version, "metadata": {}, "items": items}

    async def _ask(
        self, metric: CustomMetric, namespace: str, names: Sequence[str], selector: LabelSelector
    ) -> dict[str, float]:
        """The value of each object; those Prometheus has none for are left out."""
        try:
            matchers = from_selector(selector)
            if metric.namespace_label is not None:
                matchers.append(one_of(metric.namespace_label, [namespace]))
            matchers.append(one_of(metric.label, names))
            expression = metric.rule.query.render(metric.series, matchers, [metric.label])
            result = await self._registry.prometheus.instant(expression, self._registry.clock.now())
        except (ValueError, WavetankError) as error:
            raise ApiError(500, "InternalError", f"unable to fetch metrics: {error}") from None
        return {
            series.labels[metric.label]: series.values[0]
            for series in result
            if metric.label in series.labels and series.values
        }

    def _item(
        self, resource: Resource, namespace: str, name: str, metric: str, selector: str, value: float
    ) -> Object:
        described: Object = {"kind": resource.kind, "name": name, "apiVersion": _described_version(resource)}
        if namespace:
            described["namespace"] = namespace
        common = {
            "timestamp": format_time(self._registry.clock.now()),
            "value": metric_value(value),
        }
        shown = _selector_object(selector_of(selector)) if selector else None
        if self.version == "v1beta1":
            return {"describedObject": described, "metricName": metric, **common, "selector": shown}
        return {"describedObject": described, "metric": {"name": metric, "selector": shown}, **common}


def metric_value(value: float) -> str:
    """A sample as a quantity of thousandths, truncated; NaN counts as 0, as upstream."""
    if math.isnan(value):
        return "0"
    bounded = max(-float(_MILLI_MAX), min(float(_MILLI_MAX), value * 1000.0))
    return format_milli(max(-_MILLI_MAX, min(_MILLI_MAX, int(bounded))))


def selector_of(text: str) -> LabelSelector:
    try:
        return parse_labels(text)
    except InputError as error:
        raise ApiError(400, "BadRequest", error.message) from None


def _described_version(resource: Resource) -> str:
    """As upstream writes it: the core group's version comes with a slash."""
    return f"{resource.group}/{resource.version}"


def _selector_object(selector: LabelSelector) -> Object:
    labels: dict[str, str] = {}
    expressions: list[Object] = []
    for requirement in selector.requirements:
        if requirement.operator == "In" and len(requirement.values) == 1:
            labels[requirement.key] = requirement.values[0]
        else:
            expressions.append(
                {
                    "key": requirement.key,
                    "operator": requirement.operator,
                    "values": list(requirement.values),
                }
            )
    found: Iterable[tuple[str, Any]] = (("matchLabels", labels), ("matchExpressions", expressions))
    return {key: value for key, value in found if value}


def _split(text: str) -> tuple[str, str]:
    """``deployments.apps`` as (group, plural)."""
    plural, _, group = text.partition(".")
    return group, plural
