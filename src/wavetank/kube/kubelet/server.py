"""The kubelet's HTTP endpoints, and the seam by which the API server reaches the kubelets.

Paths as upstream's: /healthz, /pods, /metrics, /metrics/resource, /metrics/cadvisor, /metrics/probes,
/stats/summary. With a token, all but /healthz ask for it as a bearer token. Left out: exec, attach,
port-forward, /logs, /debug.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.clock import next_turn
from wavetank.errors import InputError
from wavetank.exposition.render import CONTENT_TYPE_TEXT, render_text
from wavetank.kube.client import ApiError, Object
from wavetank.kube.kubelet.cadvisor import cadvisor_families, resource_families, stats_summary
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.providers import ExecSession
from wavetank.serving import EmbeddedServer

__all__ = ["KubeletServer", "LocalKubelets", "kubelet_app", "kubelet_get"]

Answer = tuple[int, str, bytes]


def kubelet_get(kubelet: Kubelet, path: str) -> Answer:
    """GET of a path, without any HTTP: (status, content type, body)."""
    answer = _ROUTES.get(path.partition("?")[0].rstrip("/") or "/")
    if answer is None:
        return 404, "text/plain; charset=utf-8", b"404 page not found\n"
    kind, body = answer(kubelet)
    return 200, kind, body


def _pods(kubelet: Kubelet) -> tuple[str, bytes]:
    listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": kubelet.pods()}
    return "application/json", msgspec.json.encode(listed)


def _own(kubelet: Kubelet) -> tuple[str, bytes]:
    kubelet.count()
    return CONTENT_TYPE_TEXT, kubelet.metrics.own.text()


_ROUTES: Mapping[str, Callable[[Kubelet], tuple[str, bytes]]] = {
    "/healthz": lambda _: ("text/plain; charset=utf-8", b"ok"),
    "/pods": _pods,
    "/metrics": _own,
    "/metrics/probes": lambda k: (CONTENT_TYPE_TEXT, k.metrics.probes.text()),
    "/metrics/resource": lambda k: (CONTENT_TYPE_TEXT, render_text(resource_families(k.cadvisor))),
    "/metrics/cadvisor": lambda k: (CONTENT_TYPE_TEXT, render_text(cadvisor_families(k.cadvisor))),
    "/stats/summary": lambda k: (
        "application/json",
        msgspec.json.encode(stats_summary(k.cadvisor, k.started_at)),
    ),
}


def kubelet_app(kubelet: Kubelet, token: str = "") -> Starlette:
    """The endpoints as an ASGI application."""

    async def answer(request: Request) -> Response:
        path = request.url.path
        if token and path != "/healthz":
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), token.encode()):
                return Response("Unauthorized", 401)
        status, kind, body = kubelet_get(kubelet, path)
        return Response(body, status, media_type=kind)

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET"])])


class KubeletServer:
    """Serves the endpoints on the node's address; HTTPS where a certificate is given."""

    def __init__(
        self, kubelet: Kubelet, *, token: str, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        node = kubelet.node
        self._where = f"{node.ip}:{node.kubelet_port}"
        self._server = EmbeddedServer(
            uvicorn.Config(
                kubelet_app(kubelet, token),
                host=node.ip,
                port=node.kubelet_port,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                lifespan="off",
                log_config=None,
                access_log=False,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once connections are accepted. Raises InputError where the port is taken."""
        # uvicorn exits the process where it cannot bind, which is not wanted.
        self._task = asyncio.get_running_loop().create_task(self._serve(), name=f"kubelet {self._where}")
        while not self._server.started:
            await next_turn()
            if self._task.done():
                await self._task

    async def _serve(self) -> None:
        try:
            await self._server.serve()
        except SystemExit:
            raise InputError(
                f"cannot listen on {self._where}", fix="stop what uses the port, or give the node another"
            ) from None

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


class LocalKubelets:
    """The API server's ``KubeletProvider`` over kubelets in the same process."""

    def __init__(self) -> None:
        self._kubelets: dict[str, Kubelet] = {}

    def add(self, kubelet: Kubelet) -> None:
        self._kubelets[kubelet.node.name] = kubelet

    def remove(self, node: str) -> None:
        self._kubelets.pop(node, None)

    def get(self, node: str) -> Kubelet:
        """Raises ApiError where the node has no kubelet here."""
        found = self._kubelets.get(node)
        if found is None or found.failed:
            raise ApiError(503, "ServiceUnavailable", f'no kubelet answers for node "{node}"')
        return found

    def _of(self, pod: Object) -> Kubelet:
        node = str(pod["spec"].get("nodeName") or "")
        if not node:
            name = pod["metadata"]["name"]
            raise ApiError(400, "BadRequest", f"pod {name} does not have a host assigned")
        return self.get(node)

    async def logs(self, pod: Object, container: str, **options: Any) -> AsyncIterator[bytes]:
        """See ``wavetank.kube.providers.KubeletProvider``."""
        async for chunk in self._of(pod).logs(pod, container, **options):
            yield chunk

    async def execute(
        self, pod: Object, container: str, argv: Sequence[str], *, stdin: bool, tty: bool
    ) -> ExecSession:
        return await self._of(pod).execute(pod, container, argv, stdin=stdin, tty=tty)

    async def attach(self, pod: Object, container: str) -> ExecSession:
        return await self._of(pod).attach(pod, container)

    async def connect(self, pod: Object, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self._of(pod).connect(pod, port)

    async def node_proxy(self, node: str, path: str) -> Answer:
        return kubelet_get(self.get(node), "/" + path.lstrip("/"))
