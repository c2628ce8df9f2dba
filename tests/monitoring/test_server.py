"""The whole server over HTTP: scraping itself, rules, reload, admin and remote write."""

from __future__ import annotations

import asyncio
import struct
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cramjam
import pytest

from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.monitoring.options import RemoteOptions
from wavetank.monitoring.server import Server, ServerOptions

Start = Callable[..., Any]
EMPTY = "global: {scrape_interval: 1s}\n"
RULES = """
groups:
- name: g
  interval: 200ms
  rules:
  - {record: "job:up:sum", expr: sum by (job) (up)}
  - {alert: Up, expr: up == 1, labels: {severity: page}, annotations: {text: "{{ $labels.job }} {{ $value }}"}}
"""


def write_request(*series: tuple[dict[str, str], list[tuple[int, float]]]) -> bytes:
    """A remote write 1.0 body, made by hand."""

    def varint(n: int) -> bytes:
        out = bytearray()
        while n > 0x7F:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        return bytes([*out, n])

    def field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    body = b""
    for labels, samples in series:
        inner = b"".join(
            field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in sorted(labels.items())
        )
        inner += b"".join(field(2, b"\x09" + struct.pack("<d", v) + b"\x10" + varint(t)) for t, v in samples)
        body += field(1, inner)
    return bytes(cramjam.snappy.compress_raw(body))


PROTOBUF = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
WRITE = ServerOptions(enable_remote_write_receiver=True)


def now_ms() -> int:
    return round(RealClock().now() * 1000)


async def write(server: Any, *series: tuple[dict[str, str], list[tuple[int, float]]]) -> None:
    await server.post("/api/v1/write", status=204, data=write_request(*series), headers=PROTOBUF)


async def test_scrapes_itself_and_evaluates_rules(start: Start) -> None:
    async with start(EMPTY + "rule_files: [rules.yml]\n", rules=RULES) as server:
        port = server.url.rpartition(":")[2]
        path = server.server._source
        path.write_text(
            EMPTY.replace("1s", "200ms")
            + "rule_files: [rules.yml]\n"
            + f"scrape_configs:\n- job_name: self\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
        )
        await server.server.reload()

        async def firing() -> bool:
            return bool(await server.query('ALERTS{alertstate="firing"}'))

        await server.until(firing)
        assert (await server.query("job:up:sum"))[0] == ({"__name__": "job:up:sum", "job": "self"}, "1")
        (alert,) = (await server.get("/api/v1/alerts"))["data"]["alerts"]
        assert alert["labels"] == {
            "alertname": "Up",
            "instance": f"127.0.0.1:{port}",
            "job": "self",
            "severity": "page",
        }
        assert (alert["annotations"], alert["value"], alert["state"]) == (
            {"text": "self 1"},
            "1e+00",
            "firing",
        )
        (group,) = (await server.get("/api/v1/rules"))["data"]["groups"]
        assert [rule["type"] for rule in group["rules"]] == ["recording", "alerting"]
        (target,) = (await server.get("/api/v1/targets"))["data"]["activeTargets"]
        assert (target["health"], target["scrapePool"]) == ("up", "self")
        metadata = (await server.get("/api/v1/metadata", metric="up"))["data"]
        assert metadata == {}
        assert "prometheus_build_info" in (await server.get("/api/v1/metadata"))["data"]


async def test_series_written_can_be_asked(start: Start) -> None:
    async with start(EMPTY, WRITE) as server:
        t = now_ms() // 1000 * 1000
        await write(
            server,
            ({"__name__": "m", "a": "1"}, [(t - 2000, 1.0), (t - 1000, 2.0)]),
            ({"__name__": "m", "a": "2"}, [(t - 1000, 5.0)]),
        )
        answer = await server.get("/api/v1/query", query="sum(m)", time=str(t / 1000))
        assert answer["data"]["result"][0]["value"] == [t / 1000, "7"]
        answer = await server.get(
            "/api/v1/query_range", query="m", start=str(t / 1000 - 2), end=str(t / 1000), step="1"
        )
        assert [len(s["values"]) for s in answer["data"]["result"]] == [3, 2]
        assert (await server.get("/api/v1/label/a/values"))["data"] == ["1", "2"]
        assert (await server.get("/api/v1/labels"))["data"] == ["__name__", "a"]
        found = await server.get("/api/v1/series", **{"match[]": 'm{a="1"}'})
        assert found["data"] == [{"__name__": "m", "a": "1"}]
        text = await server.get("/federate", **{"match[]": 'm{a="2"}'})
        assert f'm{{a="2",instance=""}} 5 {t - 1000}' in text
        limited = await server.get("/api/v1/series", **{"match[]": "m", "limit": "1"})
        assert (len(limited["data"]), limited["warnings"]) == (1, ["results truncated due to limit"])
        stats = await server.get("/api/v1/query", query="m", stats="all")
        assert "samples" in stats["data"]["stats"]


