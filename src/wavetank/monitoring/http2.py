"""One connection on which both sides speak HTTP/2: many requests at once, each body read at its own speed.

Does what golang.org/x/net/http2's Transport does for Prometheus' clients (RFC 9113); the frames are h2's.
A body waits in the flow control window until it is read, so that a slow reader bounds the sender. Left out on
purpose: server push (switched off in the settings), priorities, trailers, and HTTP/2 without TLS.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import msgspec
from multidict import CIMultiDict

from wavetank.clock import Clock
from wavetank.limits import (
    HTTP2_CONNECTION_WINDOW_BYTES,
    HTTP2_STREAM_WINDOW_BYTES,
    HTTP2_WAITING_WRITES_MAX,
)

__all__ = ["Answer", "Body", "HTTP2Connection", "HTTP2Error", "Refused", "Response"]

# It would show every header, credentials among them, in a log of level debug.
logging.getLogger("hpack").setLevel(logging.WARNING)

_FRAME_HEAD: Final = 9
_GOAWAY: Final = 7
# As upstream: asked after a minute of silence, given up when that is not answered either.
_SILENT_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 15.0
_NOT_IN_HTTP2: Final = frozenset(
    ("connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")
)


class HTTP2Error(OSError):
    """The connection or one request on it failed."""


class Refused(HTTP2Error):
    """The request was not worked on, and can be sent again on another connection."""


class Body(Protocol):
    """A body that is still arriving."""

    async def readany(self) -> bytes: ...

    async def read(self, n: int = -1) -> bytes: ...

    def iter_any(self) -> AsyncIterator[bytes]: ...


class Response(Protocol):
    """What HTTP/1.1 and HTTP/2 answers have in common: an aiohttp.ClientResponse is one."""

    @property
    def status(self) -> int: ...

    @property
    def reason(self) -> str | None: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content(self) -> Body: ...

    async def json(self) -> Any: ...


class HTTP2Connection(asyncio.Protocol):
    """Made for one transport, whose ALPN chose ``h2``."""

    def __init__(self, clock: Clock, idle_seconds: float) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._transport: Any = None
        self._streams: dict[int, _Stream] = {}
        self._buffer = bytearray()
        self._may_write = asyncio.Event()
        self._agreed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._paused = False
        self._going_away = False
        self._active_at = self._heard_at = clock.monotonic()
        self._watching: asyncio.Task[None] | None = None
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self._h2 = h2.connection.H2Connection(config)

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    @property
    def has_room(self) -> bool:
        """Whether another request may begin here."""
        if self._transport is None or self._going_away:
            return False
        try:
            return self._h2.open_outbound_streams < self._h2.remote_settings.max_concurrent_streams
        except h2.exceptions.ProtocolError:
            return False

    async def agreed(self) -> None:
        """Returns once the other side has said how many requests it takes. Raises HTTP2Error."""
        await self._agreed

    async def request(
        self, method: str, authority: str, target: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answer:
        """The answer with its body unread; ``release`` it. Raises HTTP2Error; Refused if the
        request may be sent again."""
        stream = self._begin(method, authority, target, headers, ends=not data)
        try:
            if data:
                await self._send(stream, data)
            return await stream.head
        except BaseException:
            self.end(stream)
            raise

    def _begin(
        self, method: str, authority: str, target: str, headers: Mapping[str, str], *, ends: bool
    ) -> _Stream:
        if not self.has_room:
            raise Refused("the HTTP/2 connection takes no more requests")
        fields = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", target)]
        lowered = ((name.lower(), value) for name, value in headers.items())
        fields += [(name, value) for name, value in lowered if name not in _NOT_IN_HTTP2]
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, fields, end_stream=ends)
        except h2.exceptions.NoAvailableStreamIDError as error:
            self._going_away = True
            raise Refused(str(error)) from None
        except h2.exceptions.H2Error as error:
            raise HTTP2Error(f"the request cannot be sent: {error}") from None
        self._streams[number] = stream = _Stream(self, number, sent=ends)
        self._flush()
        return stream

    async def _send(self, stream: _Stream, data: bytes) -> None:
        """The request's body, as fast as the windows allow; less of it if the answer comes first."""
        at = 0
        while at < len(data) and stream.number in self._streams and not stream.reset:
            window = self._h2.local_flow_control_window(stream.number)
            size = min(window, self._h2.max_outbound_frame_size, len(data) - at)
            if size <= 0 or self._paused:
                self._may_write.clear()
                await self._may_write.wait()
                continue
            self._h2.send_data(stream.number, data[at : at + size], end_stream=at + size == len(data))
            at += size
            stream.sent = at == len(data)
            self._flush()

    def end(self, stream: _Stream) -> None:
        """The request is over for our side: what still comes for it is not wanted."""
        if self._streams.pop(stream.number, None) is None or self._transport is None:
            return
        stream.drop()
        if not (stream.ended and stream.sent) and not stream.reset:
            try:
                self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
            except h2.exceptions.H2Error:  # both sides had closed it
                pass
        self._flush()
        self._active_at = self._clock.monotonic()
        if self._going_away and not self._streams:
            self.close()

    def consumed(self, number: int, size: int) -> None:
        """``size`` bytes of flow control were read: the other side may send as many more."""
        if self._transport is not None and size:
            try:
                self._h2.acknowledge_received_data(size, number)
            except h2.exceptions.H2Error:  # the stream is closed
                return
            self._flush()

    def close(self) -> None:
        if self._transport is not None:
            self._lost(HTTP2Error("the connection was closed"))

    # --- transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: HTTP2_STREAM_WINDOW_BYTES,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(HTTP2_CONNECTION_WINDOW_BYTES - 65_535)
        self._flush()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def data_received(self, data: bytes) -> None:
        """Hands h2 one frame at a time. GOAWAY is kept from it: h2 would take nothing after that, while
        the requests that the other side still answers go on."""
        self._heard_at = self._clock.monotonic()
        buffer = self._buffer
        buffer += data
        try:
            while len(buffer) >= _FRAME_HEAD:
                size = _FRAME_HEAD + int.from_bytes(buffer[:3], "big")
                if size > _FRAME_HEAD + self._h2.max_inbound_frame_size:
                    raise ValueError(f"a frame of {size - _FRAME_HEAD} bytes")
                if len(buffer) < size:
                    break
                frame = bytes(buffer[:size])
                del buffer[:size]
                if frame[3] == _GOAWAY:
                    self._on_goaway(frame[_FRAME_HEAD:])
                    continue
                for event in self._h2.receive_data(frame):
                    self._on_event(event)
                if self._transport is None:
                    return
        except (h2.exceptions.H2Error, ValueError) as error:
            self._flush()  # says why
            self._lost(HTTP2Error(f"malformed HTTP/2 response: {error}"))
            return
        self._flush()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._may_write.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(HTTP2Error(str(error or "unexpected EOF")))

    def _lost(self, error: HTTP2Error) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if not self._agreed.done():
            self._agreed.set_exception(error)
            self._agreed.exception()  # seen: whoever waited may be gone
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.fail(error)
        self._may_write.set()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)
            # Acknowledgements for someone who asks and does not read.
            if self._transport.get_write_buffer_size() > HTTP2_WAITING_WRITES_MAX:
                self._lost(HTTP2Error("the other side does not read"))

    # --- frames -------------------------------------------------------------------------------------

    def _on_goaway(self, payload: bytes) -> None:
        """Requests up to the last number are still answered; later ones were not looked at."""
        if len(payload) < 8:
            raise ValueError("a GOAWAY frame without its fields")
        last = int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF
        self._going_away = True
        for stream in [s for s in self._streams.values() if s.number > last]:
            del self._streams[stream.number]
            stream.fail(Refused("the server is going away"))
        self._may_write.set()
        if not self._streams:
            self.close()

    def _on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            self._may_write.set()
            if isinstance(event, h2.events.RemoteSettingsChanged) and not self._agreed.done():
                self._agreed.set_result(None)
            return
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, h2.events.DataReceived):
            if stream is None:  # cancelled: the connection's window is given back all the same
                self.consumed(event.stream_id or 0, event.flow_controlled_length or 0)
            else:
                stream.feed(event.data or b"", event.flow_controlled_length or 0)
        elif stream is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            stream.begin(event.headers or ())
        elif isinstance(event, h2.events.StreamEnded):
            stream.finish()
        elif isinstance(event, h2.events.StreamReset):
            self._on_reset(stream, event.error_code)

    def _on_reset(self, stream: _Stream, code: Any) -> None:
        stream.reset = True
        self._may_write.set()
        if code == h2.errors.ErrorCodes.REFUSED_STREAM:
            stream.fail(Refused("the server refused the stream"))
        elif code != h2.errors.ErrorCodes.NO_ERROR or not stream.head.done():
            name = getattr(code, "name", str(code))
            stream.fail(HTTP2Error(f"stream error: stream ID {stream.number}; {name}"))

    async def _watch(self) -> None:
        """Ends a connection that is idle for long, or that has died without a word."""
        wait = min(_SILENT_SECONDS, self._idle_seconds)
        while True:
            await self._clock.sleep(wait)
            now = self._clock.monotonic()
            if not self._streams:
                if now - self._active_at >= self._idle_seconds:
                    self.close()
                    return
            elif now - self._heard_at >= _SILENT_SECONDS:
                self._h2.ping(b"wavetank")
                self._flush()
                await self._clock.sleep(_ANSWER_SECONDS)
                if self._heard_at < now:
                    self._watching = None  # this task: it must not cancel itself
                    self._lost(HTTP2Error("the connection is dead: no answer to a ping"))
                    return


