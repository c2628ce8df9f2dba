"""The warden: outlives the process that started a tank, and leaves nothing of the tank behind.

It is started first, in a session of its own, and reads a pipe whose other end only the tank's owner holds.
When the pipe closes, for whatever reason (a clean end, a crash, SIGKILL), the warden runs the salvage
command if the owner did not say that it ended well, kills every process that carries the tank's marker,
removes the tank's cgroups and its directories, and exits. It is the only code that cleans up, so the path
that runs after a kill -9 is the path that runs always.

Run as ``python -m wavetank.warden FD TANK DIRECTORY...``; a line ``salvage <json argv>`` on the pipe sets
the salvage command, ``done`` drops it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wavetank.clock import Clock, RealClock, pause
from wavetank.journal import Journal
from wavetank.limits import SALVAGE_SECONDS
from wavetank.process import TANK_VARIABLE, Child, python_argv, spawn, tank_processes

__all__ = ["Warden", "is_watched", "sweep"]

CGROUP_ROOT = Path("/sys/fs/cgroup")


class Warden:
    """The owner's end: hold it for as long as the tank lives."""

    def __init__(self, child: Child, pipe: int) -> None:
        self.child = child
        self._pipe = pipe

    @classmethod
    async def start(
        cls,
        tank: str,
        directories: Sequence[Path],
        *,
        log_path: Path,
        clock: Clock,
        journal: Journal | None = None,
    ) -> Warden:
        """Start watching; ``directories`` are removed at the end."""
        reader, writer = os.pipe()
        try:
            child = await spawn(
                "warden",
                python_argv("wavetank.warden", str(reader), tank, *map(str, directories)),
                env={TANK_VARIABLE: ""},
                log_path=log_path,
                clock=clock,
                journal=journal,
                pass_fds=(reader,),
            )
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        return cls(child, writer)

    def salvage_with(self, argv: Sequence[str]) -> None:
        """The command to run before anything is killed, should this process die without ``finish``."""
        os.write(self._pipe, f"salvage {json.dumps(list(argv))}\n".encode())

    async def finish(self) -> None:
        """The tank has ended well: sweep, and wait until it is swept."""
        with suppress(BrokenPipeError):
            os.write(self._pipe, b"done\n")
        os.close(self._pipe)
        await self.child.wait()


def is_watched(tank: str) -> bool:
    """Whether a warden of the tank is alive; it may be busy with what its owner left."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if b"wavetank.warden" in words and tank.encode() in words:
                    return True
    return False


def sweep(tank: str, directories: Sequence[Path]) -> None:
    """Kill what carries the tank's marker, then remove its cgroups and directories."""
    for _ in range(500):
        left = list(tank_processes(tank))
        if not left:
            break
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        pause(0.01)
    _remove_cgroups(tank)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _remove_cgroups(tank: str) -> None:
    """Remove ``wavetank/<tank>`` under every mounted controller, innermost first."""
    for root in [CGROUP_ROOT, *(p for p in CGROUP_ROOT.glob("*") if p.is_dir())]:
        top = root / "wavetank" / tank
        if not top.is_dir():
            continue
        for directory, _, _ in os.walk(top, topdown=False):
            for _ in range(50):  # a killed task leaves its cgroup a moment after it is gone from /proc
                try:
                    Path(directory).rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    pause(0.01)
        with suppress(OSError):
            (root / "wavetank").rmdir()


def _read_until_closed(pipe: int) -> list[str] | None:
    """The salvage command in force when the pipe closed; None after ``done``."""
    salvage: list[str] | None = None
    with os.fdopen(pipe, "r", encoding="utf-8") as file:
        for line in file:
            word, _, rest = line.strip().partition(" ")
            if word == "salvage":
                salvage = json.loads(rest)
            elif word == "done":
                salvage = None
    return salvage


def main(arguments: Sequence[str]) -> None:
    pipe, tank, *directories = arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    clock = RealClock()
    salvage = _read_until_closed(int(pipe))
    try:
        if salvage is not None:
            print(f"{clock.now():.3f} the owner died: running {salvage}", flush=True)
            subprocess.run(salvage, timeout=SALVAGE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{clock.now():.3f} salvage failed: {error}", flush=True)
    finally:
        sweep(tank, [Path(d) for d in directories])


if __name__ == "__main__":
    main(sys.argv[1:])
