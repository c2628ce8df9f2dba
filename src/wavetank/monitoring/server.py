"""The server: from a configuration to a running Prometheus, until told to stop.

Mirrors cmd/prometheus/main.go. It answers ``/-/healthy`` at once, while the kernels and the storage are
still being loaded; ``/-/ready`` turns to ready when the configuration is at work. A reload is atomic: a bad
configuration leaves the old one in force.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from wavetank.clock import Clock
from wavetank.errors import InputError, InternalError
from wavetank.journal import Journal
from wavetank.monitoring.config import Config, load_config
from wavetank.monitoring.config.check import check_agent, check_float_chunks
from wavetank.monitoring.config.load import expand_glob
from wavetank.monitoring.listen import Doorway, Listener, bind, is_loopback, serve
from wavetank.monitoring.notifications import CONFIGURATION_FAILED, SHUTTING_DOWN
from wavetank.monitoring.options import ServerOptions
from wavetank.monitoring.rules.load import RuleOptions, load_groups
from wavetank.monitoring.web.front import ReadTimeout
from wavetank.monitoring.web.guard import Guard, GuardedApp

if TYPE_CHECKING:
    from wavetank.monitoring.api.services import Services
    from wavetank.monitoring.parts import Parts
    from wavetank.tsdb.db import DB

__all__ = ["Server", "ServerOptions"]

_LOG = logging.getLogger(__name__)


class Server:
    """One server. ``run`` it once; ``reload`` takes the configuration file anew."""

    def __init__(
        self,
        config: Path | Config,
        storage_path: Path,
        clock: Clock,
        options: ServerOptions | None = None,
        *,
        journal: Journal | None = None,
        pages: Callable[[Services], Sequence[BaseRoute]] | None = None,
    ) -> None:
        """``pages`` gives routes that the server answers beside its own, such as those of a UI."""
        self.options = options or ServerOptions()
        self._source = config
        self._storage_path = storage_path
        self._clock = clock
        self._journal = journal
        self._pages = pages
        self._parts: Parts | None = None
        self._one_reload = asyncio.Lock()

    async def run(self, ready: Callable[[str], None], stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set; ``ready`` hears the URL once everything is at work.

        Raises InputError for a configuration, address or storage directory that cannot be used.
        """
        config = self._load()
        load_groups(config, RuleOptions(), restored=False)
        web = self.options.web
        guard = Guard(web.config_file) if web.config_file is not None else None
        listeners = self._bind(secure=guard is not None and guard.with_tls)
        listener = listeners[0]
        doorway = Doorway()
        app: ASGIApp = ReadTimeout(doorway, self._clock, web.read_timeout_seconds)
        serving = asyncio.create_task(
            serve(
                listeners,
                app if guard is None else GuardedApp(app, guard, self._clock),
                self._clock,
                stop,
                context=guard.context if guard is not None and guard.with_tls else None,
                admits=guard.admits if guard is not None else lambda certificate: True,
                connections_max=web.connections_max,
                idle_seconds=web.read_timeout_seconds,
                shortcut=lambda: doorway.shortcut if guard is None else None,
            )
        )
        try:
            db = await asyncio.to_thread(self._open, config)
            try:
                await self._serve(config, db, listener, doorway, serving, ready, stop)
            finally:
                await asyncio.to_thread(db.close)
        finally:
            stop.set()
            await asyncio.gather(serving, return_exceptions=True)

    def _bind(self, *, secure: bool) -> list[Listener]:
        """All addresses or none. Raises InputError."""
        bound: list[Listener] = []
        try:
            addresses = (self.options.listen_address, *self.options.web.listen_also)
            bound.extend(bind(address, secure=secure) for address in addresses)
        except InputError:
            for listener in bound:
                listener.close()
            raise
        return bound

    def _open(self, config: Config) -> DB:
        """The storage. Imported here: loading the kernels takes longer than all else at the start."""
        from wavetank.monitoring import parts
        from wavetank.monitoring.storage_options import storage_options
        from wavetank.tsdb.db import DB

        assert parts
        # Replay goes on in the background: scrapes are stored, queries answered, rules wait for its end.
        options = storage_options(self.options.storage, config)
        return DB.open(self._storage_path, options, self._clock, background=True)

    def _warm(self) -> None:
        from wavetank.monitoring.warm import warm_kernels

        warm_kernels(self._clock)
        if self.options.enable_remote_write_receiver:
            from wavetank.monitoring.remote.receive import warm as warm_receiving

            warm_receiving()
        if self.options.enable_search:
            from wavetank.monitoring.api.scoring import warm as warm_searching

            warm_searching()

    async def reload(self) -> None:
        """Read the configuration and put it to work. Raises InputError, and the old one stays."""
        parts = self._parts
        if parts is None:
            raise InputError("the server is not ready", fix="try again in a moment")
        async with self._one_reload:
            try:
                config = self._load()
                groups = parts.load_groups(config, restored=True)
            except InputError:
                parts.state.reload_ok = False
                parts.notifications.set(CONFIGURATION_FAILED, True)
                parts.metrics.reload_ok.set(0)
                raise
            await parts.apply(config, groups)
            parts.state.reload_ok = True
            parts.notifications.set(CONFIGURATION_FAILED, False)
            _LOG.info("configuration reloaded")

    def _load(self) -> Config:
        config = load_config(self._source) if isinstance(self._source, Path) else self._source
        if self.options.agent is not None:
            check_agent(config)
        storage = self.options.storage
        check_float_chunks(config, storage.float_chunks, with_starts=storage.start_storage)
        return config

    def _external_url(self, listen_url: str) -> str:
        if self.options.external_url:
            return self.options.external_url.rstrip("/")
        if listen_url.startswith("unix:"):
            return "http://localhost"
        scheme = listen_url.partition(":")[0]
        return f"{scheme}://{socket.gethostname()}:{listen_url.rpartition(':')[2]}"

    async def _serve(
        self,
        config: Config,
        db: DB,
        listener: Listener,
        doorway: Doorway,
        serving: asyncio.Task[None],
        ready: Callable[[str], None],
        stop: asyncio.Event,
    ) -> None:
        from wavetank.monitoring.parts import Parts

        self._parts = parts = Parts(
            self.options,
            config,
            db,
            self._clock,
            external_url=self._external_url(listener.url),
            loopback_only=all(
                is_loopback(a) for a in (self.options.listen_address, *self.options.web.listen_also)
            ),
            reload=self.reload,
            quit=stop.set,
            journal=self._journal,
            pages=self._pages,
        )
        watching = asyncio.create_task(self._auto_reload())
        try:
            doorway.app, doorway.shortcut = parts.app.asgi, parts.app.at_once
            await asyncio.to_thread(self._warm)
            await parts.apply(config, parts.load_groups(config, restored=False))
            parts.set_ready()
            ready(listener.url)
            await serving
            if not stop.is_set():
                raise InternalError("the HTTP server ended by itself")
        finally:
            stop.set()
            parts.notifications.set(SHUTTING_DOWN, True)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await parts.close()

    async def _auto_reload(self) -> None:
        """``--config.auto-reload``: reload when the files' content changed."""
        wait = self.options.auto_reload_seconds
        if not wait or not isinstance(self._source, Path):
            return
        before = self._fingerprint(self._source)
        while True:
            await self._clock.sleep(wait)
            now = self._fingerprint(self._source)
            if now == before:
                continue
            before = now
            try:
                await self.reload()
            except InputError as error:
                _LOG.error("the changed configuration is not used: %s", error)

    def _fingerprint(self, path: Path) -> str:
        """A hash over the configuration and all files it names."""
        digest = hashlib.sha256()
        names = [path]
        if self._parts is not None:
            config = self._parts.state.config
            for pattern in [*config.rule_files, *config.scrape_config_files]:
                names += expand_glob(path.parent / pattern)
        for name in names:
            if name.exists():
                digest.update(name.read_bytes())
        return digest.hexdigest()
