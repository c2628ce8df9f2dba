"""Reading a target's answer over plain HTTP: whatever comes on the wire, on one kept connection."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import cramjam
import pytest

from wavetank.clock import RealClock
from wavetank.monitoring.config import parse_config
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.http_client import HTTPClient
from wavetank.monitoring.scrape.fetch import Fetcher, ScrapeFailed
from wavetank.monitoring.scrape.plain_http import address_of
from wavetank.monitoring.scrape.target import make_targets

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
WHOLE = HEAD + b"Content-Length: 4\r\n\r\nm 1\n"


class Server:
    """Answers each request with the next of some bytes; ``None`` closes the connection instead."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.close_after = False
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                for at in range(0, len(answer), 50_000):
                    writer.write(answer[at : at + 50_000])
                    await writer.drain()
                if self.close_after:
                    break
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def fetcher(server: Server) -> AsyncIterator[Callable[[str], Fetcher]]:
    made: list[tuple[Fetcher, HTTPClient]] = []

    def make(extra: str = "") -> Fetcher:
        text = f"scrape_configs:\n- job_name: j\n  params: {{a: [b]}}\n{extra}"
        (config,) = parse_config(text).scrape_configs
        group = TargetGroup("s", [{"__address__": f"127.0.0.1:{server.port}"}])
        (target,) = make_targets(config, [group]).active
        client = HTTPClient(config, RealClock())
        made.append((Fetcher(client, target, config), client))
        return made[-1][0]

    yield make
    for each, client in made:
        each.close()
        await client.close()


Make = Callable[..., Fetcher]


async def test_requests_share_a_connection(server: Server, fetcher: Make) -> None:
    server.answers = [WHOLE, WHOLE]
    fetching = fetcher()
    for _ in range(2):
        fetched = await fetching.fetch()
        assert (fetched.body, fetched.content_type) == (b"m 1\n", "text/plain")
    assert server.connections == 1
    first, *headers = server.requests[1].decode().split("\r\n")
    assert first == "GET /metrics?a=b HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in headers
    assert "X-Prometheus-Scrape-Timeout-Seconds: 10" in headers


async def test_a_connection_closed_while_idle_is_opened_again(server: Server, fetcher: Make) -> None:
    server.answers = [WHOLE, None, WHOLE]
    fetching = fetcher()
    assert (await fetching.fetch()).body == b"m 1\n"
    assert (await fetching.fetch()).body == b"m 1\n"
    assert server.connections == 2


def zstd(text: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(text))


GOOD = {
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nm \r\n2\r\n1\n\r\n0\r\n\r\n",
    "until the end": HEAD + b"\r\nm 1\n",
    "old": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nm 1\n",
    "gzip": HEAD
    + b"Content-Encoding: GZIP\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(b"m 1\n"))
    + gzip.compress(b"m 1\n"),
    "zstd": HEAD + b"Content-Encoding: zstd\r\n\r\n" + zstd(b"m 1\n"),
    "go on": b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,
    "no reason": b"HTTP/1.1 200\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nm 1\n",
}


@pytest.mark.parametrize("name", GOOD)
async def test_answers_in_many_forms(server: Server, fetcher: Make, name: str) -> None:
    server.answers, server.close_after = [GOOD[name]] * 2, True
    fetching = fetcher()
    for _ in range(2):
        assert (await fetching.fetch()).body == b"m 1\n"


BAD = {
    "nothing": (None, "EOF"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n", "malformed HTTP response"),
    "not found": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP status 404 Not Found"),
    "cut": (HEAD + b"Content-Length: 9\r\n\r\nm 1\n", "unexpected EOF"),
    "cut chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nm 1\n", "unexpected EOF"),
    "endless head": (HEAD + b"X-A: " + b"a" * 600_000, "malformed HTTP response"),
    "large": (HEAD + b"Content-Length: 20000\r\n\r\n" + b"m 1\n" * 5000, "body size limit exceeded"),
    "bomb": (HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(9_000_000)), "body size limit"),
    "bomb of zstd": (HEAD + b"Content-Encoding: zstd\r\n\r\n" + zstd(bytes(90_000_000)), "body size limit"),
    "cut zstd": (HEAD + b"Content-Encoding: zstd\r\n\r\n" + zstd(b"m 1\n")[:-1], "zstd: incomplete frame"),
    "no gzip": (HEAD + b"Content-Encoding: gzip\r\n\r\nm 1\n", "gzip: "),
    "br": (HEAD + b"Content-Encoding: br\r\n\r\nm 1\n", "unsupported Content-Encoding 'br'"),
    "upgrade": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "protocol changes"),
}


@pytest.mark.parametrize("name", BAD)
async def test_answers_that_are_none(server: Server, fetcher: Make, name: str) -> None:
    answer, problem = BAD[name]
    server.answers, server.close_after = [answer, WHOLE], True
    fetching = fetcher("  body_size_limit: 10KB\n")
    with pytest.raises(ScrapeFailed, match=problem):
        await fetching.fetch()
    assert (await fetching.fetch()).body == b"m 1\n"


async def test_a_redirect_is_followed_by_the_general_client(server: Server, fetcher: Make) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    server.answers = [moved, moved, WHOLE]
    assert (await fetcher().fetch()).body == b"m 1\n"
    assert server.requests[-1].startswith(b"GET /elsewhere ")


async def test_credentials_are_sent(server: Server, fetcher: Make) -> None:
    server.answers = [WHOLE]
    await fetcher("  basic_auth: {username: u, password: p}\n").fetch()
    assert b"Authorization: Basic dTpw\r\n" in server.requests[0]


async def test_silence_ends_with_the_timeout(server: Server, fetcher: Make) -> None:
    server.answers = [HEAD, WHOLE]
    fetching = fetcher("  scrape_timeout: 50ms\n")
    with pytest.raises(ScrapeFailed, match="context deadline exceeded"):
        await fetching.fetch()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a:9/m?x=1", ("a", 9, "a:9", "/m?x=1")),
        ("http://a", ("a", 80, "a", "/")),
        ("http://[::1]:9/", ("::1", 9, "[::1]:9", "/")),
        ("https://a/", None),
        ("http://u:p@a/", None),
        ("http://a:99999/", None),
        ("http://\u00e4/", None),
        ("http://a/ HTTP/1.1\r\nX: y", None),
    ],
)
def test_which_addresses_are_plain(url: str, address: tuple[str, int, str, str] | None) -> None:
    assert address_of(url) == address
