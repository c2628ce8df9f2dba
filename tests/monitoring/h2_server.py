"""A TLS server that speaks HTTP/2 alone, by h2 itself: for tests of clients."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings

# (headers of the request, its body) -> (status, headers, body)
Answer = Callable[[dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


class H2Server:
    """``protocols`` hold what is connected; ``seen`` the requests in the order they came."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.protocols: list[Connection] = []
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.port = 0
        self.streams_max: int | None = None
        self.held = False  # answers are kept back until ``release``

    def release(self) -> None:
        self.held = False
        for protocol in self.protocols:
            for number in list(protocol.waiting):
                protocol.reply(number)

    @property
    def resets(self) -> int:
        return sum(protocol.resets for protocol in self.protocols)


class Connection(asyncio.Protocol):
    def __init__(self, server: H2Server) -> None:
        self.server = server
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.transport: Any = None
        self.waiting: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.rest: dict[int, bytes] = {}
        self.resets = 0
        self.sent = 0
        self.is_open = True

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.server.streams_max is not None:
            most = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.server.streams_max}
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=most)
        self.h2.initiate_connection()
        self.flush()
        self.server.protocols.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.waiting[event.stream_id] = (dict(event.headers), bytearray())  # type: ignore[arg-type]
            elif isinstance(event, h2.events.DataReceived):
                self.waiting[event.stream_id][1].extend(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                if not self.server.held:
                    self.reply(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.resets += 1
                self.waiting.pop(event.stream_id, None)
                self.rest.pop(event.stream_id, None)
            elif isinstance(event, h2.events.WindowUpdated):
                for number in list(self.rest):
                    self.go_on(number)
        self.flush()

    def reply(self, number: int) -> None:
        headers, body = self.waiting.pop(number)
        self.server.seen.append((headers, bytes(body)))
        status, more, answer = self.server.answer(headers, bytes(body))
        self.h2.send_headers(number, [(":status", str(status)), *more.items()])
        self.rest[number] = answer
        self.go_on(number)
        self.flush()

    def go_on(self, number: int) -> None:
        """As much of an answer as the window takes."""
        rest = self.rest[number]
        while rest and (
            room := min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
        ):
            self.h2.send_data(number, rest[:room])
            self.sent += len(rest[:room])
            rest = rest[room:]
        self.rest[number] = rest
        if not rest:
            del self.rest[number]
            self.h2.end_stream(number)

    def go_away(self, last: int) -> None:
        """GOAWAY, written by hand: h2 would send nothing after it."""
        self.transport.write(b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + b"\0\0\0\0")

    def flush(self) -> None:
        if self.transport is not None and (data := self.h2.data_to_send()):
            self.transport.write(data)


@asynccontextmanager
async def h2_server(context: ssl.SSLContext, answer: Answer) -> AsyncIterator[H2Server]:
    """On a loopback port of its own; clients that do not offer ``h2`` are turned away."""
    context.set_alpn_protocols(["h2"])
    server = H2Server(answer)

    class Door(Connection):
        def connection_made(self, transport: Any) -> None:
            if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
                transport.abort()
                return
            super().connection_made(transport)

    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Door(server), "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for protocol in server.protocols:
            protocol.transport.abort()
        await listening.wait_closed()
