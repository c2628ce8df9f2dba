"""Limits by control groups, version 2 or 1: the kernel's own CFS bandwidth control and OOM killer.

Groups are ``wavetank/<tank>/pod<uid>/<container id>`` under every controller in use, so that whoever sweeps
up after a tank finds them by its id.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wavetank.clock import pause
from wavetank.kube.kubelet.enforcer import CFS_PERIOD_US, Limits, Usage

__all__ = ["CgroupV1", "CgroupV2", "choose_cgroups"]

ROOT = Path("/sys/fs/cgroup")


def choose_cgroups(tank: str, root: Path = ROOT) -> CgroupV2 | CgroupV1 | None:
    """The cgroup enforcer this machine lets us use, or None."""
    for kind in (CgroupV2, CgroupV1):
        enforcer = kind(tank, root)
        if enforcer.usable():
            return enforcer
        enforcer.close()
    return None


class _Cgroups:
    """What both versions share: directories per tank and pod."""

    name = ""

    def __init__(self, tank: str, root: Path) -> None:
        self._tank = tank
        self._root = root

    def _tops(self) -> list[Path]:
        raise NotImplementedError

    def remove_pod(self, pod_uid: str) -> None:
        for top in self._tops():
            _remove(top / f"pod{pod_uid}")

    def close(self) -> None:
        for top in self._tops():
            _remove(top)
            with suppress(OSError):
                top.parent.rmdir()  # `wavetank`, if no other tank is in it


class CgroupV2(_Cgroups):
    """The unified hierarchy, where the controllers cpu and memory may be handed down."""

    name = "cgroup v2"

    def _tops(self) -> list[Path]:
        return [self._root / "wavetank" / self._tank]

    def usable(self) -> bool:
        try:
            if not {"cpu", "memory"} <= set((self._root / "cgroup.controllers").read_text().split()):
                return False
            top = self._tops()[0]
            top.mkdir(parents=True, exist_ok=True)
            for directory in (self._root, top.parent, top):
                (directory / "cgroup.subtree_control").write_text("+cpu +memory")
        except OSError:
            return False
        return True

    def group(self, pod_uid: str, container_id: str, limits: Limits) -> GroupV2:
        pod = self._tops()[0] / f"pod{pod_uid}"
        pod.mkdir(parents=True, exist_ok=True)
        (pod / "cgroup.subtree_control").write_text("+cpu +memory")
        return GroupV2(pod / container_id, limits)


class CgroupV1(_Cgroups):
    """Controllers mounted one by one: cpu, cpuacct, memory."""

    name = "cgroup v1"
    controllers = ("cpu", "cpuacct", "memory")

    def _tops(self) -> list[Path]:
        # `cpu` and `cpuacct` are often one mount under two names; a set would lose the order.
        seen: dict[Path, Path] = {}
        for controller in self.controllers:
            mount = self._root / controller
            if mount.is_dir():
                seen.setdefault(mount.resolve(), mount / "wavetank" / self._tank)
        return list(seen.values())

    def usable(self) -> bool:
        try:
            for controller in self.controllers:
                top = self._root / controller / "wavetank" / self._tank
                if not (self._root / controller / "cgroup.procs").exists():
                    return False
                top.mkdir(parents=True, exist_ok=True)
            probe = self._root / "cpu" / "wavetank" / self._tank / "cpu.cfs_quota_us"
            return os.access(probe, os.W_OK)
        except OSError:
            return False

    def group(self, pod_uid: str, container_id: str, limits: Limits) -> GroupV1:
        base = Path("wavetank", self._tank, f"pod{pod_uid}", container_id)
        return GroupV1(self._root, base, limits)


class _Group:
    """Processes are moved by a shell that then becomes the program: no instruction runs outside."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories
        self._last = Usage()
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)

    def wrap(self, argv: Sequence[str]) -> list[str]:
        moves = " && ".join(f"echo $$ > {shlex.quote(str(d / 'cgroup.procs'))}" for d in self._directories)
        return ["/bin/sh", "-c", f'{moves} && exec "$@"', "sh", *argv]

    def adopt(self, pid: int) -> None:
        """Nothing to do: the process moved itself."""

    def reaped(self, user_seconds: float, system_seconds: float) -> None:
        """Nothing to do: the group counts on when its processes are gone."""

    def release(self) -> None:
        """Nothing to do: the kernel never stops a process for long."""

    def usage(self) -> Usage:
        try:
            self._last = self._read()
        except (OSError, KeyError, ValueError):
            return self._last  # the group is being removed
        return self._last

    def _read(self) -> Usage:
        raise NotImplementedError

    def oom_killed(self) -> bool:
        return self.usage().oom_kills > 0

    def pids(self) -> list[int]:
        with suppress(OSError, ValueError):
            return [int(pid) for pid in (self._directories[0] / "cgroup.procs").read_text().split()]
        return []

    def kill(self) -> bool:
        # Members may fork between reading and killing: whoever must be sure asks until none is left.
        pids = [pid for pid in self.pids() if not _is_zombie(pid)]
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    def close(self) -> None:
        self.usage()
        for directory in self._directories:
            _remove(directory)


