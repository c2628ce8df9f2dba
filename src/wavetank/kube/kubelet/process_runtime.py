"""Containers as ordinary processes: one session each, own address, own log, limits by the enforcer.

The program sees this machine's file system. Its environment begins with a PATH that finds the programs of our
own virtual environment first, then HOME, HOSTNAME, the locale, and the tank's marker, by which leftovers are
found; the API's variables come on top. Its standard input is empty. Left out: users (``runAsUser``),
capabilities, read-only file systems, namespaces; the runtime ``sandbox`` is for those.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from wavetank.clock import Clock
from wavetank.kube.kubelet.background import background
from wavetank.kube.kubelet.cgroups import choose_cgroups
from wavetank.kube.kubelet.container_log import ContainerLog
from wavetank.kube.kubelet.enforcer import Enforcer, Group, Limits, Usage
from wavetank.kube.kubelet.exec_session import open_session
from wavetank.kube.kubelet.runtime import ContainerConfig, Exit, StartError
from wavetank.kube.kubelet.signals import CONTAINER_VARIABLE, SignalEnforcer, container_marker
from wavetank.kube.providers import ExecSession
from wavetank.process import TANK_VARIABLE

__all__ = ["ProcessRuntime", "choose_enforcer"]

_READ_BYTES = 65536
_BURIAL_SECONDS = 0.002
_BURIAL_TRIES = 1000  # then the container counts as ended although something would not die
_INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


def choose_enforcer(tank: str, clock: Clock) -> Enforcer:
    """cgroup v2, else v1, else signals."""
    return choose_cgroups(tank) or SignalEnforcer(tank, clock)


class ProcessRuntime:
    """Starts processes. ``tank`` goes into every child's environment as ``WAVETANK_TANK``."""

    name = "process"

    def __init__(self, tank: str, clock: Clock, *, enforcer: Enforcer | None = None) -> None:
        self._tank = tank
        self._clock = clock
        self._enforcer = enforcer or choose_enforcer(tank, clock)
        self.enforcer = self._enforcer.name
        self._running: set[ProcessContainer] = set()

    async def start(self, config: ContainerConfig) -> ProcessContainer:
        environment = self._environment(config)
        argv = [find_program(config.argv, environment["PATH"], config.directory), *config.argv[1:]]
        try:
            group = self._enforcer.group(config.pod_uid, config.container_id, config.limits)
        except OSError as error:
            raise StartError("CreateContainerError", f"cannot make the control group: {error}") from None
        log = ContainerLog(config.log_path, self._clock)
        try:
            container = ProcessContainer(argv, environment, config, group, log, self._clock)
        except OSError as error:
            log.close()
            group.close()
            message = f'exec: "{config.argv[0]}": {(error.strerror or str(error)).lower()}'
            raise StartError("RunContainerError", message) from None
        self._running.add(container)
        container.ended.add_done_callback(lambda _: self._running.discard(container))
        return container

    def _environment(self, config: ContainerConfig) -> dict[str, str]:
        host = os.environ
        programs = str(Path(sys.executable).parent)
        environment = {
            "PATH": os.pathsep.join([programs, host.get("PATH", os.defpath)]),
            "HOME": str(config.home),
            "HOSTNAME": config.pod.partition("/")[2],
            **{name: host[name] for name in _INHERITED if name in host},
        }
        environment.update(config.environment)
        environment[TANK_VARIABLE] = self._tank
        environment[CONTAINER_VARIABLE] = container_marker(self._tank, config.container_id)
        return environment

    def remove_pod(self, pod_uid: str) -> None:
        self._enforcer.remove_pod(pod_uid)

    def close(self) -> None:
        for container in list(self._running):
            container.kill()
        self._enforcer.close()


def find_program(argv: Sequence[str], path: str, directory: Path) -> str:
    """The file to run. Raises StartError with what a runtime says, and the fix."""
    name = argv[0]
    if os.sep in name:
        file = directory / name
        if not file.exists():
            raise StartError(
                "RunContainerError",
                f'exec: "{name}": stat {name}: no such file or directory; pods run on this machine\'s file '
                "system: install the program or name one that exists here",
            )
        if file.is_dir() or not os.access(file, os.X_OK):
            raise StartError("RunContainerError", f'exec: "{name}": permission denied')
        return str(file)
    found = shutil.which(name, path=path)
    if found is None:
        raise StartError(
            "RunContainerError",
            f'exec: "{name}": executable file not found in $PATH; pods run on this machine: install {name!r} '
            f"(for a Python program: {sys.executable} -m pip install ...) or give its path in command",
        )
    return found


