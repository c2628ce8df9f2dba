"""HTTP/2 in every outgoing client: chosen by ALPN, many requests on a connection, bounded bodies, GOAWAY."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from h2_server import Answer, H2Server, h2_server

from wavetank.clock import RealClock, VirtualClock
from wavetank.monitoring import dial
from wavetank.monitoring.config import parse_config
from wavetank.monitoring.config.http import HTTPClientConfig, ProxyConfig, TLSConfig
from wavetank.monitoring.config.values import Secret
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.http2 import HTTP2Connection
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient
from wavetank.monitoring.proxies import is_excluded, proxy_for
from wavetank.monitoring.scrape.fetch import Fetcher, ScrapeFailed
from wavetank.monitoring.scrape.target import make_targets

CA = trustme.CA()
PAIR = CA.issue_cert("127.0.0.1", "localhost")


@pytest.fixture
def ca(tmp_path: Path) -> str:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def server_side() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    PAIR.configure_cert(context)
    return context


def say(headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Repeats what was asked for."""
    told = f"{headers[':method']} {headers[':path']} {headers.get('authorization', '-')} {len(body)}"
    return 200, {"content-type": "text/plain"}, told.encode()


@asynccontextmanager
async def asking(ca: str, **options: Any) -> AsyncIterator[Callable[..., Any]]:
    """A client; calling it gives status and body."""
    client = HTTPClient(HTTPClientConfig(tls_config=TLSConfig(ca_file=ca), **options), RealClock())

    async def ask(url: str, method: str = "GET", data: bytes | None = None) -> tuple[int, bytes]:
        async with client.request(method, url, data=data, timeout_seconds=30) as response:
            return response.status, await response.content.read(-1)

    try:
        yield ask
    finally:
        await client.close()


async def test_a_server_with_http2_alone(ca: str) -> None:
    async with h2_server(server_side(), say) as server, asking(ca) as ask:
        url = f"https://127.0.0.1:{server.port}/a?b=c"
        assert await ask(url) == (200, b"GET /a?b=c - 0")
        assert await ask(url, "POST", b"x" * 300_000) == (200, b"POST /a?b=c - 300000")
        assert len(server.protocols) == 1  # kept
    async with h2_server(server_side(), say) as server, asking(ca, enable_http2=False) as ask:
        with pytest.raises(FETCH_ERRORS):
            await ask(f"https://127.0.0.1:{server.port}/")


async def test_a_server_with_http1_alone_is_asked_once_what_it_speaks(ca: str) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.version.major}.{request.version.minor}")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    context = server_side()
    context.set_alpn_protocols(["http/1.1"])
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    async with asking(ca) as ask:
        for _ in range(3):
            assert await ask(f"https://127.0.0.1:{runner.addresses[0][1]}/") == (200, b"1.1")
    await runner.cleanup()


async def test_servers_that_are_gone_are_forgotten(ca: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "HTTP2_ORIGINS_MAX", 3)
    context = ssl.create_default_context(cafile=ca)
    origins = dial.SecureOrigins(RealClock(), context, 300.0, {})
    async with h2_server(server_side(), say) as server:
        kept = await origins.connection(dial.Origin("127.0.0.1", server.port, "127.0.0.1"))
        for number in range(20):
            made = await origins.connection(dial.Origin("127.0.0.1", server.port, "localhost"))
            assert made is not None
            made.close()
            with pytest.raises(OSError):
                await origins.connection(dial.Origin("127.0.0.1", 1, str(number)))
            assert len(origins._dialing) <= 3
        again = await origins.connection(dial.Origin("127.0.0.1", server.port, "127.0.0.1"))
        assert again is kept  # a connection in use is not lost
        origins.close()


async def test_an_unknown_authority(ca: str) -> None:
    async with h2_server(server_side(), say) as server:
        client = HTTPClient(HTTPClientConfig(), RealClock())
        with pytest.raises(ssl.SSLCertVerificationError):
            async with client.request("GET", f"https://127.0.0.1:{server.port}/"):
                pass
        await client.close()


async def test_many_requests_share_a_connection_as_far_as_the_server_takes_them(ca: str) -> None:
    async with h2_server(server_side(), say) as server, asking(ca) as ask:
        server.held, server.streams_max = True, 4
        url = f"https://127.0.0.1:{server.port}/"
        await until_held(server, [asyncio.create_task(ask(url))], 1)
        tasks = [asyncio.create_task(ask(url)) for _ in range(7)]
        await until_held(server, tasks, 8)
        assert len(server.protocols) == 2
        server.release()
        assert {status for status, _ in await asyncio.gather(*tasks)} == {200}


async def until_held(server: H2Server, tasks: list[asyncio.Task[Any]], count: int) -> None:
    async with asyncio.timeout(30):
        while sum(len(protocol.waiting) for protocol in server.protocols) < count:
            await asyncio.sleep(0.005)
            assert not any(task.done() for task in tasks)


