"""The warden leaves no process, no directory and no cgroup of a tank, however its owner ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from wavetank.clock import RealClock, pause
from wavetank.process import TANK_VARIABLE, spawn, tank_processes
from wavetank.warden import Warden

OWNER = """
import asyncio, os, subprocess, sys
from pathlib import Path
from wavetank.clock import RealClock
from wavetank.warden import Warden

async def main(tank, directory, salvaged):
    os.environ["WAVETANK_TANK"] = tank
    log = Path(salvaged).with_suffix(".log")
    warden = await Warden.start(tank, [Path(directory)], log_path=log, clock=RealClock())
    warden.salvage_with([sys.executable, "-c", f"open({salvaged!r}, 'w').write('yes')"])
    # A grandchild that left its parent's session and ignores every polite signal.
    subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM INT HUP; (sleep 300; :) & sleep 300; :"])
    print("up", flush=True)
    if sys.argv[4] == "finish":
        await warden.finish()
    else:
        await asyncio.sleep(300)

asyncio.run(main(*sys.argv[1:4]))
"""


def _start_owner(tmp_path: Path, how: str) -> tuple[subprocess.Popen[bytes], str, Path, Path]:
    tank = f"test-{uuid.uuid4().hex[:8]}"
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "file").write_text("x")
    salvaged = tmp_path / "salvaged"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, tank, str(directory), str(salvaged), how], stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    return owner, tank, directory, salvaged


def _wait_until(condition: object, seconds: float = 20.0) -> None:
    clock = RealClock()
    end = clock.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert clock.monotonic() < end, "condition not reached in time"
        pause(0.02)


def test_kill_minus_nine_of_the_owner_is_salvaged_and_swept(tmp_path: Path) -> None:
    owner, tank, directory, salvaged = _start_owner(tmp_path, "stay")
    _wait_until(lambda: len(list(tank_processes(tank))) >= 2)
    owner.kill()
    owner.communicate()
    _wait_until(lambda: not directory.exists())
    assert salvaged.read_text() == "yes"
    assert list(tank_processes(tank)) == []


def test_a_clean_end_is_swept_without_salvage(tmp_path: Path) -> None:
    owner, tank, directory, salvaged = _start_owner(tmp_path, "finish")
    owner.communicate(timeout=20)
    assert owner.returncode == 0
    assert not directory.exists()
    assert not salvaged.exists()
    assert list(tank_processes(tank)) == []


async def test_a_child_that_ignores_sigterm_is_killed_with_its_group(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 300 & echo ready; wait; wait"
    child = await spawn(
        "stubborn",
        ["sh", "-c", script],
        env={TANK_VARIABLE: ""},
        log_path=tmp_path / "log",
        clock=RealClock(),
    )
    while "ready" not in child.tail():
        await RealClock().sleep(0.01)
    assert await child.stop(0.1) == -signal.SIGKILL
    _wait_until(lambda: not _group_alive(child.pid))


def _group_alive(pgid: int) -> bool:
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    return any(
        line.split()[4] == str(pgid) and line.split()[2] != "Z"
        for line in (p.read_text() for p in Path("/proc").glob("[0-9]*/stat"))
    )


async def test_the_warden_tells_that_it_died(tmp_path: Path) -> None:
    warden = await Warden.start("test-none", [], log_path=tmp_path / "log", clock=RealClock())
    os.kill(warden.child.pid, signal.SIGKILL)
    assert await warden.child.wait() == -signal.SIGKILL
