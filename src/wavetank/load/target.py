"""Where load goes, and whether anything is there.

The address to connect to and the name that requests carry may differ, as with curl's ``--connect-to``: a
rehearsal's gateway listens on a loopback address, its users ask for the production host.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from wavetank.errors import InputError
from wavetank.limits import LOAD_CONNECT_SECONDS

__all__ = ["LoadTarget", "check_reachable"]


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """Where load goes: ``url`` is where to connect, ``host`` the name that requests carry, if another."""

    url: str
    host: str | None = None

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise InputError(f"{self.url!r} is not a URL to load", fix="write it as http://127.0.0.1:8080")
        return parts.hostname, port or (443 if parts.scheme == "https" else 80)

    @property
    def shown_url(self) -> str:
        """What users of the locustfile see as their host."""
        return self.url if self.host is None else f"{urlsplit(self.url).scheme}://{self.host}"

    @property
    def routes(self) -> list[str]:
        """Connections to redirect, as the child's ``--route`` takes them."""
        if self.host is None:
            return []
        ip, port = self.address
        named = urlsplit(self.shown_url)
        usual = named.port or (443 if named.scheme == "https" else 80)
        return [f"{named.hostname}:{p}={ip}:{port}" for p in sorted({usual, port})]


async def check_reachable(target: LoadTarget) -> None:
    """Connect once. Raises InputError if nothing accepts connections there."""
    host, port = target.address
    fix = "start the service first, or correct the URL"
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), LOAD_CONNECT_SECONDS)
    except TimeoutError:
        raise InputError(
            f"load target {target.url} is unreachable: no answer within {LOAD_CONNECT_SECONDS:g} s", fix=fix
        ) from None
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        raise InputError(f"load target {target.url} is unreachable: {reason}", fix=fix) from None
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