BAD_REQUESTS = [
    ("/api/v1/query", {"query": "m{"}, 400, 'invalid parameter "query": 1:3: parse error'),
    ("/api/v1/query", {"query": "1", "time": "x"}, 400, 'cannot parse "x" to a valid timestamp'),
    ("/api/v1/query_range", {"query": "1", "start": "0", "end": "1", "step": "0"}, 400, "zero or negative"),
    ("/api/v1/query_range", {"query": "1", "start": "0", "end": "99999", "step": "1"}, 400, "11,000 points"),
    ("/api/v1/query_range", {"query": "1", "start": "9", "end": "1", "step": "1"}, 400, "must not be before"),
    (
        "/api/v1/query_range",
        {"query": "m[5m]", "start": "0", "end": "1", "step": "1"},
        400,
        "invalid expression",
    ),
    ("/api/v1/series", {}, 400, "no match[] parameter provided"),
    ("/api/v1/series", {"match[]": "{}"}, 400, "match[]"),
    ("/api/v1/series", {"match[]": 'a{b=~"("}'}, 400, "match[]"),
    ("/api/v1/labels", {"limit": "-1"}, 400, "limit must be non-negative"),
    ("/api/v1/rules", {"type": "x"}, 400, 'not supported value "x"'),
    ("/api/v1/nothing", {}, 404, "no endpoint"),
]


async def test_bad_requests_are_answered_in_upstreams_words(start: Start) -> None:
    async with start(EMPTY) as server:
        for path, params, status, text in BAD_REQUESTS:
            answer = await server.get(path, status=status, **params)
            assert answer["status"] == "error"
            assert text in answer["error"], (path, answer)
        form = {"query": "1 + 1"}
        assert (await server.post("/api/v1/query", data=form))["data"]["result"][1] == "2"
        formatted = await server.get("/api/v1/format_query", query="sum(up)by(job)")
        assert formatted["data"] == "sum by (job) (up)"
        parsed = await server.get("/api/v1/parse_query", query="rate(up[5m]) > 1")
        assert (parsed["data"]["type"], parsed["data"]["op"]) == ("binaryExpr", ">")


async def test_status_pages(start: Start) -> None:
    options = ServerOptions(flags={"web.listen-address": "x"})
    async with start(EMPTY, options) as server:
        assert "scrape_interval: 1s" in (await server.get("/api/v1/status/config"))["data"]["yaml"]
        assert (await server.get("/api/v1/status/flags"))["data"] == {"web.listen-address": "x"}
        assert (await server.get("/api/v1/status/buildinfo"))["data"]["version"].startswith("3.")
        assert (await server.get("/api/v1/status/runtimeinfo"))["data"]["reloadConfigSuccess"] is True
        assert (await server.get("/api/v1/status/tsdb"))["data"]["headStats"]["numSeries"] == 0
        assert "prometheus_build_info" in await server.get("/metrics")
        assert "Healthy" in await server.get("/-/healthy")
        assert "Ready" in await server.get("/-/ready")


async def test_lifecycle_and_admin_are_off_by_default(start: Start) -> None:
    async with start(EMPTY) as server:
        assert await server.post("/-/reload", status=403) == "Lifecycle API is not enabled."
        assert await server.post("/-/quit", status=403) == "Lifecycle API is not enabled."
        answer = await server.post("/api/v1/admin/tsdb/clean_tombstones", status=500)
        assert answer["error"] == "admin APIs disabled"
        await server.post("/api/v1/write", status=404, data=b"")


