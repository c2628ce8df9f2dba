"""The console's HTTP side: the page, its files, who may see what, and queries that nobody waits for."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from web_data import OBJECTS, RECORDS
from web_server import StillTank, WebServer

from wavetank.web.console import Console
from wavetank.web.session import Sessions

ACTION = {"X-Wavetank-Action": "1"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebServer, StillTank, Sessions]]:
    directory = tmp_path_factory.mktemp("console")
    tank = StillTank(b'{"name":"still"}', OBJECTS, RECORDS)
    sessions = Sessions(directory)
    server = WebServer(directory / "server", Console(tank=tank, sessions=sessions))
    server.start()
    yield server, tank, sessions
    server.stop()


@pytest.fixture
async def client(served: tuple[WebServer, StillTank, Sessions]) -> AsyncIterator[aiohttp.ClientSession]:
    jar = aiohttp.CookieJar(unsafe=True)  # cookies for addresses
    async with aiohttp.ClientSession(served[0].url, cookie_jar=jar) as session:
        yield session


async def sign_in(client: aiohttp.ClientSession, sessions: Sessions) -> int:
    async with client.get("/", params={"token": sessions.token}, allow_redirects=False) as answer:
        return answer.status


async def test_the_page_allows_only_its_own_scripts_and_no_frame(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as answer:
        text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    assert (
        "default-src 'none'" in policy
        and "script-src 'self'" in policy
        and "frame-ancestors 'none'" in policy
    )
    assert "unsafe" not in policy
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'content="{nonce}"' in text
    assert "<script>" not in text and "http://" not in text and "https://" not in text


async def test_every_page_gets_a_nonce_of_its_own(client: aiohttp.ClientSession) -> None:
    policies = []
    for _ in range(2):
        async with client.get("/") as answer:
            policies.append(answer.headers["Content-Security-Policy"])
    assert policies[0] != policies[1]


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("/graph?g0.expr=up%7Bjob%3D%22a%22%7D&g0.tab=0", "./#/query?g0.expr=up%7Bjob%3D%22a%22%7D&g0.tab=0"),
        ("/query", "./#/query"),
        ("/alerts", "./#/alerts"),
        ("/targets", "./#/targets"),
        ("/service-discovery", "./#/service-discovery"),
        ("/tsdb-status", "./#/tsdb"),
        ("/flags", "./#/flags"),
    ],
)
async def test_prometheus_own_addresses_lead_into_the_page(
    client: aiohttp.ClientSession, path: str, to: str
) -> None:
    from yarl import URL

    async with client.get(URL(path, encoded=True), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, to)


async def test_files_come_compressed_and_are_sent_once(client: aiohttp.ClientSession) -> None:
    async with client.get("/assets/console.js") as answer:
        etag, body = answer.headers["ETag"], await answer.read()
        assert answer.headers["Content-Type"].startswith("text/javascript")
    async with client.get("/assets/console.js", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
    assert len(gzip.compress(body, 9)) < 120 * 1024


@pytest.mark.parametrize("name", ["nothing.js", "..%2f__init__.py", "console.py", "%00.js", ".js"])
async def test_other_files_are_not_served(client: aiohttp.ClientSession, name: str) -> None:
    from yarl import URL

    async with client.get(URL(f"/assets/{name}", encoded=True)) as answer:
        assert answer.status == 404


async def test_a_token_signs_one_browser_in(
    client: aiohttp.ClientSession, served: tuple[WebServer, StillTank, Sessions]
) -> None:
    sessions = served[2]
    spent = sessions.token
    async with client.get("/api/wavetank/cluster") as answer:
        assert answer.status == 403
    assert await sign_in(client, sessions) == 303
    async with client.get("/api/wavetank/cluster") as answer:
        assert answer.status == 200
    async with (
        aiohttp.ClientSession(served[0].url) as other,
        other.get("/", params={"token": spent}, allow_redirects=False) as answer,
    ):
        assert answer.status == 403
    assert await sign_in(client, Sessions(served[0].directory.parent)) == 303  # a restart knows the key


async def test_the_cookie_is_strict_and_hidden_from_scripts(
    client: aiohttp.ClientSession, served: tuple[WebServer, StillTank, Sessions]
) -> None:
    async with client.get("/", params={"token": served[2].token}, allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


async def test_actions_need_the_pages_own_header_and_origin(
    client: aiohttp.ClientSession, served: tuple[WebServer, StillTank, Sessions]
) -> None:
    server, tank, sessions = served
    await sign_in(client, sessions)
    wish = {"mode": "rps", "rps": 5}
    for headers in ({}, {**ACTION, "Origin": "http://evil.example"}):
        async with client.post("/api/wavetank/load/start", json=wish, headers=headers) as answer:
            assert answer.status == 403
    assert tank.load.asked == []
    async with client.post(
        "/api/wavetank/load/start", json=wish, headers={**ACTION, "Origin": server.url}
    ) as answer:
        assert answer.status == 200
    assert tank.load.asked[0].rps == 5
    async with client.post("/api/wavetank/load/change", json={"mode": "fast"}, headers=ACTION) as answer:
        assert answer.status == 400


async def test_a_foreign_host_is_refused(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/wavetank/info", headers={"Host": "rebound.example"}) as answer:
        assert answer.status == 403


async def test_weights_are_shifted_by_a_patch(
    client: aiohttp.ClientSession, served: tuple[WebServer, StillTank, Sessions]
) -> None:
    await sign_in(client, served[2])
    shift = {"kind": "VirtualService", "namespace": "shop", "name": "web", "rule": 0, "weights": [20, 80]}
    async with client.post("/api/wavetank/weights", json=shift, headers=ACTION) as answer:
        assert answer.status == 200
    assert served[1].patches[-1][3][1]["value"] == 80


@pytest.mark.parametrize("path", ["api/v1/secrets", "api/v1/namespaces/a/secrets/b", "api/../secrets"])
async def test_secrets_are_not_passed_on(
    client: aiohttp.ClientSession, served: tuple[WebServer, StillTank, Sessions], path: str
) -> None:
    from yarl import URL

    await sign_in(client, served[2])
    async with client.get(URL(f"/api/wavetank/kube/{path}", encoded=True)) as answer:
        assert answer.status == 403


async def test_the_tree_tells_of_every_node_what_it_gives(client: aiohttp.ClientSession) -> None:
    query = "sum by (job) (up) / on (job) (vector(2) * (2 + 3))"
    async with client.get("/api/wavetank/query_tree", params={"query": query}) as answer:
        root = (await answer.json())["data"]
    assert (root["kind"], root["name"]) == ("operator", "/")
    first = root["children"][0]
    assert first["name"] == "sum by (job)" and first["children"][0]["name"] == "up"
    assert all("series" in node and node["seconds"] >= 0 for node in (root, first))
    async with client.get("/api/wavetank/query_tree", params={"query": "sum("}) as answer:
        assert answer.status == 400


async def test_events_begin_with_the_servers_start_and_the_alerts(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/wavetank/events") as answer, asyncio.timeout(30):
        seen = b""
        while b"event: alerts" not in seen:
            seen += await answer.content.readany()
    assert seen.startswith(b"event: hello\ndata: {")


async def test_a_query_that_nobody_waits_for_does_not_hold_up_the_server(
    client: aiohttp.ClientSession,
) -> None:
    slow = "sum_over_time((" + "+".join(["vector(1)"] * 40) + ")[10d:1s])"
    with pytest.raises(TimeoutError):
        async with client.get(
            "/api/v1/query", params={"query": slow}, timeout=aiohttp.ClientTimeout(total=0.3)
        ) as answer:
            await answer.read()
            raise TimeoutError  # a machine fast enough for the query
    async with client.get("/api/v1/query", params={"query": "1"}) as answer:
        assert answer.status == 200
