"""Limits without cgroups: /proc for counting, SIGSTOP and SIGCONT for CPU, SIGKILL for memory.

CPU is kept as CFS keeps it, in periods of 100 ms: a container that has used its quota is stopped until the
next period refills it; unused quota is lost, overdraft is carried over. Periods, throttled periods and
throttled time are counted as ``cpu.stat`` counts them. Memory is the resident set, checked while it grows;
over the limit, the container is killed. Both are coarser than the kernel's own: /proc counts CPU in ticks
(10 ms), and shared pages are counted once only when the sum of resident sets is already over the limit.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from wavetank.clock import Clock
from wavetank.kube.kubelet.enforcer import CFS_PERIOD_US, Limits, Usage

__all__ = ["CONTAINER_VARIABLE", "Cfs", "SignalEnforcer", "container_marker", "process_table"]

CONTAINER_VARIABLE = "WAVETANK_CONTAINER"
_PERIOD = CFS_PERIOD_US / 1e6
_SLICES = 5  # looks per period at a container that is using CPU
_MEMORY_SECONDS = 0.25
_IDLE_SECONDS = 0.4  # longest pause between looks at a container that uses nothing


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """One line of the process table. Times in seconds: own, and of children waited for."""

    pid: int
    parent: int
    session: int
    user: float
    system: float
    child_user: float
    child_system: float
    resident: int

    @property
    def cpu(self) -> float:
        return self.user + self.system


def process_table() -> dict[int, ProcessEntry]:
    """All processes of the machine by pid, from /proc."""
    return {entry.pid: entry for entry in _entries()}


def _entries() -> Iterator[ProcessEntry]:
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for name in os.listdir("/proc"):  # noqa: PTH208 - much faster than Path.iterdir
        if name.isdigit() and (entry := _entry(int(name), tick, page)) is not None:
            yield entry


def _entry(pid: int, tick: int, page: int) -> ProcessEntry | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - the hot path of metering
            line = file.read()
    except OSError:
        return None
    fields = line[line.rindex(b")") + 2 :].split()
    user, system, child_user, child_system = (int(value) / tick for value in fields[11:15])
    return ProcessEntry(
        pid, int(fields[1]), int(fields[3]), user, system, child_user, child_system, int(fields[21]) * page
    )


@dataclass(frozen=True, slots=True)
class Cfs:
    """The bandwidth account of one container, as a value: CPU seconds in, decision out."""

    quota: float  # seconds of CPU a period
    left: float
    stopped_at: float | None = None
    periods: int = 0
    throttled_periods: int = 0
    throttled_seconds: float = 0.0
    active: bool = False
    hit: bool = False

    def spend(self, now: float, used: float) -> Cfs:
        """CPU was used; stop when the quota is gone."""
        left = self.left - used
        account = replace(self, left=left, active=self.active or used > 0)
        if left <= 0 and self.stopped_at is None:
            return replace(account, stopped_at=now, hit=True)
        return account

    def refill(self, now: float) -> Cfs:
        """A period is over."""
        throttled = self.stopped_at is not None or self.hit
        left = min(self.quota, self.left + self.quota)
        counted = replace(
            self,
            left=left,
            periods=self.periods + (1 if self.active or throttled else 0),
            throttled_periods=self.throttled_periods + (1 if throttled else 0),
            active=False,
            hit=False,
        )
        if self.stopped_at is None:
            return counted
        seconds = self.throttled_seconds + now - self.stopped_at
        still = now if left <= 0 else None
        return replace(counted, throttled_seconds=seconds, stopped_at=still)


class SignalGroup:
    """One container's processes: its session, its first process' descendants, and what carries its marker."""

    def __init__(self, marker: str, limits: Limits, clock: Clock) -> None:
        self._marker = marker
        self._clock = clock
        self._limits = limits
        self._pid = 0
        self._pids: tuple[int, ...] = ()
        self._seen: dict[int, ProcessEntry] = {}
        self._gone_user = self._gone_system = 0.0
        self._final: tuple[float, float] | None = None
        self._cpu_before = 0.0
        self._oom = False
        self._peak: Usage = Usage()
        self.cfs = self._account(limits)
        self._task: asyncio.Task[None] | None = None

    @staticmethod
    def _account(limits: Limits) -> Cfs | None:
        return Cfs(limits.quota_us / 1e6, limits.quota_us / 1e6) if limits.quota_us else None

    def wrap(self, argv: Sequence[str]) -> list[str]:
        return [*argv]

    def adopt(self, pid: int) -> None:
        self._pid = pid
        self._pids = (pid,)
        if self._limits.quota_us or self._limits.memory_bytes:
            self._task = asyncio.get_running_loop().create_task(
                self._enforce(), name=f"limits-{self._marker}"
            )

    def resize(self, limits: Limits) -> None:
        self._limits = limits
        account = self._account(limits)
        if account is not None and self.cfs is not None:
            account = replace(self.cfs, quota=account.quota)
        elif self.cfs is not None:
            self._signal(signal.SIGCONT)
        self.cfs = account
        if self._task is None and self._pid:
            self.adopt(self._pid)

    def usage(self) -> Usage:
        self._look()
        user, system = self._cpu()
        resident = sum(entry.resident for entry in self._seen.values())
        cfs = self.cfs
        return Usage(
            # A process that runs has used some; upstream's metrics server drops pods with a counter of 0.
            cpu_ns=max(int((user + system) * 1e9), 1_000_000 if self._pid else 0),
            cpu_user_ns=int(user * 1e9),
            cpu_system_ns=int(system * 1e9),
            periods=cfs.periods if cfs else 0,
            throttled_periods=cfs.throttled_periods if cfs else 0,
            throttled_ns=int(cfs.throttled_seconds * 1e9) if cfs else 0,
            memory_usage=resident,
            memory_working_set=resident,
            memory_rss=resident,
            processes=len(self._seen),
            oom_kills=int(self._oom),
        )

    def reaped(self, user_seconds: float, system_seconds: float) -> None:
        self._final = (user_seconds, system_seconds)

    def oom_killed(self) -> bool:
        return self._oom

    def release(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._signal(signal.SIGCONT)

    def kill(self) -> bool:
        self._look()
        self._signal(signal.SIGKILL)
        left = list(_marked(self._marker))
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return not left

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _look(self, table: Mapping[int, ProcessEntry] | None = None) -> None:
        """Find the container's processes anew."""
        if not self._pid:
            return
        table = process_table() if table is None else table
        children: dict[int, list[int]] = {}
        for entry in table.values():
            children.setdefault(entry.parent, []).append(entry.pid)
        members = {pid for pid, entry in table.items() if entry.session == self._pid}
        queue = [self._pid, *members, *self._pids]
        while queue:
            pid = queue.pop()
            for child in children.get(pid, ()):
                if child not in members:
                    members.add(child)
                    queue.append(child)
        members |= {pid for pid in (self._pid, *self._pids) if pid in table}
        self._take({pid: table[pid] for pid in members})

    def _descend(self) -> None:
        """Add descendants of the known processes: cheaper than ``_look``, but blind to orphans."""
        pids = dict.fromkeys((self._pid, *self._pids))
        queue = list(pids)
        while queue:
            for child in _children(queue.pop()):
                if child not in pids:
                    pids[child] = None
                    queue.append(child)
        self._pids = tuple(pids)
        self._refresh()

    def _refresh(self) -> None:
        """Read the known processes only: cheap enough for every slice."""
        tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        found = (_entry(pid, tick, page) for pid in self._pids)
        self._take({entry.pid: entry for entry in found if entry is not None})

    def _take(self, seen: dict[int, ProcessEntry]) -> None:
        """What a vanished process had used stays counted, unless its parent, still here, now counts it."""
        for pid, entry in self._seen.items():
            if pid not in seen and entry.parent not in seen:
                self._gone_user += entry.user + entry.child_user
                self._gone_system += entry.system + entry.child_system
        self._seen = seen
        self._pids = tuple(seen)

    def _cpu(self) -> tuple[float, float]:
        """CPU seconds since the start; never less than said before."""
        if self._final is not None and not self._seen:
            user, system = self._final
        else:
            user = self._gone_user + sum(e.user + e.child_user for e in self._seen.values())
            system = self._gone_system + sum(e.system + e.child_system for e in self._seen.values())
        user = max(user, self._peak.cpu_user_ns / 1e9)
        system = max(system, self._peak.cpu_system_ns / 1e9)
        self._peak = Usage(cpu_user_ns=int(user * 1e9), cpu_system_ns=int(system * 1e9))
        return user, system

    async def _enforce(self) -> None:
        now = self._clock.monotonic()
        next_look = next_memory = now
        next_refill = now + _PERIOD
        pause = _PERIOD / _SLICES
        while True:
            if now >= next_look:
                self._descend()
                next_look = now + max(1.0, 10 * pause)
            else:
                self._refresh()
            if not self._seen:
                return
            if self._limits.memory_bytes and now >= next_memory:
                next_memory = now + _MEMORY_SECONDS
                if self._over_memory():
                    self._oom = True
                    self.kill()
                    return
            if self.cfs is None:
                pause = _MEMORY_SECONDS
            else:
                periods = max(0, int((now - next_refill) // _PERIOD) + 1)
                busy = self._bandwidth(now, periods)
                next_refill += _PERIOD * periods
                # An idle container is looked at less and less: it can overdraw, but pays that back.
                pause = _PERIOD / _SLICES if busy else min(_IDLE_SECONDS, pause * 2)
            await self._clock.sleep(pause)
            now = self._clock.monotonic()

    def _bandwidth(self, now: float, periods: int) -> bool:
        """Account for the CPU used since the last look; whether the container is using any."""
        assert self.cfs is not None
        total = sum(self._cpu())
        used = max(0.0, total - self._cpu_before)
        self._cpu_before = total
        was_stopped = self.cfs.stopped_at is not None
        account = self.cfs.spend(now, used)
        for _ in range(min(periods, 10)):
            account = account.refill(now)
        self.cfs = account
        stopped = account.stopped_at is not None
        if stopped and not was_stopped:
            self._descend()
            self._signal(signal.SIGSTOP)
        elif was_stopped and not stopped:
            self._signal(signal.SIGCONT)
        return used > 0 or stopped

    def _over_memory(self) -> bool:
        limit = self._limits.memory_bytes
        if sum(entry.resident for entry in self._seen.values()) <= limit:
            return False
        return sum(_proportional(pid) for pid in self._seen) > limit


def _children(pid: int) -> list[int]:
    """Children of all threads of a process; none where the kernel does not list them."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - the hot path of metering
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def _proportional(pid: int) -> int:
    """A process' memory with shared pages split among the sharers, in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def container_marker(tank: str, container_id: str) -> str:
    """What marks a container's processes. Container ids are drawn from the seed, so two tanks may have the
    same ones at the same time."""
    return f"{tank}/{container_id}"


def _marked(marker: str) -> Iterator[int]:
    """Processes that carry the container's marker in their environment, wherever they moved."""
    needle = f"{CONTAINER_VARIABLE}={marker}".encode()
    for name in os.listdir("/proc"):  # noqa: PTH208 - much faster than Path.iterdir
        if name.isdigit():
            with suppress(OSError):
                if needle in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    yield int(name)


class SignalEnforcer:
    name = "signals (100 ms duty cycle, no cgroup)"

    def __init__(self, tank: str, clock: Clock) -> None:
        self._tank = tank
        self._clock = clock

    def group(self, pod_uid: str, container_id: str, limits: Limits) -> SignalGroup:
        return SignalGroup(container_marker(self._tank, container_id), limits, self._clock)

    def remove_pod(self, pod_uid: str) -> None:
        """Nothing was made."""

    def close(self) -> None:
        """Nothing was made."""