async def test_going_away_finishes_what_was_begun_and_repeats_what_was_not(ca: str) -> None:
    async with h2_server(server_side(), say) as server, asking(ca) as ask:
        server.held = True
        url = f"https://127.0.0.1:{server.port}/"
        first = asyncio.create_task(ask(url + "first"))
        await until_held(server, [first], 1)
        second = asyncio.create_task(ask(url + "second"))
        await until_held(server, [first, second], 2)
        (old,) = server.protocols
        old.go_away(last=1)  # the first request's number: the second is sent again elsewhere
        async with asyncio.timeout(30):
            while len(server.protocols) < 2 or not server.protocols[1].waiting:
                await asyncio.sleep(0.005)
        del old.waiting[3]
        server.release()
        assert (await first, await second) == ((200, b"GET /first - 0"), (200, b"GET /second - 0"))
        assert (await ask(url))[0] == 200
        async with asyncio.timeout(30):
            while old.is_open:  # nothing is left to do on it
                await asyncio.sleep(0.005)


async def test_a_connection_the_server_ended_is_made_anew(ca: str) -> None:
    async with h2_server(server_side(), say) as server, asking(ca) as ask:
        url = f"https://127.0.0.1:{server.port}/"
        await ask(url)
        server.protocols[0].transport.abort()
        async with asyncio.timeout(30):
            while server.protocols[0].is_open:
                await asyncio.sleep(0.005)
        assert await ask(url) == (200, b"GET / - 0")


async def test_an_answer_nobody_reads_waits_at_the_sender(ca: str) -> None:
    big = b"x" * (8 << 20)
    async with h2_server(server_side(), lambda headers, body: (200, {}, big)) as server:
        client = HTTPClient(HTTPClientConfig(tls_config=TLSConfig(ca_file=ca)), RealClock())
        url = f"https://127.0.0.1:{server.port}/"
        async with client.request("GET", url, timeout_seconds=30) as response:
            async with client.request("GET", url, timeout_seconds=30) as other:  # is not held up by it
                assert await other.content.read() == big
            assert server.protocols[0].sent < len(big) + (3 << 20)
            assert await response.content.read() == big
        async with client.request("GET", url, timeout_seconds=30) as response:
            assert len(await response.content.read(10)) == 10  # and is not wanted further
        async with asyncio.timeout(30):
            while not server.resets:
                await asyncio.sleep(0.005)
        async with client.request("GET", url, timeout_seconds=30) as response:
            assert len(await response.content.read()) == len(big)
        await client.close()


async def test_redirects(ca: str) -> None:
    def answer(headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        code = headers[":path"].strip("/")
        if code == "loop":
            return 302, {"location": "/loop"}, b""
        if code == "else":
            return 302, {"location": f"https://localhost:{server.port}/end"}, b""
        return (int(code), {"location": "/end"}, b"moved") if code.isdigit() else say(headers, body)

    async with h2_server(server_side(), answer) as server:
        url = f"https://127.0.0.1:{server.port}/"
        async with asking(ca, bearer_token=Secret("t")) as ask:
            assert await ask(url + "301") == (200, b"GET /end Bearer t 0")
            assert await ask(url + "302", "POST", b"data") == (200, b"GET /end Bearer t 0")
            assert await ask(url + "307", "POST", b"data") == (200, b"POST /end Bearer t 4")
            assert await ask(url + "else") == (200, b"GET /end - 0")  # another host: no credentials
            with pytest.raises(ValueError, match="stopped after 10 redirects"):
                await ask(url + "loop")
        async with asking(ca, follow_redirects=False) as ask:
            assert await ask(url + "301") == (301, b"moved")


async def test_a_request_that_takes_too_long_is_given_up_and_the_connection_kept(ca: str) -> None:
    async with h2_server(server_side(), say) as server:
        client = HTTPClient(HTTPClientConfig(tls_config=TLSConfig(ca_file=ca)), RealClock())
        url = f"https://127.0.0.1:{server.port}/"
        async with client.request("GET", url, timeout_seconds=30):
            pass  # connected
        server.held = True
        with pytest.raises(TimeoutError):
            async with client.request("GET", url, timeout_seconds=0.2):
                pass
        server.held = False
        async with client.request("GET", url, timeout_seconds=30) as response:
            assert response.status == 200
            assert response.reason == "OK"
        assert (len(server.protocols), server.resets) == (1, 1)
        await client.close()


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",  # longer than was agreed
        b"\x00\x00\x03\x01\x04\x00\x00\x00\x01\xff\xff\xff",  # headers that are none
        b"\x00\x00\x02\x07\x00\x00\x00\x00\x00\x00\x00",  # a short GOAWAY
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=["too-long", "hpack", "goaway", "not-http2"],
)
async def test_what_is_not_http2(ca: str, frame: bytes) -> None:
    async with h2_server(server_side(), say) as server, asking(ca) as ask:
        server.held = True
        asked = asyncio.create_task(ask(f"https://127.0.0.1:{server.port}/"))
        await until_held(server, [asked], 1)
        server.protocols[0].transport.write(frame)
        with pytest.raises(OSError, match=r"malformed HTTP/2|stream error"):
            await asked


