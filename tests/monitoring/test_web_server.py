"""How the server is reached: TLS, passwords, headers, prefixes, origins, connections."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
import trustme

from wavetank.clock import VirtualClock
from wavetank.errors import InputError
from wavetank.monitoring.config import Duration
from wavetank.monitoring.options import WebOptions
from wavetank.monitoring.server import ServerOptions
from wavetank.monitoring.web.config import RateLimit, load_web_config
from wavetank.monitoring.web.guard import GuardedApp

Start = Callable[..., Any]
EMPTY = "global: {scrape_interval: 1s}\n"
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def certificate(ca: trustme.CA, directory: Path, name: str = "server") -> str:
    """Write a key pair; the tls_server_config that uses it."""
    issued = ca.issue_cert("127.0.0.1", "localhost")
    (directory / f"{name}.crt").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    (directory / f"{name}.key").write_bytes(issued.private_key_pem.bytes())
    return f"tls_server_config: {{cert_file: {name}.crt, key_file: {name}.key}}\n"


def web(path: Path, text: str, **more: Any) -> ServerOptions:
    path.write_text(text)
    return ServerOptions(web=WebOptions(config_file=path, **more))


def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


async def serial(url: str, context: ssl.SSLContext) -> int:
    """The serial number of the certificate a new connection is shown."""
    host, _, port = url.removeprefix("https://").rpartition(":")
    import asyncio

    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert()
        return int(shown["serialNumber"], 16)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.slow
async def test_serves_tls_and_takes_up_a_new_certificate(start: Start, tmp_path: Path) -> None:
    ca = trustme.CA()
    options = web(tmp_path / "web.yml", certificate(ca, tmp_path))
    async with start(EMPTY, options) as server:
        assert server.url.startswith("https://")
        context = client_context(ca)
        async with server.session.get(server.url + "/-/ready", ssl=context) as response:
            assert response.status == 200
        before = await serial(server.url, context)
        certificate(ca, tmp_path)
        assert await serial(server.url, context) != before
        with pytest.raises(aiohttp.ClientError):
            await server.session.get(server.url.replace("https", "http") + "/-/ready")
        (tmp_path / "server.key").write_text("broken")
        with pytest.raises((OSError, EOFError)):
            await serial(server.url, context)


@pytest.mark.slow
async def test_a_client_certificate_can_be_required(start: Start, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    text = certificate(ca, tmp_path).replace(
        "}", ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert}"
    )
    async with start(EMPTY, web(tmp_path / "web.yml", text)) as server:
        context = client_context(ca)
        with pytest.raises((aiohttp.ClientError, OSError)):
            await server.session.get(server.url + "/-/ready", ssl=context)
        ca.issue_cert("me@example.org").configure_cert(context)
        async with server.session.get(server.url + "/-/ready", ssl=context) as response:
            assert response.status == 200


@pytest.mark.slow
async def test_a_client_is_admitted_by_the_names_of_its_certificate(start: Start, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    text = certificate(ca, tmp_path).replace(
        "}",
        ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert,"
        " client_allowed_sans: [me@example.org, host.example.org, 10.0.0.1], curve_preferences: [CurveP256]}",
    )
    async with start(EMPTY, web(tmp_path / "web.yml", text, connections_max=2)) as server:
        for _ in range(3):  # refused connections give their place back
            for name, admitted in (
                ("me@example.org", True),
                ("host.example.org", True),
                ("10.0.0.1", True),
                ("you@example.org", False),
                ("other.example.org", False),
            ):
                context = client_context(ca)
                ca.issue_cert(name).configure_cert(context)
                async with aiohttp.ClientSession() as session:
                    try:
                        async with session.get(server.url + "/-/ready", ssl=context) as response:
                            assert (response.status, admitted) == (200, True)
                    except (aiohttp.ClientError, OSError):
                        assert not admitted


async def test_a_tls_section_that_asks_for_nothing_is_no_tls(start: Start, tmp_path: Path) -> None:
    async with start(EMPTY, web(tmp_path / "web.yml", "tls_server_config: {min_version: TLS13}")) as server:
        assert server.url.startswith("http://")
        assert "Ready" in await server.get("/-/ready")


async def test_requests_are_limited(start: Start, tmp_path: Path) -> None:
    text = "rate_limit: {burst: 3, interval: 1h}"
    async with start(EMPTY, web(tmp_path / "web.yml", text)) as server:
        found = []
        for _ in range(5):
            async with server.session.get(server.url + "/-/ready") as response:
                found.append(response.status)
        assert found == [200, 200, 200, 429, 429]


async def test_tokens_come_back_with_time() -> None:
    clock = VirtualClock()
    guarded = GuardedApp(None, None, clock)  # type: ignore[arg-type]
    limit = RateLimit(burst=2, interval=Duration(1000))

    def take(count: int) -> list[bool]:
        return [guarded._has_token(limit) for _ in range(count)]

    assert take(3) == [True, True, False]
    await clock.advance(1.5)
    assert take(2) == [True, False]
    await clock.advance(100)
    assert take(3) == [True, True, False]
    assert all(guarded._has_token(RateLimit()) for _ in range(9))


async def test_every_path_wants_the_password(start: Start, tmp_path: Path) -> None:
    text = (
        f"basic_auth_users: {{alice: '{HASH}'}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
    )
    async with start(EMPTY, web(tmp_path / "web.yml", text)) as server:
        for path in ("/", "/-/healthy", "/metrics", "/api/v1/query?query=1", "/federate", "/nothing"):
            async with server.session.get(server.url + path) as response:
                assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Basic")
                assert response.headers["X-Frame-Options"] == "deny"
        cases = [
            ("alice", "secret", 200),
            ("alice", "wrong", 401),
            ("bob", "secret", 401),
            ("alice", "", 401),
        ]
        for user, password, status in cases * 2:
            headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
            async with server.session.get(server.url + "/-/ready", headers=headers) as response:
                assert response.status == status, (user, password)
        for header in ("Basic", "Basic !", "Bearer x", "Basic YWxpY2U="):
            async with server.session.get(
                server.url + "/-/ready", headers={"Authorization": header}
            ) as response:
                assert response.status == 401
        (tmp_path / "web.yml").write_text("basic_auth_user: {}\n")
        headers = {"Authorization": aiohttp.encode_basic_auth("alice", "secret")}
        async with server.session.get(server.url + "/-/ready", headers=headers) as response:
            assert response.status == 500  # a broken file lets nobody in


BAD = [
    ("tls_server_config: {key_file: a}", "missing one of cert or cert_file"),
    ("tls_server_config: {cert_file: a}", "missing one of key or key_file"),
    ("tls_server_config: {cert: a, cert_file: a, key: b}", "given twice"),
    ("tls_server_config: {cert_file: a, key_file: b}", "No such file"),
    ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: x}", "invalid ClientAuth: x"),
    ("tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}", "without a Client Auth Policy"),
    ("tls_server_config: {cert_file: a, key_file: b, min_version: SSL3}", "unknown TLS version: SSL3"),
    ("tls_server_config: {cert_file: a, key_file: b, cipher_suites: [x]}", "unknown cipher: x"),
    ("tls_server_config: {cert_file: a, key_file: b, client_allowed_sans: [x]}", "needs client_auth_type"),
    (
        "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}",
        "not possible",
    ),
    ("tls_server_config: {cert_file: a, key_file: b, curve_preferences: [x]}", "unknown curve: x"),
    ("tls_server_config: {cert_file: a, key_file: b, curve_preferences: [X25519, CurveP256]}", "one curve"),
    ("basic_auth_users: {a: plain}", "not a bcrypt hash"),
    ("http_server_config: {headers: {Server: x}}", 'HTTP header "Server" can not be configured'),
    ("http_server_config: {headers: {X-Frame-Options: x}}", "invalid value for X-Frame-Options"),
    ("rate_limit: {interval: x}", 'not a valid duration string: "x"'),
    ("tls_config: {}", "unknown field 'tls_config'"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_web_configuration_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        load_web_config(path)


@pytest.mark.slow
async def test_prefix_and_origins(start: Start, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "a.txt").write_text("mine")
    (tmp_path / "page.html").write_text(
        '{{ .Params.x }} {{ template "sum" }} {{ query "1+1" | first | value }}'
    )
    (tmp_path / "a.lib").write_text('{{ define "sum" }}<b>lib</b>{{ end }}')
    made = WebOptions(
        cors_origin=re.compile(r"https://a\.example"),
        page_title="Ours",
        user_assets=assets,
        console_templates=tmp_path,
        console_libraries=tmp_path,
        listen_also=("127.0.0.1:0",),
    )
    options = ServerOptions(web=made, external_url="http://localhost/prom/")
    async with start(EMPTY, options) as server:
        assert await server.get("/prom/-/ready")
        assert (await server.get("/prom/api/v1/query", query="1"))["status"] == "success"
        await server.get("/-/ready", status=404)
        await server.get("/promx/-/ready", status=404)
        assert await server.get("/prom/user/a.txt") == "mine"
        await server.get("/prom/user/../page.html", status=404)
        assert await server.get("/prom/consoles/page.html", x="<i>") == "&lt;i&gt; <b>lib</b> 2"
        await server.get("/prom/consoles/%2e%2e/%2e%2e/etc/passwd", status=404)
        url = server.url + "/prom/api/v1/query?query=1"
        for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
            async with server.session.get(url, headers={"Origin": origin}) as response:
                assert response.headers.get("Access-Control-Allow-Origin") == allowed
        async with server.session.options(url, headers={"Origin": "https://a.example"}) as response:
            assert (response.status, response.headers["Vary"]) == (204, "Origin")
    plain = replace(options, web=replace(made, route_prefix="/", cors_origin=None))
    async with (
        start(EMPTY, plain) as server,
        server.session.get(server.url + "/-/ready", headers={"Origin": "x"}) as response,
    ):
        assert response.status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.slow
async def test_a_slow_body_is_given_up_and_connections_are_limited(start: Start) -> None:
    import asyncio

    options = ServerOptions(web=WebOptions(read_timeout_seconds=0.2, connections_max=2))
    async with start(EMPTY, options) as server:
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        request = b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        request += b"Content-Type: application/x-www-form-urlencoded\r\n\r\nquery"
        streams = [await asyncio.open_connection(host, int(port)) for _ in range(4)]
        for _, writer in streams:
            writer.write(request)
        # Two are let in; the others follow as those are given up.
        answers = await asyncio.gather(*(reader.readline() for reader, _ in streams))
        assert {line.split()[1] for line in answers} == {b"408"}
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()
