"""A command run beside a container's processes, and its streams: what exec and attach talk to.

Mirrors the streaming half of the CRI (``Exec``, ``Attach``). With a terminal, the command leads a session
whose controlling terminal is a new pseudo-terminal; without, it has three pipes. Both are read only as fast
as the client takes what they say.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wavetank.kube.kubelet.background import background
from wavetank.kube.kubelet.container_log import new_output
from wavetank.kube.kubelet.runtime import Running

__all__ = ["AttachedOutput", "ProcessSession", "open_session"]

_PIECE_BYTES = 32 * 1024
_END_OF_INPUT = b"\x04"
#: The leader of a session that opens a terminal gets it as its controlling one.
_ON_TERMINAL = 'exec "$@" <"$0" >"$0" 2>&1'


async def open_session(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path, *, stdin: bool, tty: bool
) -> ProcessSession:
    """Start ``argv``. Raises OSError where it cannot be started."""
    ends = _Ends.of_terminal() if tty else _Ends.of_pipes(stdin)
    child_in, child_out, child_err = ends.child if not tty else (subprocess.DEVNULL,) * 3
    if tty:
        argv = ["/bin/sh", "-c", _ON_TERMINAL, os.ttyname(ends.child[0]), *argv]
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=child_in,
            stdout=child_out,
            stderr=child_err,
            env={"TERM": "xterm", **environment} if tty else dict(environment),
            cwd=directory,
            start_new_session=True,
        )
    except BaseException:
        ends.close()
        raise
    if not tty:  # the terminal is held until the command ends: one that nobody holds reads as ended
        ends.close_child()
    session = ProcessSession(process, ends)
    await session.connect()
    return session


@dataclass(slots=True)
class _Ends:
    """File descriptors: the child's (stdin, stdout, stderr), and ours; -1 or DEVNULL where there is none."""

    child: tuple[int, int, int]
    stdin: int
    outputs: Mapping[str, int]
    terminal: int = -1

    @classmethod
    def of_pipes(cls, stdin: bool) -> _Ends:
        child_in, ours = os.pipe() if stdin else (subprocess.DEVNULL, -1)
        (out, child_out), (err, child_err) = os.pipe(), os.pipe()
        return cls((child_in, child_out, child_err), ours, {"stdout": out, "stderr": err})

    @classmethod
    def of_terminal(cls) -> _Ends:
        master, slave = os.openpty()
        return cls((slave, slave, slave), os.dup(master), {"stdout": os.dup(master)}, master)

    def close_child(self) -> None:
        for number in {n for n in self.child if n >= 0}:
            os.close(number)
        self.child = (-1, -1, -1)

    def close(self) -> None:
        self.close_child()
        for number in (self.stdin, *self.outputs.values(), self.terminal):
            if number >= 0:
                os.close(number)


class _Output(asyncio.StreamReaderProtocol):
    """A terminal whose last user has gone fails to read, which is its way to end."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None)


@dataclass(slots=True)
class ProcessSession:
    """Implements ``wavetank.kube.providers.ExecSession`` for a process of ours."""

    _process: asyncio.subprocess.Process
    _ends: _Ends
    _stdin: asyncio.StreamWriter | None = None
    _readers: dict[str, asyncio.StreamReader] = field(default_factory=dict)
    _transports: list[asyncio.ReadTransport] = field(default_factory=list)
    _reaped: asyncio.Task[int] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def connect(self) -> None:
        """Watch the command's streams and its end."""
        loop = asyncio.get_running_loop()
        for name, number in self._ends.outputs.items():
            reader = self._readers[name] = asyncio.StreamReader(_PIECE_BYTES, loop)
            protocol = _Output(reader, loop=loop)
            file = os.fdopen(number, "rb", 0)
            transport, _ = await loop.connect_read_pipe(lambda p=protocol: p, file)  # type: ignore[misc]
            self._transports.append(transport)
        if self._ends.stdin >= 0:
            file = os.fdopen(self._ends.stdin, "wb", 0)
            protocol = _Output(asyncio.StreamReader(1, loop), loop=loop)
            writing, _ = await loop.connect_write_pipe(lambda: protocol, file)
            self._stdin = asyncio.StreamWriter(writing, protocol, None, loop)
        self._reaped = background(self._reap(), f"exec {self.pid}")

    async def write(self, data: bytes) -> None:
        if self._stdin is None or self._stdin.is_closing():
            return
        self._stdin.write(data)
        with suppress(ConnectionError):  # the command closed its input, or has ended
            await self._stdin.drain()

    def close_stdin(self) -> None:
        if self._stdin is None or self._stdin.is_closing():
            return
        if self._ends.terminal >= 0:
            self._stdin.write(_END_OF_INPUT)  # a terminal has no end: this is what a user types
        else:
            self._stdin.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._ends.terminal >= 0:
            size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
            fcntl.ioctl(self._ends.terminal, termios.TIOCSWINSZ, size)

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        pieces: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(1)

        async def read(name: str, stream: asyncio.StreamReader) -> None:
            while data := await stream.read(_PIECE_BYTES):
                await pieces.put((name, data))
            await pieces.put((name, b""))

        tasks = [background(read(*pair), f"exec {self.pid} {pair[0]}") for pair in self._readers.items()]
        try:
            left = len(tasks)
            while left:
                name, data = await pieces.get()
                if data:
                    yield name, data
                else:
                    left -= 1
        finally:
            for task in tasks:
                task.cancel()

    async def wait(self) -> int:
        assert self._reaped is not None
        return await asyncio.shield(self._reaped)

    async def close(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        await self.wait()
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.transport.abort()
        for transport in self._transports:
            transport.close()

    async def _reap(self) -> int:
        code = await self._process.wait()
        if self._ends.terminal >= 0:
            self._ends.close_child()
            os.close(self._ends.terminal)
            self._ends.terminal = -1
        return 128 - code if code < 0 else code


class AttachedOutput:
    """Implements ``ExecSession`` for a container that runs anyway: what it says from now on, and its end.
    Its standard input is empty, so nothing can be written."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def write(self, data: bytes) -> None:
        """Nothing reads it."""

    def close_stdin(self) -> None:
        """There is none."""

    def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    def output(self) -> AsyncIterator[tuple[str, bytes]]:
        return new_output(self._running.log)

    async def wait(self) -> int:
        return (await self._running.wait()).code

    async def close(self) -> None:
        """The container goes on."""
