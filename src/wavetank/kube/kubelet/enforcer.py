"""Who keeps the CPU and memory limits and counts what is used: the seam between kubelet and kernel.

``choose_enforcer`` takes the best one this machine allows: cgroup v2, cgroup v1, else signals. All three
count CPU time, memory and CFS throttling per container under the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Enforcer", "Group", "Limits", "Usage"]

CFS_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    """``cpu_millis`` and ``memory_bytes`` are limits (0 none), ``cpu_request_millis`` sets the shares."""

    cpu_millis: int = 0
    cpu_request_millis: int = 0
    memory_bytes: int = 0

    @property
    def quota_us(self) -> int:
        """CFS quota for a period of 100 ms; upstream allows no less than 1 ms."""
        return max(1000, self.cpu_millis * CFS_PERIOD_US // 1000) if self.cpu_millis else 0

    @property
    def shares(self) -> int:
        """cgroup v1 CPU shares as upstream derives them: 1024 a core, at least 2."""
        return max(2, min(262_144, self.cpu_request_millis * 1024 // 1000))


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of one container since its start, and its memory now. Times in nanoseconds, sizes in bytes."""

    cpu_ns: int = 0
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    memory_usage: int = 0
    memory_working_set: int = 0
    memory_rss: int = 0
    memory_cache: int = 0
    processes: int = 0
    oom_kills: int = 0


class Group(Protocol):
    """One container's processes, limited and metered together."""

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command that starts ``argv`` inside the group from its first instruction."""
        ...

    def adopt(self, pid: int) -> None:
        """The container's first process has been started with ``wrap``."""
        ...

    def resize(self, limits: Limits) -> None:
        """Change the limits of a running container."""
        ...

    def usage(self) -> Usage: ...

    def reaped(self, user_seconds: float, system_seconds: float) -> None:
        """The first process was waited for; its and its waited-for descendants' CPU times."""
        ...

    def oom_killed(self) -> bool:
        """Whether the memory limit has killed a process of the group."""
        ...

    def kill(self) -> bool:
        """SIGKILL every process of the group, wherever it moved itself; whether there was none left."""
        ...

    def release(self) -> None:
        """Lift throttling, so that the processes can handle their SIGTERM."""
        ...

    def close(self) -> None:
        """Forget the group; all processes have ended."""
        ...


class Enforcer(Protocol):
    """``name`` is shown by ``wavetank status`` and in the report."""

    name: str

    def group(self, pod_uid: str, container_id: str, limits: Limits) -> Group: ...

    def remove_pod(self, pod_uid: str) -> None: ...

    def close(self) -> None:
        """Remove what was made for the tank."""
        ...
