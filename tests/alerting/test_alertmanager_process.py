"""``wavetank alertmanager`` as a process: signals, kill -9, flags."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from alerting_rig import Sink, until
from click.testing import CliRunner

from wavetank.alerting.alert import fingerprint
from wavetank.cli.alertmanager import command
from wavetank.errors import InputError

CONFIG = """
route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s}}
receivers: [{{name: hook, webhook_configs: [{{url: '{url}/hook'}}]}}]
"""


@contextlib.asynccontextmanager
async def alertmanager(folder: Path, *flags: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The process and its URL; it is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wavetank", "alertmanager",
        f"--config.file={folder}/am.yml", f"--storage.path={folder}/data", "--web.listen-address=127.0.0.1:0",
        *flags, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while not (
                found := re.search(rb"Listening on (http://[\d.:]+)", line := await process.stderr.readline())
            ):
                assert line, "it has ended"
        drain = asyncio.create_task(process.stderr.read())
        yield process, found[1].decode()
        if process.returncode is None:
            process.kill()
        await drain
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def iso(offset: float) -> str:
    return dt.datetime.fromtimestamp(time.time() + offset, dt.UTC).isoformat()


async def post(url: str, path: str, body: Any) -> None:
    async with aiohttp.ClientSession() as http, http.post(url + path, json=body) as response:
        assert response.status == 200


@pytest.mark.slow
async def test_kill_9_loses_nothing_and_tells_nothing_twice(tmp_path: Path, sink: Sink) -> None:
    (tmp_path / "am.yml").write_text(CONFIG.format(url=sink.url))
    silence = {
        "matchers": [{"name": "alertname", "value": "Quiet", "isRegex": False}],
        "startsAt": iso(-1),
        "endsAt": iso(600),
        "createdBy": "m",
        "comment": "c",
    }
    async with alertmanager(tmp_path) as (process, url):
        await post(url, "/api/v2/silences", silence)
        await post(url, "/api/v2/alerts", [{"labels": {"alertname": "A"}}])
        await until(lambda: sink.bodies("/hook"))
        log = tmp_path / "data/nflog.log"
        await until(lambda: log.exists() and log.stat().st_size)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with alertmanager(tmp_path) as (process, url):
        await post(url, "/api/v2/alerts", [{"labels": {"alertname": n}} for n in ("A", "Quiet", "B")])
        await until(lambda: len(sink.bodies("/hook")) > 1)
        (tmp_path / "am.yml").write_text(CONFIG.format(url=f"{sink.url}/new"))
        process.send_signal(signal.SIGHUP)
        await until(
            lambda: (
                sink.bodies("/new/hook")
                or (
                    asyncio.ensure_future(
                        post(url, "/api/v2/alerts", [{"labels": {"alertname": f"C{time.time()}"}}])
                    )
                    and False
                )
            )
        )
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert [b["groupLabels"]["alertname"] for b in sink.bodies("/hook")][:2] == ["A", "B"]
    told = {b["groupLabels"]["alertname"] for b in sink.bodies("/hook") + sink.bodies("/new/hook")}
    assert "Quiet" not in told


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cluster.peer=a:9094"], "there is no cluster here"),
        (["--data.retention=5x"], "--data.retention: '5x' is not a duration"),
        # those of a cluster are accepted
        (["--cluster.gossip-interval=1s", "--log.silences", "--data.retention=6x"], "'6x' is not a duration"),
        (["--web.timeout=soon"], "--web.timeout: 'soon' is not a duration"),
        (["--config.file=/nonexistent/am.yml"], "cannot read the file"),
        (["--storage.path=/proc/nope"], "cannot use the storage path"),
        (["--web.listen-address=nonsense"], "is not host:port"),
    ],
)
def test_flags_that_cannot_be_used(flags: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "am.yml").write_text(CONFIG.format(url="http://h"))
    arguments = [f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/data", *flags]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("event-recorder", "not built in; there are classic-mode, utf8-strict-mode"),
        ("classic-mode,utf8-strict-mode", "exclude each other"),
    ],
)
def test_features_that_are_not_there(feature: str, message: str) -> None:
    result = CliRunner().invoke(command, [f"--enable-feature={feature}"])
    assert result.exit_code == 2
    assert message in result.output


def test_fingerprints_are_upstreams() -> None:
    assert fingerprint({}) == "cbf29ce484222325"
    assert fingerprint({"alertname": "Foo", "team": "a"}) == fingerprint({"team": "a", "alertname": "Foo"})
