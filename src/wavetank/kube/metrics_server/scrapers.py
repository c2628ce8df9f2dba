"""How the metrics server reaches the kubelets: in process, or over HTTPS as the real one does."""

from __future__ import annotations

import ssl
from typing import Protocol

import aiohttp

from wavetank.kube.client import ApiError, Object
from wavetank.kube.metrics_server.server import ScrapeError
from wavetank.limits import SCRAPE_BODY_BYTES_MAX

__all__ = ["HttpScraper", "LocalScraper", "NodeProxy"]

PATH_ANNOTATION = "metrics.k8s.io/resource-metrics-path"


class NodeProxy(Protocol):
    """The part of ``KubeletProvider`` that is needed."""

    async def node_proxy(self, node: str, path: str) -> tuple[int, str, bytes]: ...


class LocalScraper:
    """Asks kubelets of this process."""

    def __init__(self, kubelets: NodeProxy) -> None:
        self._kubelets = kubelets

    async def scrape(self, node: Object) -> bytes:
        try:
            status, _, body = await self._kubelets.node_proxy(node["metadata"]["name"], _path(node))
        except ApiError as error:
            raise ScrapeError(error.message) from None
        if status != 200:
            raise ScrapeError(f"request failed, status: {status}")
        return body


class HttpScraper:
    """Asks over HTTPS at the node's InternalIP and kubelet port, with a bearer token."""

    def __init__(self, session: aiohttp.ClientSession, token: str, context: ssl.SSLContext | bool) -> None:
        self._session = session
        self._token = token
        self._context = context

    async def scrape(self, node: Object) -> bytes:
        url = f"https://{_address(node)}:{_port(node)}{_path(node)}"
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            async with self._session.get(url, headers=headers, ssl=self._context) as response:
                if response.status != 200:
                    raise ScrapeError(f"request failed, status: {response.status} {response.reason}")
                body = await response.content.read(SCRAPE_BODY_BYTES_MAX + 1)
                while chunk := await response.content.read(SCRAPE_BODY_BYTES_MAX + 1 - len(body)):
                    body += chunk
        except (aiohttp.ClientError, OSError) as error:
            raise ScrapeError(f"unable to fetch metrics from node: {error}") from None
        if len(body) > SCRAPE_BODY_BYTES_MAX:
            raise ScrapeError(f"the answer is larger than {SCRAPE_BODY_BYTES_MAX} bytes")
        return body


def _path(node: Object) -> str:
    return (node["metadata"].get("annotations") or {}).get(PATH_ANNOTATION) or "/metrics/resource"


def _address(node: Object) -> str:
    for address in (node.get("status") or {}).get("addresses") or ():
        if address.get("type") == "InternalIP":
            return str(address["address"])
    raise ScrapeError(f"node {node['metadata']['name']} had no addresses that matched types [InternalIP]")


def _port(node: Object) -> int:
    endpoints = (node.get("status") or {}).get("daemonEndpoints") or {}
    return int((endpoints.get("kubeletEndpoint") or {}).get("Port") or 10250)
