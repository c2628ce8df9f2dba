"""What an autoscaler may ask of the metrics APIs: the seam the real HPA has too.

Three APIs, as upstream: resource (metrics.k8s.io), custom (custom.metrics.k8s.io, of pods and of objects)
and external (external.metrics.k8s.io). All values are integers in thousandths of their unit (milli-cores,
milli-bytes, milli-requests), as the HPA computes with ``Quantity.MilliValue``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from wavetank.errors import WavetankError

__all__ = ["MetricsClient", "MetricsError", "PodSample", "Reading"]


class MetricsError(WavetankError):
    """A metrics API gave no usable answer; the message is the one upstream's client gives."""


@dataclass(frozen=True, slots=True)
class PodSample:
    """One pod's value: ``value`` in milli-units, ``timestamp`` in Unix seconds, ``window`` in seconds.

    The API's timestamps have whole seconds, and decisions are made with those; ``exact`` is the unrounded
    time where the server tells it, for the journal.
    """

    value: int
    timestamp: float
    window: float = 60.0
    exact: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer for one metric of an HPA: per pod (resource, pods) or plain values (object: one, external:
    one a series). ``error`` is set instead when the metric could not be read."""

    pods: Mapping[str, PodSample] = field(default_factory=dict)
    values: tuple[int, ...] = ()
    timestamp: float = 0.0
    error: str | None = None


class MetricsClient(Protocol):
    """Reads the three metrics APIs. Selectors are in the API's text form. All raise MetricsError."""

    async def resource(
        self, resource: str, namespace: str, selector: str, container: str = ""
    ) -> Mapping[str, PodSample]:
        """Usage of each pod matched: of the named container, or the sum over containers. A pod of which a
        container lacks the resource is left out."""
        ...

    async def pods(
        self, metric: str, namespace: str, selector: str, metric_selector: str = ""
    ) -> Mapping[str, PodSample]:
        """A custom metric of each pod matched."""
        ...

    async def object(
        self, metric: str, namespace: str, described: Mapping[str, Any], metric_selector: str = ""
    ) -> tuple[int, float]:
        """A custom metric of one object (``apiVersion``, ``kind``, ``name``): value and timestamp."""
        ...

    async def external(
        self, metric: str, namespace: str, metric_selector: str = ""
    ) -> tuple[tuple[int, ...], float]:
        """An external metric: the value of each series matched, and the first one's timestamp."""
        ...
