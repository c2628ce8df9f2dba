"""Tokens for requests: both grants, kept while they last, and servers that want the secret elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from wavetank.clock import RealClock, VirtualClock
from wavetank.monitoring.config.http import JWT_BEARER, HTTPClientConfig, OAuth2
from wavetank.monitoring.config.values import Secret
from wavetank.monitoring.http_client import HTTPClient
from wavetank.monitoring.oauth2 import TokenSource


class Server:
    """Gives tokens, numbered; ``basic`` says whether it takes Basic credentials."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], str]] = []
        self.basic = True
        self.answer: dict[str, Any] | None = None
        self.url = ""

    async def token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        credentials = request.headers.get("Authorization", "")
        self.asked.append((form, credentials))
        if credentials and not self.basic:
            return web.json_response({"error": "invalid_client"}, status=401)
        if self.answer is not None:
            return web.json_response(self.answer)
        return web.json_response({"access_token": f"t{len(self.asked)}", "expires_in": 60})

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Authorization", ""))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_post("/token", made.token)
    app.router.add_get("/page", made.page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_requests_carry_a_token_that_is_kept_while_it_lasts(server: Server) -> None:
    config = OAuth2(
        client_id="a:b",
        client_secret=Secret("s&t"),
        token_url=f"{server.url}/token",
        scopes=["x", "y"],
        endpoint_params={"audience": "z"},
    )
    client = HTTPClient(HTTPClientConfig(oauth2=config), RealClock())
    for _ in range(3):
        async with client.request("GET", f"{server.url}/page", timeout_seconds=30) as response:
            assert await response.content.read(-1) == b"Bearer t1"
    await client.close()
    pair = base64.b64encode(b"a%3Ab:s%26t").decode()
    form = {"grant_type": "client_credentials", "scope": "x y", "audience": "z"}
    assert server.asked == [(form, f"Basic {pair}")]


async def test_a_token_is_asked_for_again_before_it_expires(server: Server) -> None:
    clock = VirtualClock()
    client = HTTPClient(HTTPClientConfig(), RealClock())
    config = OAuth2(client_id="c", client_secret=Secret("s"), token_url=f"{server.url}/token")
    source = TokenSource(config, client, clock)
    assert [await source.token(), await source.token()] == ["t1", "t1"]
    await clock.advance(51)
    assert await source.token() == "t2"
    await client.close()


async def test_a_server_that_wants_the_secret_among_the_parameters(server: Server) -> None:
    server.basic = False
    clock = VirtualClock()
    client = HTTPClient(HTTPClientConfig(), RealClock())
    config = OAuth2(client_id="c", client_secret=Secret("s"), token_url=f"{server.url}/token")
    source = TokenSource(config, client, clock)
    assert await source.token() == "t2"
    assert server.asked[1][0]["client_secret"] == "s"
    await clock.advance(60)
    assert await source.token() == "t3"  # and is not asked the other way again
    await client.close()


@pytest.mark.parametrize("answer", [{}, {"access_token": ""}, {"error": "x"}])
async def test_an_answer_without_a_token(server: Server, answer: dict[str, Any]) -> None:
    server.answer = answer
    client = HTTPClient(HTTPClientConfig(), RealClock())
    config = OAuth2(client_id="c", client_secret=Secret("s"), token_url=f"{server.url}/token")
    with pytest.raises(ValueError, match="missing access_token"):
        await TokenSource(config, client, RealClock()).token()
    await client.close()


async def test_a_signed_assertion(server: Server, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    config = OAuth2(
        client_id="c",
        client_certificate_key_file=str(tmp_path / "key.pem"),
        client_certificate_key_id="k1",
        grant_type=JWT_BEARER,
        signature_algorithm="RS384",
        token_url=f"{server.url}/token",
        scopes=["x"],
        claims={"org": 7},
    )
    client = HTTPClient(HTTPClientConfig(oauth2=config), RealClock())
    async with client.request("GET", f"{server.url}/page", timeout_seconds=30) as response:
        assert await response.content.read(-1) == b"Bearer t1"
    await client.close()
    ((form, credentials),) = server.asked
    assert (form["grant_type"], form["scope"], credentials) == (JWT_BEARER, "x", "")
    header, claims, signature = form["assertion"].split(".")
    signed = f"{header}.{claims}".encode()
    key.public_key().verify(_decoded(signature), signed, padding.PKCS1v15(), hashes.SHA384())
    assert json.loads(_decoded(header)) == {"alg": "RS384", "typ": "JWT", "kid": "k1"}
    found = json.loads(_decoded(claims))
    assert (found["iss"], found["sub"], found["aud"]) == ("c", "c", f"{server.url}/token")
    assert (found["org"], found["scope"], found["exp"] - found["iat"]) == (7, "x", 600)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
