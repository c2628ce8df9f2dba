"""Small queries answered without a task or a thread: who answers what, and that nobody can tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from wavetank.clock import RealClock
from wavetank.limits import AT_ONCE_CPU_SECONDS_MAX, AT_ONCE_QUERIES_MAX, AT_ONCE_SAMPLES_MAX
from wavetank.monitoring.listen import bind, serve
from wavetank.monitoring.small_queries import SmallQueries
from wavetank.promql.context import QueryContext

QUERY = "GET /api/v1/query?query=up HTTP/1.1\r\nHost: a\r\n\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


class Knows:
    """A shortcut that answers everything but what contains ``unknown``."""

    def admits(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        return (b"host", b"stranger") not in headers

    def answer(self, path: str, fields: bytes) -> bytes | None:
        return None if b"unknown" in fields else f"shortcut {path} {fields.decode()}".encode()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    body = (await request.body()).decode()
    await PlainTextResponse(f"application {scope['path']} {body}")(scope, receive, send)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    listener, stop = bind("127.0.0.1:0"), asyncio.Event()
    shortcut = Knows()
    task = asyncio.create_task(serve([listener], application, RealClock(), stop, shortcut=lambda: shortcut))
    reader, writer = await asyncio.open_connection(*listener.socket.getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        stop.set()
        await task


async def answer(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        return (await reader.readexactly(length)).decode()


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        (QUERY, "shortcut /api/v1/query query=up"),
        (QUERY.replace("query?", "query_range?"), "shortcut /api/v1/query_range query=up"),
        (QUERY.replace("Host: a", "Host: a\r\nAccept: */*"), "shortcut /api/v1/query query=up"),
        (QUERY.replace("Host: a", "Host: a\r\nConnection: keep-alive"), "shortcut /api/v1/query query=up"),
        ("POST /api/v1/query HTTP/1.1\r\nHost: a\r\n" + FORM + "Content-Length: 8\r\n\r\nquery=up", "shortcut /api/v1/query query=up"),
        (QUERY.replace("up", "unknown"), "application /api/v1/query "),
        (QUERY.replace("Host: a", "Host: stranger"), "application /api/v1/query "),
        (QUERY.replace("query?", "series?"), "application /api/v1/series "),
        (QUERY.replace("query?query=up", "query"), "shortcut /api/v1/query "),
        (QUERY.replace("GET", "PUT"), "application /api/v1/query "),
        (QUERY.replace("Host: a", "Host: a\r\nHost: b"), "application /api/v1/query "),
        (QUERY.replace("Host: a", "Host: a\r\nContent-Encoding: gzip"), "application /api/v1/query "),
        (QUERY.replace("Host: a", "Host: a\r\nContent-Length: 2") + "ab", "application /api/v1/query ab"),
        ("POST /api/v1/query?time=1 HTTP/1.1\r\nHost: a\r\n" + FORM + "Content-Length: 1\r\n\r\na", "application /api/v1/query a"),
        ("POST /api/v1/query HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", "application /api/v1/query a"),
        ("POST /api/v1/query HTTP/1.1\r\nHost: a\r\n" + FORM + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "application /api/v1/query a"),
    ],
)  # fmt: skip
async def test_the_first_request_with_these_headers_goes_to_the_application(
    request_text: str, expected: str
) -> None:
    async with served() as (reader, writer):
        for turn in range(3):
            writer.write(request_text.encode())
            said = await answer(reader)
            if turn:
                assert said == expected
            else:
                assert said.startswith("application")


async def test_requests_in_pieces_and_many_at_once_are_answered_in_order() -> None:
    async with served() as (reader, writer):
        writer.write(QUERY.encode())
        await answer(reader)
        writer.write(QUERY[:30].encode())
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(QUERY[30:].encode())
        assert (await answer(reader)).split()[0] in ("application", "shortcut")
        writer.write((QUERY + QUERY.replace("up", "unknown") + QUERY).encode())
        assert [(await answer(reader)).split()[1] for _ in range(3)] == ["/api/v1/query"] * 3
        writer.write(QUERY.encode())
        assert await answer(reader) == "shortcut /api/v1/query query=up"


def context_of(samples: int, size: int = 0) -> QueryContext:
    context = QueryContext()
    context.charge(0, size)
    context.samples_read = samples
    return context


def test_only_what_was_seen_to_be_cheap_is_small() -> None:
    small = SmallQueries()
    assert small.samples_max("up", 1) == 0
    small.learn("up", 1, context_of(10), 0.0001)
    assert small.samples_max("up", 1) == AT_ONCE_SAMPLES_MAX
    assert small.samples_max("up", 1000) == 0, "a range query runs other kernels"
    small.learn("up", 100, context_of(10), 0.0001)
    assert small.samples_max("up", 120) > 0
    assert small.samples_max("up", 1000) == 0, "more steps than were seen"
    small.learn("up", 100, context_of(10), AT_ONCE_CPU_SECONDS_MAX * 2)
    assert small.samples_max("up", 100) == 0, "it has become dear"
    small.learn("up", 1, context_of(AT_ONCE_SAMPLES_MAX + 1), 0.0)
    assert small.samples_max("up", 1) == 0
    small.learn("up", 1, context_of(1, 1 << 30), 0.0)
    assert small.samples_max("up", 1) == 0


def test_no_more_texts_are_kept_than_the_limit() -> None:
    small = SmallQueries()
    for i in range(AT_ONCE_QUERIES_MAX + 5):
        small.learn(f"up{i}", 1, context_of(1), 0.0)
    known = [i for i in range(AT_ONCE_QUERIES_MAX + 5) if small.samples_max(f"up{i}", 1)]
    assert len(known) == AT_ONCE_QUERIES_MAX and 0 not in known


async def test_a_server_answers_at_once_what_it_answers_otherwise(start: Callable[..., Any]) -> None:
    async with start("global: {scrape_interval: 1s}\n") as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        texts = [
            "vector(1)",
            "1+%2B+%32",
            "vector(time())",
            "1%2B1",
            "absent(up)",
            "absent_over_time(up%5B5m%5D)",
        ]
        try:
            for text in texts:
                for more in ("query?time=100&", "query_range?start=100&end=200&step=50&"):
                    said = []
                    for _ in range(4):
                        head = f"GET /api/v1/{more}query={text} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                        writer.write(head.encode())
                        said.append(json.loads(await answer(reader)))
                    assert said[0]["status"] == "success"
                    assert all(each == said[0] for each in said)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            metrics = await answer(reader)
        finally:
            writer.close()
            await writer.wait_closed()
        for handler in ("query", "query_range"):
            counted = (
                f'prometheus_http_requests_total{{handler="/api/v1/{handler}",code="200"}} {4 * len(texts)}'
            )
            assert counted in metrics
