"""``MetricsClient`` over the three metrics APIs, by way of any API server.

Mirrors ``pkg/controller/podautoscaler/metrics/client.go``: paths, error texts, and what counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from wavetank.autoscaling.metrics import MetricsError, PodSample
from wavetank.errors import InputError
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.quantity import milli
from wavetank.kube.times import parse_time

__all__ = ["ApiMetricsClient"]

_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, OverflowError)
_CUSTOM_WINDOW = 60.0  # upstream's default for custom metrics that name no window
_EXACT = "wavetank.dev/timestamp"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class ApiMetricsClient:
    """Reads through ``client.get_raw``. ``custom_version`` is that of custom.metrics.k8s.io."""

    def __init__(self, client: Client, custom_version: str = "v1beta2") -> None:
        self._client = client
        self._custom = f"/apis/custom.metrics.k8s.io/{custom_version}"

    async def resource(
        self, resource: str, namespace: str, selector: str, container: str = ""
    ) -> Mapping[str, PodSample]:
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{quote(namespace)}/pods"
        items = await self._items(path, {"labelSelector": selector}, "resource metrics API")
        if not items:
            raise MetricsError("no metrics returned from resource metrics API")
        found: dict[str, PodSample] = {}
        for item in items:
            try:
                sample = _pod_sample(item, resource, container)
                if sample is not None:
                    found[item["metadata"]["name"]] = sample
            except _MALFORMED as error:
                raise _nonsense("resource metrics API", error) from None
        return found

    async def pods(
        self, metric: str, namespace: str, selector: str, metric_selector: str = ""
    ) -> Mapping[str, PodSample]:
        path = f"{self._custom}/namespaces/{quote(namespace)}/pods/*/{quote(metric, safe='')}"
        query = {"labelSelector": selector, "metricLabelSelector": metric_selector}
        items = await self._items(path, query, "custom metrics API")
        if not items:
            raise MetricsError("no metrics returned from custom metrics API")
        found: dict[str, PodSample] = {}
        for item in items:
            try:
                window = item.get("windowSeconds")
                found[str((item.get("describedObject") or {}).get("name", ""))] = PodSample(
                    _value(item), _time(item), _CUSTOM_WINDOW if window is None else float(window)
                )
            except _MALFORMED as error:
                raise _nonsense("custom metrics API", error) from None
        return found

    async def object(
        self, metric: str, namespace: str, described: Mapping[str, Any], metric_selector: str = ""
    ) -> tuple[int, float]:
        kind, name = str(described.get("kind", "")), str(described.get("name", ""))
        resource = _resource_name(kind, str(described.get("apiVersion", "")))
        where = f"/namespaces/{quote(namespace)}"
        if kind == "Namespace":
            path = f"{self._custom}/namespaces/{quote(name)}/metrics/{quote(metric, safe='')}"
        else:
            path = f"{self._custom}{where}/{resource}/{quote(name)}/{quote(metric, safe='')}"
        items = await self._items(path, {"metricLabelSelector": metric_selector}, "custom metrics API")
        if not items:
            raise MetricsError("no metrics returned from custom metrics API")
        return _value(items[0]), _time(items[0])

    async def external(
        self, metric: str, namespace: str, metric_selector: str = ""
    ) -> tuple[tuple[int, ...], float]:
        path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{quote(namespace)}/{quote(metric, safe='')}"
        items = await self._items(path, {"labelSelector": metric_selector}, "external metrics API")
        if not items:
            raise MetricsError("no metrics returned from external metrics API")
        return tuple(_value(item) for item in items), _time(items[0])

    async def _items(self, path: str, query: Mapping[str, str], api: str) -> list[Object]:
        given = urlencode({key: value for key, value in query.items() if value})
        try:
            body = await self._client.get_raw(f"{path}?{given}" if given else path)
        except ApiError as error:
            raise MetricsError(f"unable to fetch metrics from {api}: {error.message}") from None
        try:
            items = msgspec.json.decode(body).get("items")
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise ValueError("items is not a list of objects")
        except (msgspec.DecodeError, AttributeError, ValueError) as error:
            raise MetricsError(f"unable to fetch metrics from {api}: {error}") from None
        return items


def _nonsense(api: str, error: Exception) -> MetricsError:
    return MetricsError(f"unable to fetch metrics from {api}: malformed item: {error}")


def _pod_sample(item: Object, resource: str, container: str) -> PodSample | None:
    """None where a container, or the one asked for, lacks the resource, or there is none at all."""
    containers: Iterable[Mapping[str, Any]] = item.get("containers") or ()
    wanted = [c for c in containers if not container or c.get("name") == container]
    values = [(c.get("usage") or {}).get(resource) for c in wanted]
    if not values or None in values:
        return None
    try:
        total = sum(milli(value) for value in values)
    except InputError:
        return None
    exact = (item["metadata"].get("annotations") or {}).get(_EXACT)
    return PodSample(total, _time(item), go_seconds(str(item.get("window", ""))), _number(exact))


def _value(item: Mapping[str, Any]) -> int:
    try:
        return milli(item.get("value", "0"))
    except InputError as error:
        raise MetricsError(f"unable to fetch metrics: {error.message}") from None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> float:
    return parse_time(text) or 0.0


def _time(item: Mapping[str, Any]) -> float:
    return _parsed(str(item.get("timestamp") or ""))


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def go_seconds(text: str) -> float:
    """Seconds of a Go duration such as ``15.2s`` or ``1m0.5s``; 0 for what is none."""
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


def _resource_name(kind: str, api_version: str) -> str:
    """``deployments.apps``: the plural as the custom metrics API wants it, by the usual English rules."""
    lower = kind.lower()
    if lower.endswith(("s", "x", "ch", "sh")):
        plural = f"{lower}es"
    elif lower.endswith("y") and lower[-2:-1] not in "aeiou":
        plural = f"{lower[:-1]}ies"
    else:
        plural = f"{lower}s"
    group = api_version.rpartition("/")[0]
    return f"{plural}.{group}" if group else plural
