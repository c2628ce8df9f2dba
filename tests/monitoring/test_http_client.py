"""The shared HTTP client: credentials, headers, TLS with a CA, unix sockets, proxies."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from wavetank.clock import RealClock
from wavetank.monitoring.config.http import (
    Authorization,
    BasicAuth,
    HTTPClientConfig,
    HTTPHeader,
    OAuth2,
    TLSConfig,
)
from wavetank.monitoring.config.values import Secret
from wavetank.monitoring.http_client import HTTPClient


async def echo(request: web.Request) -> web.Response:
    return web.json_response({name: request.headers.get(name) for name in ("Authorization", "X-Extra")})


async def token(request: web.Request) -> web.Response:
    form = await request.post()
    assert form["grant_type"] == "client_credentials"
    return web.json_response({"access_token": "from-oauth", "expires_in": 3600})


async def serve(tmp: Path, tls: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_get("/", echo)
    app.router.add_post("/token", token)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    await web.UnixSite(runner, str(tmp / "s.sock")).start()
    return runner, runner.addresses[0][1]


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    runner, number = await serve(tmp_path)
    yield number
    await runner.cleanup()


async def ask(config: HTTPClientConfig, url: str, unix_socket: str = "") -> dict[str, str | None]:
    client = HTTPClient(config, RealClock())
    try:
        async with client.request("GET", url, timeout_seconds=5, unix_socket=unix_socket) as response:
            found: dict[str, str | None] = await response.json()
            return found
    finally:
        await client.close()


async def test_credentials(tmp_path: Path, port: int) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    url = f"http://127.0.0.1:{port}/"
    for config, expected in (
        (HTTPClientConfig(basic_auth=BasicAuth(username="u", password=Secret("p"))), "Basic dTpw"),
        (HTTPClientConfig(bearer_token=Secret("t")), "Bearer t"),
        (
            HTTPClientConfig(authorization=Authorization(credentials_file=str(tmp_path / "secret"))),
            "Bearer from-file",
        ),
        (
            HTTPClientConfig(
                oauth2=OAuth2(client_id="c", client_secret=Secret("s"), token_url=url + "token")
            ),
            "Bearer from-oauth",
        ),
    ):
        assert (await ask(config, url))["Authorization"] == expected
    headers = {"X-Extra": HTTPHeader(values=["a"], secrets=[Secret("b")])}
    assert (await ask(HTTPClientConfig(http_headers=headers), url))["X-Extra"] == "a, b"


async def test_missing_secret_file_is_an_error(port: int) -> None:
    config = HTTPClientConfig(authorization=Authorization(credentials_file="/nowhere/secret"))
    with pytest.raises(OSError, match="nowhere"):
        await ask(config, f"http://127.0.0.1:{port}/")


async def test_unix_socket(tmp_path: Path, port: int) -> None:
    found = await ask(HTTPClientConfig(bearer_token=Secret("t")), "http://any/", str(tmp_path / "s.sock"))
    assert found["Authorization"] == "Bearer t"


async def test_tls_needs_the_right_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    runner, number = await serve(tmp_path, context)
    url = f"https://127.0.0.1:{number}/"
    trusted = HTTPClientConfig(tls_config=TLSConfig(ca_file=str(tmp_path / "ca.crt")))
    careless = HTTPClientConfig(tls_config=TLSConfig(insecure_skip_verify=True))
    for config in (trusted, careless):
        assert await ask(config, url) == {"Authorization": None, "X-Extra": None}
    with pytest.raises(ssl.SSLCertVerificationError):
        await ask(HTTPClientConfig(), url)
    await runner.cleanup()
