"""Probes against real servers: what each kind asks, and the texts of its failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from wavetank.kube.kubelet.probes import ProbeSpec, http_get, run_probe

HOST = "127.0.0.1"


async def serve(answer: bytes | None) -> asyncio.Server:
    """A server that gives one answer, or None: none until the client has gone."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await (reader.read() if answer is None else reader.readuntil(b"\r\n\r\n"))
            writer.write(answer or b"")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(handle, HOST, 0)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def probe(action: str, timeout: float = 1.0, **detail: object) -> tuple[bool, str]:
    ports = [{"name": "web", "containerPort": detail.get("port", 1)}]
    return await run_probe(ProbeSpec(action, detail, timeout=timeout), None, HOST, ports)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", (True, "")),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", (True, "")),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", (False, "HTTP probe failed with statuscode: 404")),
        (b"HTTP/1.0 503 x\r\n\r\nbody", (False, "HTTP probe failed with statuscode: 503")),
    ],
)
async def test_http(answer: bytes, result: tuple[bool, str]) -> None:
    async with await serve(answer) as server:
        assert await probe("httpGet", port=port_of(server), path="/healthz") == result


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 abc\r\n"])
async def test_http_that_is_none(answer: bytes) -> None:
    async with await serve(answer) as server:
        success, message = await probe("httpGet", port=port_of(server))
        assert not success and "malformed HTTP response" in message


async def test_http_timeout_and_refusal() -> None:
    async with await serve(None) as server:
        port = port_of(server)
        success, message = await probe("httpGet", 0.05, port=port)
    assert not success
    assert message == (
        f'Get "http://{HOST}:{port}/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    )
    success, message = await probe("httpGet", port=port)
    assert message == f'Get "http://{HOST}:{port}/": dial tcp {HOST}:{port}: connect: connection refused'


async def test_http_sends_the_headers_asked_for() -> None:
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 x\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(handle, HOST, 0) as server:
        detail = {"port": port_of(server), "path": "ok", "httpHeaders": [{"name": "host", "value": "shop"}]}
        assert (await http_get(detail, HOST, (), 1.0))[1] == 204
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /ok HTTP/1.1"
    assert "Host: shop" in lines and "User-Agent: kube-probe/1.33" in lines


async def test_tcp_by_name_and_number() -> None:
    async with await serve(b"") as server:
        port = port_of(server)
        assert await run_probe(
            ProbeSpec("tcpSocket", {"port": "web"}),
            None,
            HOST,
            [{"name": "web", "containerPort": port}],  # type: ignore[arg-type]
        ) == (True, "")
    assert await probe("tcpSocket", port=port) == (
        False,
        f"dial tcp {HOST}:{port}: connect: connection refused",
    )
    assert await probe("tcpSocket", port="none") == (False, "couldn't find port: none")


@pytest.fixture
async def health() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A gRPC health service; the list holds what it answers."""
    answers: list[bytes] = []

    async def check(request: bytes, context: object) -> bytes:
        return answers[0]

    handler = grpc.unary_unary_rpc_method_handler(check)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    yield port, answers
    await server.stop(None)


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (b"\x08\x01", (True, "")),
        (b"\x08\x02", (False, 'service unhealthy (responded with "NOT_SERVING")')),
        (b"", (False, 'service unhealthy (responded with "UNKNOWN")')),
    ],
)
async def test_grpc(health: tuple[int, list[bytes]], answer: bytes, result: tuple[bool, str]) -> None:
    port, answers = health
    answers.append(answer)
    assert await probe("grpc", port=port, service="shop") == result
