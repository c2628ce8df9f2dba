"""The load generator as the rest of the system sees it: check, start, run stages, stop, and the figures.

Runs in the event loop and never imports Locust. It spawns the Locust processes, talks to them over socket
pairs, plays stages at exact instants and merges what they recorded. One process is a local runner;
``processes`` above one are Locust's own master and workers, each worker playing its share of one schedule.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wavetank.clock import Clock
from wavetank.errors import InputError, InternalError
from wavetank.journal import Journal
from wavetank.limits import (
    LOAD_DRAIN_SECONDS,
    LOAD_IMPORT_SECONDS_MAX,
    LOAD_ORPHAN_SECONDS,
    LOAD_USERS_MAX,
    LOAD_WORKERS_MAX,
)
from wavetank.load._link import Link
from wavetank.load.messages import (
    Begin,
    Command,
    Delta,
    Done,
    Hello,
    Quit,
    Report,
    RunShape,
    SetRate,
    SetUsers,
    StageBegan,
    Stop,
    UserClass,
    WantUsers,
)
from wavetank.load.results import Results, Second, Snapshot
from wavetank.load.stages import RateStage, Stage
from wavetank.load.target import LoadTarget, check_reachable
from wavetank.process import python_argv, spawn

__all__ = ["LoadGenerator", "LoadOptions", "LoadTarget", "UserClasses"]

_LEAD_SECONDS = 0.5  # a stage is announced this long before it begins


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """``directory`` takes the processes' logs. ``target`` None leaves the hosts of the user classes."""

    locustfiles: tuple[Path, ...]
    directory: Path
    target: LoadTarget | None = None
    cwd: Path | None = None
    user_classes: tuple[str, ...] = ()
    locust_arguments: tuple[str, ...] = ()
    users_max: int = LOAD_USERS_MAX
    processes: int = 1
    web_port: int | None = None
    drain_seconds: float = LOAD_DRAIN_SECONDS
    loglevel: str = "INFO"


@dataclass(frozen=True, slots=True)
class UserClasses:
    """What the locustfile defines."""

    classes: tuple[UserClass, ...]
    shape: str | None
    locust_version: str
    warnings: tuple[str, ...]


