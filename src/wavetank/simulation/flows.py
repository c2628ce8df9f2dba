"""What the rest of a simulation sees of requests, whichever kernel serves them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from wavetank.kube.kubelet.enforcer import Usage

__all__ = ["Endpoints", "Flow", "PodTraffic", "Served"]


class Flow(Protocol):
    """Requests as their clients see them. ``rows`` float64[seconds, ROW] and ``cumulative`` int64[BINS] are
    as ``wavetank.simulation.kernels`` has them; ``origin`` is where seconds count from, in Unix seconds."""

    name: str
    origin: float

    @property
    def rows(self) -> Any: ...

    @property
    def cumulative(self) -> Any: ...

    @property
    def seconds(self) -> float: ...

    @property
    def latency_total(self) -> float:
        """Of all requests so far, in seconds."""
        ...

    def codes(self) -> Iterable[tuple[str, int]]:
        """(response code, requests) so far, each code once."""
        ...

    def advance(self) -> None:
        """Serve everything up to now."""
        ...


class Served(Flow, Protocol):
    """A flow into pods."""

    def answers(self) -> Iterable[tuple[str, str, str, int]]:
        """(response code, Envoy's response flag, pod's uid or "", requests) so far."""
        ...


class PodTraffic(Protocol):
    """What a container has to do with the requests sent to it. Pods are told apart by their uid."""

    def start(self, pod: str) -> None: ...

    def stop(self, pod: str) -> None: ...

    def advance(self) -> None: ...

    def in_flight(self, pod: str) -> int: ...

    def usage(self, pod: str) -> Usage: ...

    def answers(self) -> Iterable[tuple[str, str, str, int]]:
        """As ``Served`` has them."""
        ...


class Endpoints(Protocol):
    """What the proxy knows of a Service."""

    def set_ready(self, pods: Sequence[str]) -> None: ...

    def advance(self) -> None: ...

    def first_request(self, pod: str) -> float | None: ...
