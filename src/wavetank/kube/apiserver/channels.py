"""Streams over one websocket: the first byte of a message is the channel it belongs to.

Mirrors ``v5.channel.k8s.io`` and ``v4.channel.k8s.io``: 0 stdin, 1 stdout, 2 stderr, 3 the final Status,
4 the terminal's size; version 5 adds 255, by which the client closes its input. For forwarded ports, channels
2n and 2n+1 are data and errors of the n-th port. Left out: base64 variants for browsers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from wavetank.kube.apiserver.port_forward import Connect, copy_out
from wavetank.kube.providers import ExecSession

__all__ = ["DRAIN_SECONDS", "PROTOCOLS", "end_session", "exit_status", "forward_ports", "serve_session"]

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _OUTPUTS, _STATUS, _RESIZE, _CLOSE = 0, {"stdout": 1, "stderr": 2}, 3, 4, 255
#: A command has ended, but what it left running holds its output: how long that is still passed on.
DRAIN_SECONDS: Final = 2.0


def exit_status(code: int) -> dict[str, Any]:
    """The Status that ends a session."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def serve_session(socket: WebSocket, session: ExecSession, wanted: Sequence[str]) -> None:
    """Connect a session to an accepted websocket until either ends. ``wanted`` are the outputs to pass on."""
    receiving = asyncio.ensure_future(_receive(socket, session))
    sending = asyncio.ensure_future(_send(socket, session, wanted))
    try:
        await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (receiving, sending):
            task.cancel()
        await asyncio.gather(receiving, sending, return_exceptions=True)
        await session.close()


async def _receive(socket: WebSocket, session: ExecSession) -> None:
    """Until the client is gone."""
    while (message := await next_message(socket)) is not None:
        channel, data = message[:1], message[1:]
        if channel == bytes([_STDIN]):
            await session.write(data)
        elif channel == bytes([_RESIZE]):
            with suppress(msgspec.DecodeError, KeyError, TypeError, ValueError, OSError):
                size = msgspec.json.decode(data)
                session.resize(int(size["Width"]), int(size["Height"]))
        elif message == bytes([_CLOSE, _STDIN]):
            session.close_stdin()


async def next_message(socket: WebSocket) -> bytes | None:
    """The next message as bytes; None when the client is gone."""
    received = await socket.receive()
    if received["type"] == "websocket.disconnect":
        return None
    data: bytes | None = received.get("bytes")
    return data if data is not None else str(received.get("text") or "").encode()


async def _send(socket: WebSocket, session: ExecSession, wanted: Sequence[str]) -> None:
    """All the output, then the Status, then the end."""
    passing = asyncio.ensure_future(_pass_on(socket, session, wanted))
    try:
        code = await session.wait()
        await asyncio.wait({passing}, timeout=DRAIN_SECONDS)
    finally:
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)
    await end_session(socket, exit_status(code))


async def end_session(socket: WebSocket, status: Mapping[str, Any]) -> None:
    """Send the final Status."""
    with suppress(WebSocketDisconnect):
        await socket.send_bytes(bytes([_STATUS]) + msgspec.json.encode(status))
        await socket.close()


async def _pass_on(socket: WebSocket, session: ExecSession, wanted: Sequence[str]) -> None:
    async for stream, data in session.output():
        if stream in wanted:
            await socket.send_bytes(bytes([_OUTPUTS[stream]]) + data)


async def forward_ports(socket: WebSocket, ports: Sequence[int], connect: Connect, pod: str) -> None:
    """Forward to each port one connection, until all are closed or the client is gone."""
    writers: dict[int, asyncio.StreamWriter] = {}
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))

    async def serve(index: int, port: int) -> None:
        try:
            reader, writers[index] = await connect(port)
        except OSError as error:
            text = f"error forwarding port {port} to pod {pod}: {(error.strerror or str(error)).lower()}"
            await socket.send_bytes(bytes([2 * index + 1]) + text.encode())
            return
        opened[index].set()
        with suppress(ConnectionError):
            await copy_out(reader, lambda data: socket.send_bytes(bytes([2 * index]) + data))

    opened = [asyncio.Event() for _ in ports]
    serving = asyncio.gather(*(serve(i, port) for i, port in enumerate(ports)))
    receiving = asyncio.ensure_future(_receive_ports(socket, writers, opened))
    try:
        ends: set[asyncio.Future[Any]] = {serving, receiving}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.close()
    finally:
        serving.cancel()
        receiving.cancel()
        await asyncio.gather(serving, receiving, return_exceptions=True)
        for writer in writers.values():
            writer.close()


async def _receive_ports(
    socket: WebSocket, writers: dict[int, asyncio.StreamWriter], opened: Sequence[asyncio.Event]
) -> None:
    while (message := await next_message(socket)) is not None:
        index, is_error = divmod(message[0], 2) if message else (len(opened), 0)
        if index < len(opened) and not is_error:
            await opened[index].wait()
            writers[index].write(message[1:])
            with suppress(ConnectionError):
                await writers[index].drain()
