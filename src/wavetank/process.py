"""Child processes: started in sessions of their own, logged to files, stopped by a ladder of signals.

Every descendant of a tank carries the environment variable ``WAVETANK_TANK=<id>`` from its first moment, so
that what is left over can be found in ``/proc`` whoever forked it and however its parents died. The sweep
itself is done by the warden (``wavetank.warden``), which outlives the process that started the tank.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from wavetank.clock import Clock
from wavetank.errors import InternalError
from wavetank.journal import Journal
from wavetank.limits import CHILD_STOP_SECONDS, CHILD_TAIL_BYTES

__all__ = ["TANK_VARIABLE", "Child", "python_argv", "signal_group", "spawn", "tank_processes"]

TANK_VARIABLE = "WAVETANK_TANK"


class Child:
    """A running child process and the log it writes."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        log_path: Path,
        clock: Clock,
        journal: Journal | None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._process = process
        self._clock = clock
        self._journal = journal
        self._exit = asyncio.create_task(self._watch(), name=f"wait-{name}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the process to end; the same answer at every call."""
        return await asyncio.shield(self._exit)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, grace_seconds: float = CHILD_STOP_SECONDS) -> int:
        """SIGTERM to the process, then SIGKILL to its whole group when ``grace_seconds`` have passed."""
        if self.returncode is None:
            # Not Process.terminate(): it polls, and may reap a child that asyncio is about to wait for.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._exit), grace_seconds)
        signal_group(self.pid, signal.SIGKILL)
        return await self.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log, for error messages."""
        return tail(self.log_path, lines)

    async def _watch(self) -> int:
        code = await self._process.wait()
        if self._journal is not None:
            self._journal.record("child.exited", name=self.name, pid=self.pid, exit_code=code)
        return code


async def spawn(
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log_path: Path,
    clock: Clock,
    journal: Journal | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start ``argv`` in a session of its own; its output is appended to ``log_path``.

    ``env`` is added to this process' environment. Raises InternalError if the program cannot be started.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        except OSError as error:
            raise InternalError(f"cannot start {name} ({argv[0]}): {error.strerror}") from error
    if journal is not None:
        journal.record("child.started", name=name, pid=process.pid)
    return Child(name, process, log_path, clock, journal)


def python_argv(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules under this very interpreter."""
    return [sys.executable, "-m", module, *arguments]


def signal_group(pgid: int, number: signal.Signals) -> None:
    """Send a signal to a process group that may be gone already."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a text file; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - CHILD_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def tank_processes(tank: str) -> Iterator[int]:
    """The pids of all processes that were started inside the tank of this id (this one left out)."""
    needle = f"{TANK_VARIABLE}={tank}".encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            if needle in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)
