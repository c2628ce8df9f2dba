"""Serving one application on its addresses until told to stop: what the smaller servers share.

``--web.listen-address``, ``--web.config.file`` and the check of the Host header, as `wavetank prometheus` has
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.types import ASGIApp

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.monitoring.listen import Listener, bind, is_loopback, serve
from wavetank.monitoring.web.front import Prefixed
from wavetank.monitoring.web.guard import Guard, GuardedApp
from wavetank.monitoring.web.hosts import HostCheck

__all__ = ["serve_application"]


async def serve_application(
    app: ASGIApp,
    clock: Clock,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    *,
    addresses: Sequence[str],
    config_file: Path | None = None,
    external_url: str = "",
    route_prefix: str = "",
) -> None:
    """Bind, tell ``ready`` the URL, and answer until ``stop``. Raises InputError where it cannot."""
    guard = Guard(config_file) if config_file is not None else None
    secure = guard is not None and guard.with_tls
    listeners: list[Listener] = []
    try:
        listeners.extend(bind(address, secure=secure) for address in addresses)
    except InputError:
        for listener in listeners:
            listener.close()
        raise
    if route_prefix.strip("/"):
        app = Prefixed(app, "/" + route_prefix.strip("/"))
    app = HostCheck(app, all(is_loopback(address) for address in addresses), external_url)
    if guard is not None:
        app = GuardedApp(app, guard, clock)
    ready(listeners[0].url)
    await serve(listeners, app, clock, stop, context=guard.context if guard is not None and secure else None)