class _Stream:
    """One request and its answer."""

    def __init__(self, connection: HTTP2Connection, number: int, *, sent: bool) -> None:
        self.number = number
        self.sent = sent  # the request is complete
        self.head: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.ended = False  # the answer is complete
        self.reset = False
        self._connection = connection
        self._parts: deque[tuple[bytes, int]] = deque()
        self._error: HTTP2Error | None = None
        self._waiter: asyncio.Future[None] | None = None

    def begin(self, fields: Sequence[tuple[Any, Any]]) -> None:
        if not self.head.done():
            headers = CIMultiDict((str(name), str(value)) for name, value in fields)
            self.head.set_result(Answer(int(headers.popone(":status")), headers, self))

    def feed(self, part: bytes, size: int) -> None:
        self._parts.append((part, size))
        self._wake()

    def finish(self) -> None:
        self.ended = True
        self._wake()

    def fail(self, error: HTTP2Error) -> None:
        self._error = error
        if not self.head.done():
            self.head.set_exception(error)
            self.head.exception()  # seen: whoever waited may be gone
        self._wake()

    def drop(self) -> None:
        """Give back the window of what was not read."""
        size = sum(size for _, size in self._parts)
        self._parts.clear()
        self._connection.consumed(self.number, size)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def readany(self) -> bytes:
        """What is there, at least a byte; empty at the end. Raises HTTP2Error."""
        while True:
            while self._parts:
                part, size = self._parts.popleft()
                self._connection.consumed(self.number, size)
                if part:
                    return part
            if self.ended:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def read(self, n: int = -1) -> bytes:
        """At most ``n`` bytes of what is there; everything if ``n`` is negative."""
        if n < 0:
            return b"".join([part async for part in self.iter_any()])
        part = await self.readany()
        if len(part) > n:
            self._parts.appendleft((part[n:], 0))
        return part[:n]

    async def iter_any(self) -> AsyncIterator[bytes]:
        while part := await self.readany():
            yield part

    def release(self) -> None:
        self._connection.end(self)


class Answer:
    """A Response over HTTP/2, which has no reason phrases."""

    def __init__(self, status: int, headers: CIMultiDict[str], content: _Stream) -> None:
        self.status = status
        self.headers: Mapping[str, str] = headers
        self.content = content

    def release(self) -> None:
        """The answer is no longer wanted, whether read or not."""
        self.content.release()

    @property
    def reason(self) -> str | None:
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""

    async def json(self) -> Any:
        return msgspec.json.decode(await self.content.read())
