"""From Debian's Prometheus to ours and back: its unit file, its configuration, its data directory."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from wavetank.cli import prometheus

UNIT = Path("/lib/systemd/system/prometheus.service")
CONFIG = Path("/etc/prometheus/prometheus.yml")
OURS = (sys.executable, "-m", "wavetank", "prometheus")
NO_NEW_CODE = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
)

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None or not UNIT.exists() or not CONFIG.exists(),
        reason="Debian's prometheus is not installed",
    ),
]


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.05)


class Service:
    """What a unit file runs."""

    def __init__(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession, url: str) -> None:
        self.process = process
        self._session = session
        self._url = url

    async def get(self, path: str, **params: str) -> Any:
        async with self._session.get(self._url + path, params=params) as response:
            return await response.json() if response.content_type == "application/json" else response.status

    async def ready(self) -> bool:
        try:
            return await self.get("/-/ready") == 200
        except aiohttp.ClientError:
            assert self.process.returncode is None
            return False

    async def value(self, query: str, time: float | None = None) -> float:
        params = {"query": query} | ({} if time is None else {"time": f"{time:.3f}"})
        found = (await self.get("/api/v1/query", **params))["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    async def external_label(self) -> str:
        text = (await self.get("/api/v1/status/config"))["data"]["yaml"]
        found = re.search(r"monitor: (\w+)", text)
        return found[1] if found else ""


def exec_start(binary: tuple[str, ...], arguments: str) -> list[str]:
    """The unit's own command, with the binary in place and ``$ARGS`` as /etc/default/prometheus would say."""
    line = re.search(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert line is not None
    words = shlex.split(line[1].replace("$ARGS", arguments))
    assert words[0] == "/usr/bin/prometheus"
    return [*(binary or words[:1]), *words[1:]]


@asynccontextmanager
async def running(
    binary: tuple[str, ...], directory: Path, port: int, more: str = ""
) -> AsyncIterator[Service]:
    arguments = (
        f"--config.file={directory}/prometheus.yml --storage.tsdb.path={directory}/metrics2 "
        f"--web.listen-address=127.0.0.1:{port} {more}"
    )
    process = await asyncio.create_subprocess_exec(
        *exec_start(binary, arguments), cwd=directory, stderr=asyncio.subprocess.DEVNULL
    )
    async with aiohttp.ClientSession() as session:
        service = Service(process, session, f"http://127.0.0.1:{port}")
        try:
            await until(service.ready)
            yield service
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def configure(directory: Path, port: int, monitor: str = "example") -> None:
    """Debian's own configuration; only ports and intervals are this test's."""
    text = CONFIG.read_text().replace("localhost:9090", f"localhost:{port}").replace("'example'", monitor)
    text = re.sub(r"localhost:(9093|9100)", "localhost:1", text)
    text = re.sub(r"(scrape_interval|scrape_timeout|evaluation_interval):\s+\w+", r"\1: 1s", text)
    (directory / "prometheus.yml").write_text(text)


SCRAPED = 'sum(count_over_time(up{job="prometheus"}[1h]))'


async def scraped(service: Service, count: int) -> float:
    """Wait for some scrapes; the moment of the last that was seen."""

    async def enough() -> bool:
        return await service.value(SCRAPED) >= count

    await until(enough)
    return await service.value("vector(time())") - 1.0


async def test_the_unit_file_there_and_back(tmp_path: Path) -> None:
    port = free_port()
    configure(tmp_path, port)
    async with running((), tmp_path, port) as theirs:
        first = await scraped(theirs, 3)
        before = await theirs.value(SCRAPED, first)
    assert theirs.process.returncode == 0
    async with running(OURS, tmp_path, port, "--web.enable-remote-write-receiver") as ours:
        assert await ours.value(SCRAPED, first) == before
        second = await scraped(ours, int(before) + 3)
        for value, moment in ((9, second), (7, first)):  # the second one late
            await push(f"http://127.0.0.1:{port}", tmp_path, f"late {value} {int(moment * 1000)}\n")
        assert await ours.value("late", first) == 7
        between = await ours.value(SCRAPED, second)
        configure(tmp_path, port, "changed")
        ours.process.send_signal(signal.SIGHUP)  # ExecReload

        async def reloaded() -> bool:
            return await ours.external_label() == "changed"

        await until(reloaded)
    assert ours.process.returncode == 0
    async with running((), tmp_path, port) as theirs:
        assert await theirs.value(SCRAPED, first) == before
        assert await theirs.value(SCRAPED, second) == between
        assert await theirs.value("late", first) == 7
    assert theirs.process.returncode == 0


async def push(url: str, directory: Path, text: str) -> None:
    (directory / "late.txt").write_text(text)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wavetank", "promtool", "push", "metrics", url, str(directory / "late.txt")
    )
    assert await child.wait() == 0


async def test_a_unit_that_forbids_compiling_is_told_what_to_set(tmp_path: Path) -> None:
    """Debian's has MemoryDenyWriteExecute=true."""
    configure(tmp_path, 1)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        NO_NEW_CODE,
        *OURS,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        "--web.listen-address=127.0.0.1:0",
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await child.communicate()
    assert (child.returncode, b"MemoryDenyWriteExecute=no" in err) == (2, True)


# Flags of Debian's 2.42 that 3.x has no more, or that are not the server's
NOT_OURS = {
    "help",
    "help-long",
    "help-man",
    "version",
    "config.file",
    "storage.tsdb.retention",
    "enable-feature",
}
VALUES = {
    "<duration>": "1m",
    "<url>": "http://x/",
    "<URL>": "http://x/",
    "<path>": "/tmp",
    "<filename>": "/tmp",
    "<string>": "x",
}


def debians_flags() -> list[str]:
    """Every flag of Debian's binary with the value its help shows, or one of the kind it names."""
    shown = subprocess.run(["prometheus", "--help"], capture_output=True, text=True, timeout=30)
    found = []
    for line in (shown.stdout + shown.stderr).splitlines():
        flag = re.match(r"\s+(?:-\w, )?--([\w.-]+?)(?:=(\S+?))?(?: \.\.\.)?(?:\s|$)", line)
        if flag is not None and not flag[1].endswith(".") and flag[1] not in NOT_OURS:
            value = (flag[2] or "").strip('"')
            unit = "1GB" if "size" in flag[1] else "1h"
            value = VALUES.get(value, unit if value.isupper() else value)
            found.append(f"--{flag[1]}" + ("" if flag[2] is None else f"={value}"))
    return found


def test_every_flag_of_debians_binary_is_taken() -> None:
    flags = debians_flags()
    assert len(flags) >= 39
    for flag in flags:
        mode = ["--agent"] if flag.startswith("--storage.agent.") else []
        line = [*mode, flag, "--config.file=/nonexistent/prometheus.yml"]
        result = CliRunner().invoke(prometheus.command, line)
        assert "/nonexistent/prometheus.yml" in str(result.exception), (flag, result.output)
