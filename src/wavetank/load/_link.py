"""One Locust process and the channel to it, as the event loop sees them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from wavetank.clock import Clock
from wavetank.errors import InputError, InternalError, Location
from wavetank.limits import (
    LOAD_IMPORT_SECONDS_MAX,
    LOAD_MESSAGE_BYTES_MAX,
    LOAD_ORPHAN_SECONDS,
    LOAD_SILENCE_SECONDS,
)
from wavetank.load.messages import Command, Failed, Hello, Report
from wavetank.process import Child

__all__ = ["Link"]


class Link:
    """One Locust process and the channel to it."""

    def __init__(
        self,
        role: str,
        child: Child,
        writer: asyncio.StreamWriter,
        clock: Clock,
        on_end: Callable[[Link], None],
    ) -> None:
        self.role = role
        self.child = child
        self.workers = 0
        self.died = False
        self._heard_at = clock.monotonic()
        self._writer = writer
        self._clock = clock
        self._on_end = on_end
        self._greeting: asyncio.Future[Hello | Failed | None] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None
        self._encode = msgspec.json.Encoder().encode

    @classmethod
    async def open(
        cls,
        role: str,
        child: Child,
        ours: socket.socket,
        clock: Clock,
        on_report: Callable[[Link, Report], None],
        on_end: Callable[[Link], None],
    ) -> Link:
        reader, writer = await asyncio.open_connection(sock=ours, limit=LOAD_MESSAGE_BYTES_MAX)
        link = cls(role, child, writer, clock, on_end)
        link._reading = asyncio.create_task(link._read(reader, on_report), name=f"load-{role}")
        return link

    def index(self) -> int:
        return int(self.role.partition("-")[2] or 0)

    async def greeting(self, locustfile: Path) -> Hello:
        """The first report. Raises InputError for what is wrong with the locustfile."""
        try:
            found = await asyncio.wait_for(asyncio.shield(self._greeting), LOAD_IMPORT_SECONDS_MAX)
        except TimeoutError:
            raise InputError(
                f"importing the locustfile takes more than {LOAD_IMPORT_SECONDS_MAX:g} s",
                at=locustfile,
                fix="move work out of its top level, into on_start or a test_start listener",
            ) from None
        if isinstance(found, Hello):
            return found
        if found is None:
            code = await self.child.stop(0.5)
            raise self.death(f"ended with {code} before it was ready")
        raise InputError(found.message, at=Location(found.path or str(locustfile), found.line), fix=found.fix)

    async def _read(self, reader: asyncio.StreamReader, on_report: Callable[[Link, Report], None]) -> None:
        decode = msgspec.json.Decoder(Report).decode
        try:
            while line := await reader.readline():
                report = decode(line)
                self._heard_at = self._clock.monotonic()
                if isinstance(report, Hello | Failed) and not self._greeting.done():
                    self._greeting.set_result(report)
                else:
                    on_report(self, report)
        except (OSError, ValueError):
            pass  # a broken channel is a closed one
        finally:
            if not self._greeting.done():
                self._greeting.set_result(None)
            else:
                self._on_end(self)

    def death(self, how: str) -> InternalError:
        """What to raise when Locust ended by itself; the last line it wrote may say why."""
        last = self.child.tail(1).strip()
        return InternalError(f"Locust ({self.role}) {how}", at=self.child.log_path, fix=last or None)

    def send_now(self, command: Command) -> None:
        if not self._writer.is_closing():
            self._writer.write(self._encode(command) + b"\n")

    async def send(self, command: Command) -> None:
        self.send_now(command)
        with suppress(OSError):
            await self._writer.drain()

    @property
    def silent(self) -> bool:
        """Nothing came for so long that a task of the locustfile must be keeping everyone else out."""
        return self._clock.monotonic() - self._heard_at > LOAD_SILENCE_SECONDS

    async def close(self, grace_seconds: float = LOAD_ORPHAN_SECONDS) -> None:
        """Wait for the last reports, then make sure that the process ends."""
        if self.silent:
            grace_seconds = 0.0
        if self._reading is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._reading), grace_seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.child.wait(), grace_seconds)
        await self.child.stop(grace_seconds)
        if self._reading is not None:
            await self._reading
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
