"""Forwarded ports: SPDY streams in a tunnel (kubectl), or channels of a websocket (client libraries).

Mirrors ``portforward.k8s.io``: for each connection the client opens two streams with one request id, one for
data and one by which the server tells what went wrong. Left out: UDP, as upstream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from wavetank.errors import InputError
from wavetank.kube.apiserver.spdy import (
    DataFrame,
    GoAway,
    Ping,
    Reset,
    SpdyCodec,
    SynStream,
    data_frame,
    ping_frame,
)
from wavetank.limits import KUBE_FORWARDED_STREAMS_MAX

__all__ = ["Connect", "PortForward", "copy_out"]

_PIECE_BYTES = 32 * 1024

Send = Callable[[bytes], Awaitable[None]]
Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Connect to a port of the pod; raises OSError."""


@dataclass(slots=True)
class _Pair:
    """The two streams of one connection, 0 while not yet opened."""

    port: int
    data: int = 0
    error: int = 0
    writer: asyncio.StreamWriter | None = None
    #: What the client sent before the pod had answered.
    early: list[DataFrame] = field(default_factory=list)


@dataclass(slots=True)
class PortForward:
    """One tunnel. A pod that does not read holds up the tunnel's other connections: the protocol, as it is
    spoken, has no windows."""

    send: Send
    connect: Connect
    pod: str
    _codec: SpdyCodec = field(default_factory=SpdyCodec)
    _pairs: dict[str, _Pair] = field(default_factory=dict)
    _by_stream: dict[int, tuple[str, _Pair]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def feed(self, data: bytes) -> None:
        """Take what the client sent. Raises InputError where it is not the protocol."""
        for frame in self._codec.feed(data):
            match frame:
                case SynStream():
                    await self._open(frame)
                case DataFrame():
                    await self._write(frame)
                case Reset():
                    self._drop(frame.stream)
                case Ping():
                    await self.send(ping_frame(frame.number))
                case GoAway():
                    pass  # the client closes the connection when it is done

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pair in self._pairs.values():
            if pair.writer is not None:
                pair.writer.close()

    async def _open(self, frame: SynStream) -> None:
        kind, port = frame.headers.get("streamtype", ""), frame.headers.get("port", "")
        if kind not in ("data", "error") or not (port.isdigit() and 0 < int(port) < 65536):
            raise InputError(f"a forwarded stream of type {kind!r} to port {port!r}")
        if len(self._by_stream) >= KUBE_FORWARDED_STREAMS_MAX:
            raise InputError(f"more than {KUBE_FORWARDED_STREAMS_MAX} forwarded streams at a time")
        # Clients from before request ids open the error stream first and the data stream right after it.
        request = frame.headers.get("requestid") or str(frame.stream - (2 if kind == "data" else 0))
        pair = self._pairs.setdefault(request, _Pair(int(port)))
        if kind == "data":
            pair.data = frame.stream
        else:
            pair.error = frame.stream
        self._by_stream[frame.stream] = (request, pair)
        await self.send(self._codec.reply(frame.stream))
        if pair.data and pair.error:
            task = asyncio.get_running_loop().create_task(self._serve(request, pair), name="port-forward")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: str, pair: _Pair) -> None:
        try:
            reader, writer = await self.connect(pair.port)
        except OSError as error:
            text = f"error forwarding port {pair.port} to pod {self.pod}: {_reason(error)}"
            await self._finish(request, pair, text)
            return
        pair.writer = writer
        early, pair.early = pair.early, []
        for frame in early:
            await self._write(frame)
        try:
            await copy_out(reader, lambda data: self.send(data_frame(pair.data, data)))
            await self._finish(request, pair, "")
        except OSError as error:
            await self._finish(request, pair, f"error copying from pod port {pair.port}: {_reason(error)}")
        finally:
            writer.close()

    async def _finish(self, request: str, pair: _Pair, problem: str) -> None:
        """Say what went wrong, if anything, and close both streams."""
        self._pairs.pop(request, None)
        self._by_stream.pop(pair.data, None)
        self._by_stream.pop(pair.error, None)
        with suppress(OSError):  # the tunnel may be gone
            await self.send(data_frame(pair.error, problem.encode(), fin=True))
            await self.send(data_frame(pair.data, b"", fin=True))

    async def _write(self, frame: DataFrame) -> None:
        _, pair = self._by_stream.get(frame.stream, ("", None))
        if pair is None or frame.stream == pair.error:
            return
        if pair.writer is None:
            pair.early.append(frame)
            return
        with suppress(OSError):  # the reading side tells of a broken connection
            if frame.data:
                pair.writer.write(frame.data)
                await pair.writer.drain()
            if frame.fin and pair.writer.can_write_eof():
                pair.writer.write_eof()

    def _drop(self, stream: int) -> None:
        _, pair = self._by_stream.get(stream, ("", None))
        if pair is not None and pair.writer is not None:
            pair.writer.close()


async def copy_out(reader: asyncio.StreamReader, send: Send) -> None:
    """Send what is read, piece by piece, until there is no more."""
    while data := await reader.read(_PIECE_BYTES):
        await send(data)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