class ProcessContainer:
    """A running container. Its pipes and its end are watched by the event loop, without threads."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        config: ContainerConfig,
        group: Group,
        log: ContainerLog,
        clock: Clock,
    ) -> None:
        self.log = log
        self._clock = clock
        self._group = group
        self._config = config
        self._environment = environment
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Exit] = self._loop.create_future()
        self._process = subprocess.Popen(
            group.wrap(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=config.directory,
            start_new_session=True,
            bufsize=0,
        )
        self.pid = self._process.pid
        self._group.adopt(self.pid)
        self._open: dict[int, str] = {}
        for stream, name in ((self._process.stdout, "stdout"), (self._process.stderr, "stderr")):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._open[stream.fileno()] = name
            self._loop.add_reader(stream.fileno(), self._read, stream.fileno())
        self._watch_end()

    async def wait(self) -> Exit:
        return await asyncio.shield(self.ended)

    def terminate(self) -> None:
        if self._process.returncode is None:
            self._group.release()
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._group.kill()

    def usage(self) -> Usage:
        return self._group.usage()

    def resize(self, limits: Limits) -> None:
        self._group.resize(limits)

    async def execute(self, argv: Sequence[str], timeout: float) -> tuple[int, str]:
        program = find_program(argv, self._environment["PATH"], self._config.directory)
        process = await asyncio.create_subprocess_exec(
            *self._group.wrap([program, *argv[1:]]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self._environment),
            cwd=self._config.directory,
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), timeout)
        except BaseException:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        return process.returncode or 0, output[:_READ_BYTES].decode("utf-8", "replace")

    async def open(self, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecSession:
        program = find_program(argv, self._environment["PATH"], self._config.directory)
        command = self._group.wrap([program, *argv[1:]])
        try:
            return await open_session(
                command, self._environment, self._config.directory, stdin=stdin, tty=tty
            )
        except OSError as error:
            message = f'exec: "{argv[0]}": {(error.strerror or str(error)).lower()}'
            raise StartError("RunContainerError", message) from None

    def _watch_end(self) -> None:
        """Learn of the end through a pidfd where there are such, else from a waiting thread."""
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._loop.run_in_executor(None, self._wait_in_thread)
            return
        self._loop.add_reader(self._pidfd, self._reap)

    def _wait_in_thread(self) -> None:
        _, status, usage = os.wait4(self.pid, 0)
        self._loop.call_soon_threadsafe(self._end, status, usage.ru_utime, usage.ru_stime)

    def _reap(self) -> None:
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid == 0:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._end(status, usage.ru_utime, usage.ru_stime)

    def _end(self, status: int, user: float, system: float) -> None:
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        # Whatever the first process left behind ends with it, as a PID namespace would have it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._group.reaped(user, system)
        if self._group.kill():
            self._finish(code)
        else:
            self._burial = background(self._bury(code), f"end of {self._config.pod}")

    async def _bury(self, code: int) -> None:
        """What was killed takes a moment to die; only then has the container ended."""
        for _ in range(_BURIAL_TRIES):
            await self._clock.sleep(_BURIAL_SECONDS)
            if self._group.kill():
                break
        self._finish(code)

    def _finish(self, code: int) -> None:
        for number in list(self._open):
            self._read(number, last=True)
        self.log.close()
        oom = self._group.oom_killed() and code != 0
        self._group.close()
        number = -code if code < 0 else 0
        if not self.ended.done():
            self.ended.set_result(Exit(128 + number if number else code, number, oom))

    def _read(self, number: int, last: bool = False) -> None:
        """Pass on output. At the end, read what is there and close."""
        while True:
            try:
                data = os.read(number, _READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                last = True
                break
            self.log.feed(self._open[number], data)
            if not last:
                return
        if last:
            self._loop.remove_reader(number)
            del self._open[number]
            stream = (
                self._process.stdout if number == self._fd(self._process.stdout) else self._process.stderr
            )
            assert stream is not None
            stream.close()

    @staticmethod
    def _fd(stream: object) -> int:
        return stream.fileno() if stream is not None and not stream.closed else -1  # type: ignore[attr-defined]
