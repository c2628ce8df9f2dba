"""What the API server asks of others: the kubelets, and aggregated APIs such as metrics.k8s.io.

The API server delegates ``nodes/proxy`` and the ``log``, ``exec``, ``attach`` and ``portforward`` of pods to
a ``KubeletProvider``, as a real one dials the node; and every path below ``/apis/GROUP/VERSION`` of a
registered ``ApiExtension`` to that extension, as the aggregation layer does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from wavetank.kube.client import Object, Resource

__all__ = ["ApiExtension", "ExecSession", "KubeletProvider"]


class ExecSession(Protocol):
    """A command that runs in a container, and its streams."""

    async def write(self, data: bytes) -> None:
        """To its standard input; waits while the command does not read. Nothing happens once it is closed."""
        ...

    def close_stdin(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's size; nothing happens where there is no terminal."""
        ...

    def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """("stdout" or "stderr", piece) until both are closed."""
        ...

    async def wait(self) -> int:
        """The exit code, 128 + N after signal N."""
        ...

    async def close(self) -> None:
        """End it, if it still runs, and free all it holds."""
        ...


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

    async def execute(
        self, pod: Object, container: str, argv: Sequence[str], *, stdin: bool, tty: bool
    ) -> ExecSession:
        """Start a command beside the container's processes."""
        ...

    async def attach(self, pod: Object, container: str) -> ExecSession:
        """The output of the running container from now on, and its end."""
        ...

    async def connect(self, pod: Object, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection to a port of the pod. Raises OSError where nobody listens."""
        ...

    async def node_proxy(self, node: str, path: str) -> tuple[int, str, bytes]:
        """GET ``path`` of the kubelet's own HTTP server: (status, content type, body)."""
        ...


class ApiExtension(Protocol):
    """An API group served by somebody else in the process. ``resources`` feed discovery."""

    group: str
    version: str

    @property
    def resources(self) -> Sequence[Resource]: ...

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        """Answer GET of ``path`` relative to ``/apis/GROUP/VERSION/``; the object is sent as JSON.
        Raises ApiError."""
        ...