async def test_a_dead_connection_is_noticed_by_asking(ca: str) -> None:
    """A watch may be silent for long; a peer that is gone must not look like one."""
    clock = VirtualClock()
    written: list[bytes] = []

    class Wire:
        def write(self, data: bytes) -> None:
            written.append(data)

        def get_write_buffer_size(self) -> int:
            return 0

        def abort(self) -> None:
            pass

    connection = HTTP2Connection(clock, 300.0)
    connection.connection_made(Wire())  # type: ignore[arg-type]
    asked = asyncio.create_task(connection.request("GET", "h", "/", {}, None))
    await clock.advance(61)
    assert written[-1][3] == 6  # PING
    assert not asked.done()
    await clock.advance(16)
    with pytest.raises(OSError, match="no answer to a ping"):
        await asked
    assert not connection.is_open


async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """CONNECT with a password, then bytes both ways."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if "Proxy-Authorization: Basic dTpw" not in head or "X-Zone: a" not in head:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        writer.close()
        return
    host, _, port = head.split(" ")[1].rpartition(":")
    there_in, there_out = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
        except OSError:
            pass
        sink.close()

    await asyncio.gather(pass_on(reader, there_out), pass_on(there_in, writer))


async def test_through_a_proxy(ca: str) -> None:
    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    at = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    zone = {"X-Zone": [Secret("a")]}
    async with h2_server(server_side(), say) as server:
        url = f"https://127.0.0.1:{server.port}/"
        async with asking(ca, proxy_url=f"http://u:p@{at}", proxy_connect_header=zone) as ask:
            assert await ask(url) == (200, b"GET / - 0")
        async with asking(ca, proxy_url=f"http://{at}") as ask:
            with pytest.raises(OSError, match="Proxy Authentication Required"):
                await ask(url)
    listening.close()
    await listening.wait_closed()


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        ("http://localhost/", "", True),
        ("http://127.0.0.9/", "", True),
        ("http://[::1]:80/", "", True),
        ("http://example.com/", "", False),
        ("http://example.com/", "*", True),
        ("http://example.com/", "other, example.com", True),
        ("http://sub.example.com/", "example.com", True),
        ("http://sub.example.com/", ".example.com", True),
        ("http://sub.example.com/", "*.example.com", True),
        ("http://example.com/", ".example.com", False),
        ("http://notexample.com/", "example.com", False),
        ("http://example.com:8080/", "example.com:8080", True),
        ("http://example.com/", "example.com:8080", False),
        ("https://example.com/", "example.com:443", True),
        ("http://10.1.2.3/", "10.0.0.0/8", True),
        ("http://11.1.2.3/", "10.0.0.0/8", False),
        ("http://10.1.2.3:99/", "10.1.2.3:99", True),
        ("http://[fd00::1]/", "fd00::/8", True),
        ("http://[fd00::1]/", "fd00::1", True),
    ],
)
def test_hosts_without_a_proxy(url: str, no_proxy: str, expected: bool) -> None:
    assert is_excluded(url, no_proxy) is expected


def test_the_environments_proxies() -> None:
    config = ProxyConfig(proxy_from_environment=True)
    variables = {"HTTPS_PROXY": "http://p:1", "http_proxy": "q:2", "NO_PROXY": "skipped"}
    assert proxy_for("https://a/", config, variables) == "http://p:1"
    assert proxy_for("http://a/", config, variables) == "http://q:2"
    assert proxy_for("http://skipped/", config, variables) == ""
    assert proxy_for("http://a/", ProxyConfig(), variables) == ""
    assert proxy_for("http://localhost/", ProxyConfig(proxy_url="http://p:1"), {}) == "http://p:1"


async def scrape(ca: str, port: int, extra: str = "") -> bytes:
    text = f"scrape_configs:\n- job_name: j\n  scheme: https\n  tls_config: {{ca_file: {ca}}}\n{extra}"
    (config,) = parse_config(text).scrape_configs
    (target,) = make_targets(config, [TargetGroup("s", [{"__address__": f"127.0.0.1:{port}"}])]).active
    client = HTTPClient(config, RealClock())
    fetcher = Fetcher(client, target, config)
    try:
        return (await fetcher.fetch()).body
    finally:
        fetcher.close()
        await client.close()


async def test_scraping_a_target_with_http2_alone(ca: str) -> None:
    text = b"m 1\n" * 100_000
    answers: dict[str, Answer] = {
        "gzip": lambda h, b: (200, {"content-encoding": "gzip"}, gzip.compress(text)),
        "bomb": lambda h, b: (200, {"content-encoding": "gzip"}, gzip.compress(bytes(50 << 20))),
        "down": lambda h, b: (503, {}, b"no"),
    }
    async with h2_server(server_side(), answers["gzip"]) as server:
        assert await scrape(ca, server.port) == text
        ((headers, _),) = server.seen
        assert headers["accept-encoding"].startswith("gzip")
        assert headers["x-prometheus-scrape-timeout-seconds"] == "10"
        server.answer = answers["bomb"]
        with pytest.raises(ScrapeFailed, match="body size limit exceeded"):
            await scrape(ca, server.port, "  body_size_limit: 1MB")
        server.answer = answers["down"]
        with pytest.raises(ScrapeFailed, match="server returned HTTP status 503 Service Unavailable"):
            await scrape(ca, server.port)
