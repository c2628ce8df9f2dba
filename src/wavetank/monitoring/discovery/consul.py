"""``consul_sd_configs``: targets from the services registered in Consul.

Mirrors discovery/consul and follows Consul's rules for blocking queries: the answer's ``X-Consul-Index`` is
handed back with the next question, which Consul then holds until something changed; an index that went
backwards is forgotten. One task watches the catalog for the names of services, one more each service.
Of the CONSUL_* environment variables those have an effect that have one in Prometheus: the token's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from wavetank.clock import Clock
from wavetank.monitoring.config.discovery import ConsulSD
from wavetank.monitoring.config.values import Secret
from wavetank.monitoring.discovery.body import read_body
from wavetank.monitoring.discovery.consul_targets import group_of_service, parse_entries
from wavetank.monitoring.discovery.group import Publish, TargetGroup
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient

__all__ = ["ConsulDiscovery", "next_index", "with_environment"]

_WATCH_SECONDS: Final = 120.0  # how long Consul is asked to hold a question
_GRACE_SECONDS: Final = 15.0  # Consul adds up to a sixteenth of the wait
_RETRY_SECONDS: Final = 15.0
_INDEX_MAX_DIGITS: Final = 20  # of an unsigned 64 bit number
# What metrics call a question, by its path; the others are for one service.
_CALLS: Final = {"/v1/agent/self": ("agent", "self"), "/v1/catalog/services": ("catalog", "services")}
_LOG = logging.getLogger(__name__)
T = TypeVar("T")

# Hears how long a question took, and which it was: endpoint and call.
Asked = Callable[[float, str, str], None]


def with_environment(config: ConsulSD, environment: Mapping[str, str]) -> ConsulSD:
    """The section with the token of ``CONSUL_HTTP_TOKEN_FILE`` or ``CONSUL_HTTP_TOKEN`` where it has none.

    A file that cannot be read is passed over, as Consul's client does.
    """
    if config.token:
        return config
    token = environment.get("CONSUL_HTTP_TOKEN", "")
    if path := environment.get("CONSUL_HTTP_TOKEN_FILE", ""):
        try:
            token = Path(path).read_text().strip()
        except OSError as error:
            _LOG.error("CONSUL_HTTP_TOKEN_FILE: %s", error)
            token = ""
    return msgspec.structs.replace(config, token=Secret(token)) if token else config


def next_index(last: int, got: int) -> int:
    """What to wait for after an answer. An index that went backwards (a restored or replaced server) starts
    anew with 0; an answer without an index counts as 1, so that the next question is held at all."""
    got = max(got, 1)
    return 0 if got < last else got


class ConsulDiscovery:
    """Watches one Consul agent; a failed question keeps the old targets."""

    def __init__(
        self,
        config: ConsulSD,
        clock: Clock,
        count_failure: Callable[[], None],
        environment: Mapping[str, str] | None = None,
        *,
        asked: Asked = lambda seconds, endpoint, call: None,
    ) -> None:
        self._config = config = with_environment(config, {} if environment is None else environment)
        self._clock = clock
        self._count_failure = count_failure
        self._agent = _Agent(config, clock, asked)

    async def run(self, publish: Publish) -> None:
        config = self._config
        try:
            datacenter = config.datacenter or await self._retried("its datacenter", self._agent.datacenter)
            async with asyncio.TaskGroup() as tasks:
                watches = _Watches(self, publish, datacenter, tasks)
                if not config.services or config.tags or config.filter:
                    await self._watch(
                        "the catalog", "/v1/catalog/services", [], config.filter, watches.follow_catalog
                    )
                for name in config.services:
                    watches.start(name)
        finally:
            await self._agent.close()

    async def watch_service(self, name: str, datacenter: str, publish: Publish) -> None:
        """Publish the group of one service whenever it changes, until cancelled."""
        separator = self._config.tag_separator

        def take(body: bytes) -> None:
            publish([group_of_service(name, datacenter, separator, parse_entries(body))])

        path = f"/v1/health/service/{quote(name, safe='')}"
        tags = [("tag", tag) for tag in self._config.tags]
        await self._watch(f"service {name}", path, tags, self._config.health_filter, take)

    async def _watch(
        self, what: str, path: str, query: list[tuple[str, str]], filter: str, take: Callable[[bytes], None]
    ) -> None:
        """Ask again and again, at most once every ``refresh_interval``, and hand on what changed."""
        index = 0

        async def ask() -> None:
            nonlocal index
            body, got = await self._agent.wait(path, query, filter, index)
            if got != index or not got:  # the same index: the wait ended without a change
                take(body)
                index = next_index(index, got)

        while True:
            started = self._clock.monotonic()
            await self._retried(what, ask)
            taken = self._clock.monotonic() - started
            await self._clock.sleep(max(self._config.refresh_interval.seconds - taken, 0.0))

    async def _retried(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except FETCH_ERRORS as error:
                self._count_failure()
                _LOG.error(
                    "consul discovery of %s at %s keeps the old targets: %s",
                    what,
                    self._config.server,
                    error or type(error).__name__,
                )
            await self._clock.sleep(_RETRY_SECONDS)

    def wants(self, name: str, tags: list[str]) -> bool:
        """Whether a service of the catalog is to be watched: by its name and by having all the tags."""
        config = self._config
        return (not config.services or name in config.services) and set(config.tags) <= set(tags)


class _Watches:
    """The services that are being watched."""

    def __init__(
        self, discovery: ConsulDiscovery, publish: Publish, datacenter: str, tasks: asyncio.TaskGroup
    ) -> None:
        self._discovery = discovery
        self._publish = publish
        self._datacenter = datacenter
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str) -> None:
        watch = self._discovery.watch_service(name, self._datacenter, self._publish)
        self._running[name] = self._tasks.create_task(watch)

    def follow_catalog(self, body: bytes) -> None:
        """Raises ValueError for a body that is not a map from names to tags."""
        catalog = msgspec.json.decode(body, type=dict[str, list[str] | None] | None) or {}
        for name in [name for name in self._running if name not in catalog]:
            self._running.pop(name).cancel()
            self._publish([TargetGroup(name)])
        for name, tags in catalog.items():
            if name not in self._running and self._discovery.wants(name, tags or []):
                self.start(name)


class _Agent:
    """The HTTP API of one Consul agent."""

    def __init__(self, config: ConsulSD, clock: Clock, asked: Asked) -> None:
        self._config = config
        self._clock = clock
        self._asked = asked
        self._client = HTTPClient(config.client(), clock)
        self._base, self._socket = _address(config)

    async def close(self) -> None:
        await self._client.close()

    async def datacenter(self) -> str:
        """The agent's own. Raises one of FETCH_ERRORS."""
        body, _index = await self._get("/v1/agent/self", [])
        match msgspec.json.decode(body):
            case {"Config": {"Datacenter": str(name)}}:
                return name
        raise ValueError("the agent's answer has no Config.Datacenter")

    async def wait(
        self, path: str, more: list[tuple[str, str]], filter: str, index: int
    ) -> tuple[bytes, int]:
        """The body and index of a blocking query; index 0 is answered at once. Raises one of FETCH_ERRORS."""
        query = [*more, *(("node-meta", f"{key}:{value}") for key, value in self._config.node_meta.items())]
        query += [("filter", filter)] if filter else []
        query += [("stale", "")] if self._config.allow_stale else []
        query += [("index", str(index))] if index else []
        return await self._get(path, [*query, ("wait", f"{_WATCH_SECONDS * 1000:.0f}ms")])

    async def _get(self, path: str, query: list[tuple[str, str]]) -> tuple[bytes, int]:
        config = self._config
        places = (("dc", config.datacenter), ("ns", config.namespace), ("partition", config.partition))
        asked = urlencode([*((key, value) for key, value in places if value), *query])
        headers = {"Accept": "application/json", "User-Agent": "Prometheus/3.14.0"}
        if config.token:
            headers["X-Consul-Token"] = config.token.reveal()
        began = self._clock.monotonic()
        async with self._client.request(
            "GET",
            f"{self._base}{path}" + (f"?{asked}" if asked else ""),
            headers=headers,
            timeout_seconds=_WATCH_SECONDS + _GRACE_SECONDS,
            unix_socket=self._socket,
        ) as response:
            body = await read_body(response)
            if response.status != 200:
                said = body[:200].decode("utf-8", "replace").strip()
                raise ValueError(f"Consul answered {response.status}: {said}")
            self._asked(self._clock.monotonic() - began, *_CALLS.get(path, ("catalog", "service")))
            return body, _index_of(response.headers.get("X-Consul-Index", ""))


def _address(config: ConsulSD) -> tuple[str, str]:
    """The URL before ``/v1`` and the unix socket, if it is one; a scheme in ``server`` goes before ours."""
    kind, _, rest = config.server.strip().rpartition("://")
    prefix = config.path_prefix.strip("/")
    path = f"/{prefix}" if prefix else ""
    if kind == "unix":
        return f"http://localhost{path}", rest
    scheme = "https" if "https" in (kind, config.scheme) else "http"
    return f"{scheme}://{rest.rstrip('/')}{path}", ""


def _index_of(text: str) -> int:
    """Raises ValueError for an index that is not a number; 0 when there is none."""
    if text and not (text.isascii() and text.isdigit() and len(text) <= _INDEX_MAX_DIGITS):
        raise ValueError(f'X-Consul-Index "{text[:40]}" is not a number')
    return int(text or 0)