class LoadGenerator:
    """Drives real Locust. Not to be started twice."""

    def __init__(self, clock: Clock, journal: Journal | None, options: LoadOptions) -> None:
        self._clock = clock
        self._journal = journal
        self.options = options
        self.results = Results()
        self.listeners: list[Callable[[Second], None]] = []
        self.stage_listeners: list[Callable[[int, Stage, float], None]] = []
        self.exit_code: int | None = None  # asked for by the locustfile
        self.stage_index: int | None = None
        self.began_at: float | None = None  # Unix seconds: the first stage took effect
        self._links: list[Link] = []
        self._found: UserClasses | None = None
        self._stages: dict[int, Stage] = {}
        self._began: set[int] = set()
        self._next_index = 0
        self._ended = asyncio.Event()
        self._end_reason = ""
        self._started = False
        self._stopping: asyncio.Task[None] | None = None
        self._wanted_users = 0
        self._master_port = 0
        self._changed = asyncio.Event()

    # --- life

    async def check(self) -> UserClasses:
        """Import the locustfile in its process. Raises InputError that names its file and line."""
        if self._found is None:
            self._check_options()
            role = "master" if self.options.processes > 1 else "local"
            hello = await self._launch(role)
            self._found = UserClasses(hello.user_classes, hello.shape, hello.locust_version, hello.warnings)
            self._master_port = hello.master_port or 0
        return self._found

    async def check_target(self) -> None:
        """Connect to every target once. Raises InputError if nothing accepts connections there."""
        found = await self.check()
        if self.options.target is not None:
            targets = [self.options.target]
        else:
            for user_class in found.classes:
                if user_class.host is None:
                    raise InputError(
                        f"user class {user_class.name} has no host",
                        at=self.options.locustfiles[0],
                        fix="pass --host, or set host on the class",
                    )
            targets = [LoadTarget(host) for host in sorted({c.host for c in found.classes if c.host})]
        for target in targets:
            await check_reachable(target)

    async def start(self) -> None:
        """Be ready to make load. Raises InputError for a bad locustfile or an unreachable target."""
        try:
            await self.check()
            await self.check_target()
            if self.options.processes > 1:
                await asyncio.gather(*(self._launch(f"worker-{i}") for i in range(self.options.processes)))
                await self._until(lambda: self._workers_connected, "the workers did not reach their master")
        except BaseException:
            await self.stop("not started")
            raise
        self._started = True
        self._note("load.start", processes=self.options.processes)

    async def run_stages(self, stages: Sequence[Stage]) -> None:
        """Play stages one after the other; returns at the end of the last, users still there.

        Also returns when the locustfile itself ends the test. Raises InternalError when Locust dies.
        """
        assert self._started and self._stopping is None
        starts_at = self._clock.now() + _LEAD_SECONDS
        for stage in stages:
            if await self._pause_until(starts_at - _LEAD_SECONDS):
                return
            self._begin(stage, starts_at)
            starts_at += stage.duration_seconds
        await self._pause_until(starts_at)

    async def run_shape(self) -> None:
        """Run the locustfile's own LoadTestShape to its end."""
        assert self._started and self._stopping is None
        await self._primary.send(RunShape())
        self.began_at = self._clock.now()
        await self._pause_until(None)

    async def set_rate(self, rps: float) -> None:
        """Arrivals at a constant rate from now on, until told otherwise."""
        await self._tell_makers(
            lambda i, n: SetRate(rps, max(1, self.options.users_max // n), worker=i, workers=n)
        )
        self._note("load.stage", index=-1, rps=rps, arrivals="constant")

    async def set_users(self, users: int, spawn_rate: float | None = None) -> None:
        """A closed model of this many users from now on, until told otherwise."""
        for link in self._links:
            await link.send(SetUsers(users, spawn_rate))
        self._note("load.stage", index=-1, users=users, arrivals="closed")

    async def stop(self, reason: str = "finished") -> None:
        """End arrivals, let running tasks end, end the processes: gently first, then by signals.

        Safe to call again and while another call waits; a cancelled caller does not undo it.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(reason))
        await asyncio.shield(self._stopping)

    async def _stop(self, reason: str) -> None:
        if self._links and self._started and not self._ended.is_set():
            for link in self._links:
                await link.send(Stop(self.options.drain_seconds))
            deadline = self._clock.monotonic() + self.options.drain_seconds + LOAD_ORPHAN_SECONDS
            while not (self._ended.is_set() or self._primary.silent) and self._clock.monotonic() < deadline:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), 0.5)
        for link in reversed(self._links):
            await link.send(Quit())
        await asyncio.gather(*(link.close() for link in self._links))
        self._publish(self._clock.now() + 60)
        if self._started:
            self._note("load.stop", reason=reason)

    # --- figures

    @property
    def seconds(self) -> list[Second]:
        return self.results.seconds

    def snapshot(self, window_seconds: int = 5) -> Snapshot:
        """Rates and percentiles over the last seconds, totals since the beginning."""
        return self.results.snapshot(self._clock.now(), window_seconds)

    @property
    def pids(self) -> list[int]:
        """Of the Locust processes."""
        return [link.child.pid for link in self._links]

    # --- inside

    def _check_options(self) -> None:
        options = self.options
        for path in options.locustfiles:
            if not path.is_file():
                raise InputError("there is no such locustfile", at=path, fix="pass -f with the right path")
        if not 1 <= options.processes <= LOAD_WORKERS_MAX:
            raise InputError(f"processes must be 1 to {LOAD_WORKERS_MAX}, got {options.processes}")
        if options.users_max < options.processes:
            raise InputError(f"users_max {options.users_max} is below one user per process")
        if options.target is not None:
            assert options.target.address

    def _argv(self, role: str, channel: int) -> list[str]:
        options = self.options
        argv = ["--channel", str(channel), "--role", role.partition("-")[0], "--seed", str(self._clock.seed)]
        for path in options.locustfiles:
            argv += ["--locustfile", str(path.resolve())]
        if options.target is not None:
            argv += ["--host", options.target.shown_url]
            for route in options.target.routes:
                argv += ["--route", route]
        for name in options.user_classes:
            argv += ["--user-class", name]
        if role.startswith("worker"):
            argv += ["--master-port", str(self._master_port)]
        elif options.web_port is not None:
            argv += ["--web-port", str(options.web_port)]
        return [*argv, "--loglevel", options.loglevel, "--", *options.locust_arguments]

    async def _launch(self, role: str) -> Hello:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                child = await spawn(
                    f"locust-{role}",
                    python_argv("wavetank.load._locust_child", *self._argv(role, theirs.fileno())),
                    cwd=self.options.cwd,
                    log_path=self.options.directory / f"locust-{role}.log",
                    clock=self._clock,
                    journal=self._journal,
                    pass_fds=(theirs.fileno(),),
                )
            except BaseException:
                ours.close()
                raise
        link = await Link.open(role, child, ours, self._clock, self._on_report, self._on_end)
        self._links.append(link)
        try:
            return await link.greeting(self.options.locustfiles[0])
        except BaseException:
            await link.close(grace_seconds=0.5)
            self._links.remove(link)
            raise

    @property
    def _primary(self) -> Link:
        return self._links[0]

    @property
    def _makers(self) -> list[Link]:
        """The processes that run users, in order of their index."""
        return self._links if self.options.processes == 1 else sorted(self._links[1:], key=Link.index)

    @property
    def _workers_connected(self) -> bool:
        return self._primary.workers >= self.options.processes

    async def _tell_makers(self, command: Callable[[int, int], Command]) -> None:
        makers = self._makers
        for i, link in enumerate(makers):
            await link.send(command(i, len(makers)))

    def _begin(self, stage: Stage, starts_at: float) -> None:
        index, self._next_index = self._next_index, self._next_index + 1
        self._stages[index] = stage
        makers = self._makers
        share = max(1, self.options.users_max // len(makers))
        for i, link in enumerate(makers):
            link.send_now(Begin(index, starts_at, stage, share, i, len(makers)))
        if self._primary not in makers:
            self._primary.send_now(Begin(index, starts_at, stage, self.options.users_max))

    async def _pause_until(self, instant: float | None) -> bool:
        """Wait for an instant; True when the load ended before. Raises InternalError if Locust died."""
        waits: list[asyncio.Task[None]] = [asyncio.create_task(self._wait_ended())]
        if instant is not None:
            waits.append(asyncio.create_task(self._sleep_until(instant)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        dead = next((link for link in self._links if link.died), None)
        if dead is not None:
            code = await dead.child.wait()
            raise dead.death(f"ended with {code} in the middle of the load")
        return self._ended.is_set()

    async def _wait_ended(self) -> None:
        await self._ended.wait()

    async def _sleep_until(self, instant: float) -> None:
        await self._clock.sleep(instant - self._clock.now())

    async def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        try:
            async with asyncio.timeout(LOAD_IMPORT_SECONDS_MAX):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise InternalError(complaint, at=self.options.directory) from None

    def _on_report(self, link: Link, report: Report) -> None:
        match report:
            case Delta():
                link.workers = report.workers
                if self._started:
                    self.results.add(link.role, report)
                    self._publish(report.at)
            case StageBegan():
                self._stage_began(report)
            case WantUsers():
                self._want_users(report.users)
            case Done():
                self.exit_code = report.exit_code
                if link is self._primary:
                    self._ended.set()
            case _:
                pass
        self._changed.set()

    def _on_end(self, link: Link) -> None:
        """A channel closed: fine when we asked for it, the end of the load when not."""
        if self._stopping is None:
            link.died = True
            self._ended.set()
        self._changed.set()

    def _publish(self, now: float) -> None:
        for row in self.results.completed(now):
            for listener in self.listeners:
                listener(row)

    def _stage_began(self, report: StageBegan) -> None:
        stage = self._stages.get(report.index)
        if stage is None or report.index in self._began:
            return
        self._began.add(report.index)
        if self.began_at is None:
            self.began_at = report.at
        self.stage_index = report.index
        if isinstance(stage, RateStage):
            fields: dict[str, object] = {"rps": stage.points[0][1], "arrivals": stage.arrivals}
            if stage.points[-1][1] != stage.points[0][1]:
                fields["to"] = stage.points[-1][1]
        else:
            fields = {"users": stage.users, "arrivals": "closed"}
            if stage.to is not None:
                fields["to"] = stage.to
        self._note("load.stage", at=report.at, index=report.index, duration=stage.duration_seconds, **fields)
        for listener in self.stage_listeners:
            listener(report.index, stage, report.at)

    def _want_users(self, users_of_worker: int) -> None:
        """Workers grow alike: the master places users evenly."""
        users = min(self.options.users_max, users_of_worker * self.options.processes)
        if users > self._wanted_users:
            self._wanted_users = users
            self._primary.send_now(SetUsers(users, closed=False))

    def _note(self, kind: str, **fields: object) -> None:
        if self._journal is not None:
            self._journal.record(kind, **fields)