class GroupV2(_Group):
    def __init__(self, directory: Path, limits: Limits) -> None:
        super().__init__([directory])
        self._directory = directory
        self.resize(limits)

    def resize(self, limits: Limits) -> None:
        quota = str(limits.quota_us) if limits.quota_us else "max"
        _write(self._directory / "cpu.max", f"{quota} {CFS_PERIOD_US}")
        # The mapping of shares (2..262144) to weights (1..10000) that runtimes use.
        _write(self._directory / "cpu.weight", str(1 + (limits.shares - 2) * 9999 // 262_142))
        _write(self._directory / "memory.max", str(limits.memory_bytes or "max"))
        with suppress(OSError):
            _write(self._directory / "memory.swap.max", "0")

    def _read(self) -> Usage:
        cpu = _table(self._directory / "cpu.stat")
        memory = _table(self._directory / "memory.stat")
        current = int((self._directory / "memory.current").read_text())
        return Usage(
            cpu_ns=cpu["usage_usec"] * 1000,
            cpu_user_ns=cpu.get("user_usec", 0) * 1000,
            cpu_system_ns=cpu.get("system_usec", 0) * 1000,
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_ns=cpu.get("throttled_usec", 0) * 1000,
            memory_usage=current,
            memory_working_set=max(0, current - memory.get("inactive_file", 0)),
            memory_rss=memory.get("anon", 0),
            memory_cache=memory.get("file", 0),
            processes=len(self.pids()),
            oom_kills=_table(self._directory / "memory.events").get("oom_kill", 0),
        )

    def kill(self) -> bool:
        with suppress(OSError):
            _write(self._directory / "cgroup.kill", "1")
        return super().kill()


class GroupV1(_Group):
    def __init__(self, root: Path, base: Path, limits: Limits) -> None:
        self._cpu, self._account, self._memory = (root / c / base for c in CgroupV1.controllers)
        distinct = {path.parents[len(base.parts) - 1].resolve(): path for path in (
            self._cpu, self._account, self._memory)}  # fmt: skip
        super().__init__(list(distinct.values()))
        self.resize(limits)

    def resize(self, limits: Limits) -> None:
        _write(self._cpu / "cpu.cfs_period_us", str(CFS_PERIOD_US))
        _write(self._cpu / "cpu.cfs_quota_us", str(limits.quota_us or -1))
        _write(self._cpu / "cpu.shares", str(limits.shares))
        _write(self._memory / "memory.limit_in_bytes", str(limits.memory_bytes or -1))

    def _read(self) -> Usage:
        cpu = _table(self._cpu / "cpu.stat")
        memory = _table(self._memory / "memory.stat")
        used = int((self._memory / "memory.usage_in_bytes").read_text())
        split = _table(self._account / "cpuacct.stat")
        tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return Usage(
            cpu_ns=int((self._account / "cpuacct.usage").read_text()),
            cpu_user_ns=split.get("user", 0) * tick,
            cpu_system_ns=split.get("system", 0) * tick,
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_ns=cpu.get("throttled_time", 0),
            memory_usage=used,
            memory_working_set=max(0, used - memory.get("total_inactive_file", 0)),
            memory_rss=memory.get("total_rss", 0),
            memory_cache=memory.get("total_cache", 0),
            processes=len(self.pids()),
            oom_kills=_table(self._memory / "memory.oom_control").get("oom_kill", 0),
        )


def _table(path: Path) -> dict[str, int]:
    """A file of ``name value`` lines."""
    return {
        name: int(value) for name, _, value in (line.partition(" ") for line in path.read_text().splitlines())
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat[stat.rindex(b")") + 2 : stat.rindex(b")") + 3] == b"Z"


def _remove(top: Path) -> None:
    """Remove a tree of groups, but for those that others of the tank still use. A group stays busy for a
    moment after its last process has gone."""
    if not top.is_dir():
        return
    for name, children, _ in os.walk(top, topdown=False):
        directory = Path(name)
        for _ in range(20):
            try:
                directory.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                if any((directory / child).is_dir() for child in children) or _busy(directory):
                    break
                pause(0.002)


def _busy(directory: Path) -> bool:
    with suppress(OSError, ValueError):
        pids = (directory / "cgroup.procs").read_text().split()
        return any(not _is_zombie(int(pid)) for pid in pids)
    return False
