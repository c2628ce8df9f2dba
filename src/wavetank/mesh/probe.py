"""Asking Envoy itself which route a request takes: its own matcher, on a copy that answers instead of acting.

Every route configuration is copied with each action replaced by a direct response that names the virtual
host and the route's number; a listener on a unix socket serves it. Header mutations, faults and redirects to
TLS are taken out, since they would act before or around the answer.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from wavetank.clock import Clock
from wavetank.errors import InternalError
from wavetank.mesh.envoy import Envoy, EnvoyFiles
from wavetank.mesh.matching import Request
from wavetank.mesh.translate.listeners import http_connection_manager

__all__ = ["Answer", "Probe", "probe_config", "probe_routes"]

_KEPT = ("name", "match")
_MARK = "x-wavetank-probe"


class Answer(msgspec.Struct, frozen=True):
    """Envoy's choice: the virtual host's name and the number of the route in it."""

    vhost: str
    route: int


def probe_routes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The route configuration with direct responses for actions."""
    vhosts = []
    for vhost in config["virtual_hosts"]:
        routes = []
        for number, route in enumerate(vhost.get("routes") or ()):
            body = msgspec.json.encode(Answer(vhost["name"], number)).decode()
            response = {"status": 200, "body": {"inline_string": body}}
            mark = {"header": {"key": _MARK, "value": "1"}}
            kept = {key: route[key] for key in _KEPT if key in route}
            routes.append({**kept, "direct_response": response, "response_headers_to_add": [mark]})
        vhosts.append({"name": vhost["name"], "domains": vhost["domains"], "routes": routes})
    plain = {key: value for key, value in config.items() if key != "@type"}
    return {**plain, "virtual_hosts": vhosts}


def probe_config(routes: Mapping[str, Mapping[str, Any]], files: EnvoyFiles) -> dict[str, Any]:
    """A static bootstrap with one probe listener for each route configuration."""
    listeners = []
    for index, config in enumerate(routes.values()):
        manager = http_connection_manager(f"probe_{index}", None, route=probe_routes(config))
        listeners.append(
            {
                "name": f"probe_{index}",
                "address": {"pipe": {"path": str(_socket(files, index)), "mode": 0o600}},
                "filter_chains": [{"filters": [manager]}],
            }
        )
    return {
        "admin": {"address": {"pipe": {"path": str(files.admin_socket), "mode": 0o600}}},
        "static_resources": {"listeners": listeners},
    }


def _socket(files: EnvoyFiles, index: int) -> Path:
    return files.probe_socket.with_name(f"probe{index}.sock")


class Probe:
    """An Envoy that answers for the given route configurations (by name)."""

    def __init__(self, routes: Mapping[str, Mapping[str, Any]], files: EnvoyFiles) -> None:
        self._indices = {name: index for index, name in enumerate(routes)}
        self._files = files

    @classmethod
    @asynccontextmanager
    async def running(cls, routes: Mapping[str, Mapping[str, Any]], clock: Clock) -> AsyncIterator[Probe]:
        """A probe in a temporary Envoy of its own, ended on leaving.

        Raises InternalError with Envoy's words if it refuses the configuration.
        """
        with tempfile.TemporaryDirectory(prefix="wt-probe-") as folder:
            files = EnvoyFiles(Path(folder))
            envoy = Envoy(files, clock, config=probe_config(routes, files), name="envoy-probe")
            await envoy.start()
            try:
                while not await envoy.ready():
                    await clock.sleep(0.01)
                yield cls(routes, files)
            finally:
                await envoy.stop(1)

    async def ask(self, route_config: str, request: Request) -> Answer | None:
        """Envoy's choice in that route configuration; None where no route takes the request."""
        socket = str(_socket(self._files, self._indices[route_config]))
        headers = {"Host": request.host, **request.headers}
        connector = aiohttp.UnixConnector(socket)
        async with (
            aiohttp.ClientSession(connector=connector, skip_auto_headers=("User-Agent", "Accept")) as session,
            session.request(
                request.method,
                f"{request.scheme}://probe{request.path}",
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            body = await response.read()
            marked = _MARK in response.headers
        if marked and request.method != "HEAD":
            return msgspec.json.decode(body, type=Answer)
        if response.status == 404:
            return None
        raise InternalError(f"the probe answered {response.status}: {body[:200]!r}")
