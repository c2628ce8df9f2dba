"""What the API server asks of others: the kubelets, and aggregated APIs such as metrics.k8s.io.

The API server delegates ``pods/log`` and ``nodes/proxy`` to a ``KubeletProvider``, as a real one dials the
node; and every path below ``/apis/GROUP/VERSION`` of a registered ``ApiExtension`` to that extension, as
the aggregation layer does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from wavetank.kube.client import Object, Resource

__all__ = ["ApiExtension", "KubeletProvider"]


class KubeletProvider(Protocol):
    """Reaches the kubelets. Raises ApiError where the node or the container cannot answer."""

    def logs(
        self,
        pod: Object,
        container: str,
        *,
        follow: bool = False,
        tail_lines: int | None = None,
        timestamps: bool = False,
        since_seconds: float | None = None,
        previous: bool = False,
    ) -> AsyncIterator[bytes]:
        """The container's output, in pieces that end where lines do not have to."""
        ...

    async def node_proxy(self, node: str, path: str) -> tuple[int, str, bytes]:
        """GET ``path`` of the kubelet's own HTTP server: (status, content type, body)."""
        ...


class ApiExtension(Protocol):
    """An API group served by somebody else in the process. ``resources`` feed discovery."""

    group: str
    version: str
    resources: Sequence[Resource]

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        """Answer GET of ``path`` relative to ``/apis/GROUP/VERSION/``; the object is sent as JSON.
        Raises ApiError."""
        ...
