"""``wavetank prometheus import --to``: into a running server, and from servers that are slow or busy."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from click.testing import CliRunner

from wavetank.cli import prometheus
from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.monitoring.history import remote
from wavetank.monitoring.history.remote import RemoteServer
from wavetank.monitoring.server import ServerOptions
from wavetank.tsdb.bulk import BulkWriter
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Options

CLOCK = RealClock()
WRITABLE = ServerOptions(enable_remote_write_receiver=True)
EVERY = [Matcher(MatchType.REGEXP, METRIC_NAME, ".+")]


async def imported(*arguments: str) -> dict[str, Any]:
    line = ["import", "--output=json", *arguments]
    result = await asyncio.to_thread(CliRunner().invoke, prometheus.command, line, standalone_mode=False)
    assert result.return_value == 0, (result.output, str(result.exception))
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def hours(path: Path, begin_ms: int, count: int) -> Path:
    """Two series, a sample a minute, in blocks of two hours."""
    path.mkdir()
    writer = BulkWriter(path, CLOCK)
    times = begin_ms + np.arange(0, count * HOUR_MS, 60_000)
    for row in writer.rows([Labels.of(__name__="m", i=str(i)) for i in range(2)]):
        writer.add(np.full(len(times), row), times, np.arange(len(times), dtype=np.float64))
    writer.finish()
    return path


async def test_into_a_running_server(start: Callable[..., Any], tmp_path: Path) -> None:
    """Old samples as blocks, those in the time of the log by remote write; a restart finds all of them."""
    now_ms = int(CLOCK.now() * 1000)
    begin_ms = now_ms // 60_000 * 60_000 - 30 * HOUR_MS
    source = hours(tmp_path / "source", begin_ms, 30)
    async with start("{}", WRITABLE) as server:
        db = server.server._parts._db
        appender = db.appender()
        appender.append(0, Labels.of(__name__="own"), now_ms, 1.0)
        appender.append(0, Labels.of(__name__="m", i="0"), begin_ms + 30 * HOUR_MS - 60_000, -1.0)
        appender.commit()
        arguments = (f"--from={source}", f"--to={server.url}", f"--storage.tsdb.path={tmp_path}/server/data")
        found = await imported(*arguments)
        assert (found["read"], found["added"]) == (3600, 3599)
        await asyncio.to_thread(db.compact)
        assert await server.query("sum(count_over_time(m[31h]))") == [({}, "3600")]
        assert await server.query('last_over_time(m{i="0"}[31h])') == [({"__name__": "m", "i": "0"}, "-1")]
        assert (await imported(*arguments))["added"] == 0
    async with start("{}", WRITABLE) as server:
        assert await server.query("sum(count_over_time(m[31h]))") == [({}, "3600")]
        assert await server.query("count_over_time(own[31h])") == [({}, "1")]


async def test_openmetrics_of_any_age_into_a_running_server(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    lines = [f'old_total{{i="{i}"}} {k} {1_600_000_000 + 60 * k}' for i in range(3) for k in range(100)]
    (tmp_path / "samples.om").write_text("# TYPE old counter\n" + "\n".join(lines) + "\n# EOF\n")
    async with start("{}") as server:
        own = f"--storage.tsdb.path={tmp_path}/server/data"
        found = await imported(f"--from={tmp_path}/samples.om", f"--to={server.url}", own)
        assert found["added"] == 300
        await asyncio.to_thread(server.server._parts._db.compact)
        answer = await server.get("/api/v1/query", query="sum(old_total)", time=1_600_006_000)
        assert answer["data"]["result"][0]["value"][1] == "297"
    assert not list(tmp_path.glob("**/wavetank-import-*"))


async def test_exemplars_come_along(start: Callable[..., Any], tmp_path: Path) -> None:
    at_ms = int(CLOCK.now() * 1000) - 60_000
    async with start("{}", WRITABLE, directory="old") as old, start("{}", WRITABLE, directory="new") as new:
        appender = old.server._parts._db.appender()
        series = Labels.of(__name__="m_total")
        ref = appender.append(0, series, at_ms, 1.0)
        appender.append_exemplar(ref, series, Labels.of(trace_id="abc"), at_ms, 0.5)
        appender.commit()
        to = (f"--to={new.url}", f"--storage.tsdb.path={tmp_path}/new/data")
        found = await imported(f"--from={old.url}", *to, "--match=m_total", "--label=env=x")
        assert (found["added"], found["exemplars"]) == (1, 1)
        answer = await new.get("/api/v1/query_exemplars", query="m_total", start=at_ms / 1000 - 9, end=at_ms)
        assert answer["data"][0]["seriesLabels"] == {"__name__": "m_total", "env": "x"}
        assert answer["data"][0]["exemplars"][0]["labels"] == {"trace_id": "abc"}
        own = await imported(f"--from={old.url}", f"--storage.tsdb.path={tmp_path}/data", "--match=m_total")
        assert own["exemplars"] == 1
    db = DB.open(tmp_path / "data", Options(retention_ms=0), CLOCK)
    assert [str(series) for series, _ in db.exemplars([EVERY], 0, 1 << 62)] == ["m_total"]
    db.close()


async def test_a_server_that_takes_no_remote_write(start: Callable[..., Any], tmp_path: Path) -> None:
    begin_ms = int(CLOCK.now() * 1000) - HOUR_MS
    source = hours(tmp_path / "source", begin_ms, 1)
    async with start("{}") as server:
        appender = server.server._parts._db.appender()
        appender.append(0, Labels.of(__name__="own"), begin_ms, 1.0)
        appender.commit()
        with pytest.raises(AssertionError, match="enable-remote-write-receiver"):
            await imported(
                f"--from={source}", f"--to={server.url}", f"--storage.tsdb.path={tmp_path}/server/data"
            )


# --- servers in trouble


class Busy:
    """A server whose answers are these, one after the other, the last one for ever."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.asked: list[str] = []
        self._answers = itertools.chain(answers, itertools.repeat(answers[-1]))

    async def __aenter__(self) -> str:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        status, text = next(self._answers)
        return web.Response(status=status, text=text)

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()


