"""What the autoscalers ask of a Prometheus server: the seam behind the metrics adapter and the VPA's history.

The HTTP implementation is given by whoever composes the parts, since the rooms below have none of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Prometheus", "Series"]


class Series(Protocol):
    """One series of a result: ``times`` (Unix seconds) and ``values`` of equal length."""

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def times(self) -> Sequence[float]: ...

    @property
    def values(self) -> Sequence[float]: ...


class Prometheus(Protocol):
    """Any Prometheus HTTP API. All raise WavetankError where the server gives no usable answer."""

    async def instant(self, expr: str, at: float) -> Sequence[Series]:
        """One sample a series."""
        ...

    async def range(self, expr: str, start: float, end: float, step: float) -> Sequence[Series]: ...

    async def get(self, path: str) -> Any:
        """``data`` of another endpoint below /api/v1/, its query included."""
        ...