async def test_bad_configuration_leaves_the_old_one(start: Start) -> None:
    async with start(EMPTY, ServerOptions(enable_lifecycle=True)) as server:
        server.server._source.write_text("global: {scrape_intervall: 2s}\n")
        assert "did you mean 'scrape_interval'" in await server.post("/-/reload", status=500)
        assert "scrape_interval: 1s" in (await server.get("/api/v1/status/config"))["data"]["yaml"]
        assert "prometheus_config_last_reload_successful 0" in await server.get("/metrics")
        server.server._source.write_text("global: {scrape_interval: 2s}\n")
        await server.post("/-/reload")
        assert "scrape_interval: 2s" in (await server.get("/api/v1/status/config"))["data"]["yaml"]


async def test_quit_ends_the_server(start: Start) -> None:
    async with start(EMPTY, ServerOptions(enable_lifecycle=True)) as server:
        await server.post("/-/quit")
        await asyncio.wait_for(server.stop.wait(), 5)


async def test_foreign_host_is_refused(start: Start) -> None:
    async with start(EMPTY) as server:
        async with server.session.get(server.url + "/", headers={"Host": "evil.example.com"}) as response:
            assert response.status == 403
        async with server.session.get(server.url + "/", headers={"Host": "localhost:1"}) as response:
            assert response.status == 200


BROKEN_WRITES = [
    b"\xff\xff\xff\xff\xff\xff",
    b"\x05abc",
    bytes(cramjam.snappy.compress_raw(b"\x0a\xff")),
    bytes(cramjam.snappy.compress_raw(b"\x0a\x04\x0a\x02\x0a\xff")),
    urllib.parse.quote("x").encode(),
]


async def test_broken_remote_writes_are_refused(start: Start) -> None:
    only_1_0 = replace(WRITE, remote=RemoteOptions(accepted_messages=["prometheus.WriteRequest"]))
    async with start(EMPTY, only_1_0) as server:
        for body in BROKEN_WRITES:
            await server.post("/api/v1/write", status=400, data=body, headers=PROTOBUF)
        for kind in (
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            "text/plain",
            "x;proto=y",
        ):
            await server.post("/api/v1/write", status=415, data=b"", headers={"Content-Type": kind})


async def test_unix_socket(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("")
    socket = tmp_path / "web.sock"
    server = Server(
        tmp_path / "p.yml", tmp_path / "d", RealClock(), ServerOptions(listen_address=f"unix:{socket}")
    )
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(server.run(ready.set_result, stop))
    assert await ready == f"unix:{socket}"
    assert socket.exists()
    stop.set()
    await task
    assert not socket.exists()


@pytest.mark.parametrize(
    ("address", "error"), [("127.0.0.1", "not host:port"), ("192.0.2.1:80", "cannot listen on")]
)
async def test_addresses_that_cannot_be(tmp_path: Path, address: str, error: str) -> None:
    (tmp_path / "p.yml").write_text("")
    server = Server(tmp_path / "p.yml", tmp_path / "d", RealClock(), ServerOptions(listen_address=address))
    with pytest.raises(InputError, match=error):
        await server.run(lambda url: None, asyncio.Event())


async def test_samples_are_there_after_a_restart(start: Start) -> None:
    t = now_ms()
    async with start(EMPTY, WRITE) as server:
        await write(server, ({"__name__": "m"}, [(t, 1.0)]))
    async with start(EMPTY, WRITE) as server:
        assert await server.query("m") == [({"__name__": "m"}, "1")]


async def test_admin_api_deletes_and_snapshots(start: Start) -> None:
    options = ServerOptions(enable_remote_write_receiver=True, enable_admin_api=True)
    async with start(EMPTY, options) as server:
        await write(server, ({"__name__": "m"}, [(now_ms(), 1.0)]), ({"__name__": "n"}, [(now_ms(), 1.0)]))
        name = (await server.post("/api/v1/admin/tsdb/snapshot"))["data"]["name"]
        assert list((server.server._storage_path / "snapshots" / name).iterdir())
        await server.post("/api/v1/admin/tsdb/delete_series?match[]=m", status=204)
        assert await server.query("m") == []
        assert await server.query("n") != []
        await server.post("/api/v1/admin/tsdb/clean_tombstones", status=204)