MATRIX = '{"status":"success","data":{"resultType":"matrix","result":[]}}'


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSE_SECONDS_MAX", 0.001)


async def test_a_busy_server_is_asked_again() -> None:
    """A store without remote read that is starting: it must not be taken for one without raw samples."""
    busy = Busy((503, "starting"), (429, "slow down"), (400, "unsupported path"), (502, "bad"), (200, MATRIX))
    async with busy as url:
        source = await asyncio.to_thread(RemoteServer, url, [EVERY], CLOCK)
        assert source.via == "query"
        await asyncio.to_thread(source.close)
    assert len(busy.asked) == 5


async def test_one_that_stays_busy_is_named() -> None:
    async with Busy((503, "couldn't start executing the request in 10 seconds")) as url:
        with pytest.raises(InputError, match=r"answered 503: couldn't start.*try again later"):
            await asyncio.to_thread(RemoteServer, url, [EVERY], CLOCK)


async def test_one_that_was_never_there_is_not_waited_for() -> None:
    with pytest.raises(InputError, match="cannot reach"):
        await asyncio.to_thread(RemoteServer, "http://127.0.0.1:1", [EVERY], CLOCK)


async def test_old_samples_need_no_remote_write(start: Callable[..., Any], tmp_path: Path) -> None:
    at_ms = int(CLOCK.now() * 1000) - 20 * HOUR_MS
    async with start("{}", directory="old") as old, start("{}", directory="new") as new:
        appender = old.server._parts._db.appender()
        series = Labels.of(__name__="m")
        ref = appender.append(0, series, at_ms, 1.0)
        appender.append_exemplar(ref, series, Labels.of(trace_id="abc"), at_ms, 0.5)
        appender.commit()
        to = (f"--to={new.url}", f"--storage.tsdb.path={tmp_path}/new/data", f"--end={at_ms / 1000 + 60}")
        found = await imported(f"--from={old.url}", *to, "--match=m")
        assert found["added"] == 1
        assert "exemplars and metadata were not copied" in found["notes"][0]


async def test_what_the_server_would_delete_is_refused(start: Callable[..., Any], tmp_path: Path) -> None:
    source = hours(tmp_path / "source", int(CLOCK.now() * 1000) - 10 * 24 * HOUR_MS, 2)
    config = "storage: {tsdb: {retention: {time: 5d}}}"
    async with start(config) as server:
        with pytest.raises(AssertionError, match=r"the server keeps 5d.*--start=20"):
            await imported(
                f"--from={source}", f"--to={server.url}", f"--storage.tsdb.path={tmp_path}/server/data"
            )
