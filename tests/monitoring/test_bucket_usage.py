"""``promtool query analyze``, against a server that wants a password: ``--http.config.file``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
from click.testing import CliRunner

from wavetank.cli.promtool import command
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.options import WebOptions
from wavetank.monitoring.promtool.bucket_usage import bucket_usage
from wavetank.monitoring.promtool.remote import show
from wavetank.monitoring.remote.codec import pack
from wavetank.monitoring.remote.payload import Item, request_v1
from wavetank.monitoring.server import ServerOptions

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "Authorization": aiohttp.encode_basic_auth("alice", "secret"),
}
#: Counts of three classic buckets at four times, and the sum that names the histogram.
CLASSIC = {"1": [0, 1, 2, 2], "2.0": [0, 1, 4, 4], "+Inf": [0, 2, 5, 6]}
NATIVE = [(1.0, 1.0), (1.0, 3.0), (1.0, 3.0, 2.0)]
EXPECTED = {
    "classichistograms": [
        'h_bucket{path="a\\"b"}[1h0m0s]=Bucket stats (min/avg/max) - number of buckets changed: 1/1.667/2'
        " total delta of changed buckets: 1/2.000/3 number of populated buckets: 2/2.667/3."
        " total number of buckets: 3",
        "minChanged - min/avg/max: 1/1.000/1",
        "avgChanged - min/avg/max: 1/1.000/1",
        "maxChanged - min/avg/max: 2/2.000/2",
        "minDelta - min/avg/max: 1/1.000/1",
        "avgDelta - min/avg/max: 2/2.000/2",
        "maxDelta - min/avg/max: 3/3.000/3",
        "minPop - min/avg/max: 2/2.000/2",
        "avgPop - min/avg/max: 2/2.000/2",
        "maxPop - min/avg/max: 3/3.000/3",
        "total - min/avg/max: 3/3.000/3",
        "count - 1",
        "&{map[1:1 2:2]}",
    ],
    "nativehistograms": [
        "n=Bucket stats (min/avg/max) - number of buckets changed: 1/1.000/1"
        " total delta of changed buckets: 2/2.000/2 number of populated buckets: 2/2.500/3."
        " total number of buckets: 3",
    ],
}


def items(at_ms: int) -> list[Item]:
    times = [at_ms + i * 15_000 for i in range(4)]
    classic = [
        Item(
            Labels.of(__name__="h_bucket", path='a"b', le=le),
            list(zip(times, map(float, counts), strict=True)),
        )
        for le, counts in CLASSIC.items()
    ]
    native = [FloatHistogram(0, sum(b), 1.0, 0.001, 0.0, ((0, len(b)),), b) for b in NATIVE]
    return [
        *classic,
        Item(Labels.of(__name__="h_sum", path='a"b'), [(at, 1.0) for at in times]),
        Item(Labels.of(__name__="n"), [], list(zip(times, native, strict=False))),
    ]


async def tool(*arguments: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, command, list(arguments))


async def test_analyze_behind_a_password(start: Callable[..., Any], tmp_path: Path) -> None:
    web, http = tmp_path / "web.yml", tmp_path / "http.yml"
    hash = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    web.write_text(f"basic_auth_users: {{alice: '{hash}'}}\n")
    http.write_text("basic_auth: {username: alice, password: secret}\n")
    file = f"--http.config.file={http}"
    at_ms = 1_700_000_000_000
    options = ServerOptions(enable_remote_write_receiver=True, web=WebOptions(config_file=web))
    async with start("{}", options) as server:
        url = server.url + "/api/v1/write"
        await server.post("/api/v1/write", status=204, data=pack(request_v1(items(at_ms))), headers=HEADERS)
        moment = f"--time={at_ms / 1000 + 60}"
        for kind, match in (("classichistograms", "h_sum"), ("nativehistograms", "n")):
            given = (
                "query",
                "analyze",
                f"--server={server.url}",
                f"--type={kind}",
                f"--match={match}",
                moment,
            )
            found = await tool(*given, file)
            assert found.exit_code == 0, found.output
            lines = found.output.splitlines()
            assert lines[: len(EXPECTED[kind])] == EXPECTED[kind]
            assert (await tool(*given)).exit_code != 0
        assert lines[-2:] == ["count - 1", "&{map[1:2]}"]
        # The same file, for every other command that talks to a server
        (tmp_path / "m.txt").write_text("m 1\n")
        for asked in (
            ("check", "healthy", f"--url={server.url}"),
            ("query", "instant", server.url, "1"),
            ("query", "labels", server.url, "__name__"),
            ("push", "metrics", url, str(tmp_path / "m.txt")),
        ):
            assert (await tool(*asked, file)).exit_code == 0, asked
            assert (await tool(*asked)).exit_code != 0, asked
        found = await tool("query", file, "instant", server.url, "n", moment)
        assert found.output.startswith("n => Count: 6.000000, Sum: 1.000000, Buckets: [(0.5,1]:1 (1,2]:3")
        await refusals(server.url, file)


async def refusals(url: str, file: str) -> None:
    server = f"--server={url}"
    for kind, match, message in (
        ("histograms", "h_sum", "must be 'classichistograms' or 'nativehistograms'"),
        ("classichistograms", "h", "must have a '_sum' suffix"),
    ):
        found = await tool("query", "analyze", server, f"--type={kind}", f"--match={match}", file)
        assert found.exit_code != 0
        assert message in str(found.exception) + found.output
    found = await tool("query", "instant", url, "1", "--header=nothing", file)
    assert "expected KEY=VALUE got 'nothing' for --header" in found.output


def test_nothing_to_analyze() -> None:
    lines = list(
        bucket_usage(lambda text: {"resultType": "matrix", "result": []}, "nativehistograms", ["n"], 60)
    )
    assert lines[0] == "minChanged - min/avg/max: 9223372036854775807/0.000/0"
    assert lines[-2:] == ["count - 0", "&{map[]}"]


@pytest.mark.parametrize(("rule", "shown"), [(0, "(1,2]:3"), (1, "[1,2):3"), (2, "(1,2):3"), (3, "[1,2]:3")])
def test_bounds_of_buckets_are_shown(rule: int, shown: str) -> None:
    histogram = {"count": "3", "sum": "4", "buckets": [[rule, "1", "2", "3"]]}
    data = {"resultType": "matrix", "result": [{"metric": {"a": "b"}, "histograms": [[7, histogram]]}]}
    assert show(data) == ['{a="b"} =>', f"Count: 3.000000, Sum: 4.000000, Buckets: [{shown}] @[7]"]
