"""external.metrics.k8s.io/v1beta1: metrics that belong to no object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from wavetank.autoscaling.adapter.custom import metric_value, selector_of
from wavetank.autoscaling.adapter.query import from_selector, one_of
from wavetank.autoscaling.adapter.series import SeriesRegistry
from wavetank.errors import WavetankError
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.times import format_time

__all__ = ["ExternalMetricsApi"]

GROUP: Final = "external.metrics.k8s.io"


class ExternalMetricsApi:
    """An ``ApiExtension``."""

    group = GROUP
    version = "v1beta1"

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry

    @property
    def resources(self) -> Sequence[Resource]:
        return [
            Resource(GROUP, self.version, "ExternalMetricValueList", metric, True)
            for metric in sorted(self._registry.external)
        ]

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        """Answer GET of namespaces/NAMESPACE/METRIC."""
        match [unquote(part) for part in path.strip("/").split("/") if part]:
            case ["namespaces", namespace, metric]:
                return await self._answer(namespace, metric, query.get("labelSelector", ""))
        raise ApiError(404, "NotFound", "the server could not find the requested resource")

    async def _answer(self, namespace: str, metric: str, selector: str) -> Object:
        found = await self._registry.external_metric(metric)
        if found is None:
            raise ApiError(404, "NotFound", f"the server could not find the metric {metric} for namespaces")
        now = self._registry.clock.now()
        try:
            matchers = from_selector(selector_of(selector))
            if found.namespace_label is not None:
                matchers.append(one_of(found.namespace_label, [namespace]))
            expression = found.rule.query.render(found.series, matchers, [])
            result = await self._registry.prometheus.instant(expression, now)
        except (ValueError, WavetankError) as error:
            raise ApiError(500, "InternalError", f"unable to fetch metrics: {error}") from None
        items = [
            {
                "metricName": metric,
                "metricLabels": {k: v for k, v in series.labels.items() if k != "__name__"},
                "timestamp": format_time(now),
                "value": metric_value(series.values[0]),
            }
            for series in result
            if series.values
        ]
        return {
            "kind": "ExternalMetricValueList",
            "apiVersion": f"{GROUP}/{self.version}",
            "metadata": {},
            "items": items,
        }
