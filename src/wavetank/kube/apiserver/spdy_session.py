"""Exec and attach over SPDY streams: one for each of stdin, stdout, stderr, the terminal's size, and errors.

Mirrors ``v4.channel.k8s.io`` as ``k8s.io/apimachinery/pkg/util/httpstream/spdy`` carries it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from wavetank.errors import InputError
from wavetank.kube.apiserver.channels import DRAIN_SECONDS, exit_status
from wavetank.kube.apiserver.spdy import DataFrame, Ping, SpdyCodec, SynStream, data_frame, ping_frame
from wavetank.kube.apiserver.spdy_upgrade import SpdyConnection
from wavetank.kube.providers import ExecSession

__all__ = ["SpdyStreams"]

_KINDS = frozenset({"error", "stdin", "stdout", "stderr", "resize"})


@dataclass(slots=True)
class SpdyStreams:
    """The streams of one connection; ``wanted`` are those the client is going to open."""

    connection: SpdyConnection
    wanted: frozenset[str]
    _codec: SpdyCodec = field(default_factory=SpdyCodec)
    _numbers: dict[str, int] = field(default_factory=dict)
    _kinds: dict[int, str] = field(default_factory=dict)
    _early: list[DataFrame] = field(default_factory=list)

    async def open(self) -> bool:
        """Wait for all the streams; False where the client leaves before."""
        while not self.wanted <= self._numbers.keys():
            data = await self.connection.receive()
            if not data:
                return False
            self._early += await self._take(data)
        return True

    async def _take(self, data: bytes) -> list[DataFrame]:
        """Answer what opens streams and asks for life; returns the data."""
        found: list[DataFrame] = []
        for frame in self._codec.feed(data):
            match frame:
                case SynStream():
                    kind = frame.headers.get("streamtype", "")
                    if kind not in _KINDS or kind in self._numbers:
                        raise InputError(f"a stream of type {kind!r}")
                    self._numbers[kind] = frame.stream
                    self._kinds[frame.stream] = kind
                    await self.connection.send(self._codec.reply(frame.stream))
                case DataFrame():
                    found.append(frame)
                case Ping():
                    await self.connection.send(ping_frame(frame.number))
        return found

    async def serve(self, session: ExecSession) -> None:
        """Connect a session to the streams until either ends."""
        receiving = asyncio.ensure_future(self._receive(session))
        sending = asyncio.ensure_future(self._send(session))
        try:
            await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)
            await session.close()

    async def _receive(self, session: ExecSession) -> None:
        frames, self._early = self._early, []
        while True:
            for frame in frames:
                await self._deliver(session, frame)
            data = await self.connection.receive()
            if not data:
                return
            frames = await self._take(data)

    async def _deliver(self, session: ExecSession, frame: DataFrame) -> None:
        kind = self._kinds.get(frame.stream)
        if kind == "stdin":
            if frame.data:
                await session.write(frame.data)
            if frame.fin:
                session.close_stdin()
        elif kind == "resize" and frame.data:
            with suppress(msgspec.DecodeError, KeyError, TypeError, ValueError, OSError):
                size = msgspec.json.decode(frame.data)
                session.resize(int(size["Width"]), int(size["Height"]))

    async def _send(self, session: ExecSession) -> None:
        passing = asyncio.ensure_future(self._pass_on(session))
        try:
            code = await session.wait()
            await asyncio.wait({passing}, timeout=DRAIN_SECONDS)
        finally:
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)
        await self.finish(exit_status(code))

    async def _pass_on(self, session: ExecSession) -> None:
        async for stream, data in session.output():
            if stream in self._numbers:
                await self.connection.send(data_frame(self._numbers[stream], data))

    async def finish(self, status: Mapping[str, Any]) -> None:
        """The final Status, and the end of all that is sent."""
        with suppress(ConnectionError):
            for kind in ("stdout", "stderr"):
                if kind in self._numbers:
                    await self.connection.send(data_frame(self._numbers[kind], b"", fin=True))
            await self.connection.send(
                data_frame(self._numbers["error"], msgspec.json.encode(status), fin=True)
            )
