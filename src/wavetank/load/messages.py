"""What the parent and the Locust children say to each other: one JSON object a line, told apart by ``type``.

Instants are Unix seconds, durations seconds. The parent commands, children report; a child that reads the
end of the channel knows that its parent is gone and stops.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from wavetank.load.stages import RateStage, UserStage

__all__ = [
    "Begin",
    "Command",
    "Delta",
    "Done",
    "Durations",
    "EntryDelta",
    "ErrorDelta",
    "Failed",
    "Hello",
    "Quit",
    "Report",
    "RunShape",
    "SecondDelta",
    "SetRate",
    "SetUsers",
    "StageBegan",
    "Stop",
    "UserClass",
    "WantUsers",
]


# --- commands --------------------------------------------------------------------------------------------


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Begin a stage at an instant; the stage before it is replaced then."""

    index: int
    starts_at: float
    stage: UserStage | RateStage
    users_max: int  # of this worker
    worker: int = 0
    workers: int = 1


class SetRate(msgspec.Struct, frozen=True, tag="set_rate"):
    """From now on, arrivals at this rate; the whole rate, of which a worker plays its share."""

    rps: float
    users_max: int
    worker: int = 0
    workers: int = 1


class SetUsers(msgspec.Struct, frozen=True, tag="set_users"):
    """Have this many users; ``closed`` also ends an arrival stage."""

    users: int
    spawn_rate: float | None = None
    closed: bool = True


class RunShape(msgspec.Struct, frozen=True, tag="run_shape"):
    """Run the locustfile's own LoadTestShape; ``done`` is reported at its end."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """No new arrivals; give running tasks ``drain_seconds`` to end, then report ``done``."""

    drain_seconds: float


class Quit(msgspec.Struct, frozen=True, tag="quit"):
    """Leave Locust's way: fire ``quitting`` and ``quit``, then exit."""


Command = Begin | SetRate | SetUsers | RunShape | Stop | Quit


# --- reports ---------------------------------------------------------------------------------------------


class UserClass(msgspec.Struct, frozen=True):
    name: str
    tasks: int
    weight: float
    fixed_count: int
    host: str | None


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The locustfile is imported and the runner ready."""

    role: Literal["local", "master", "worker"]
    pid: int
    locust_version: str
    user_classes: tuple[UserClass, ...]
    shape: str | None
    warnings: tuple[str, ...] = ()
    master_port: int | None = None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The locustfile or an option cannot be used; the child exits after this."""

    message: str
    path: str | None = None
    line: int | None = None
    fix: str | None = None
    detail: str = ""


class Durations(msgspec.Struct, frozen=True, array_like=True):
    """A histogram on the wire."""

    buckets: dict[int, int]
    total: float
    least: float
    greatest: float


class EntryDelta(msgspec.Struct, frozen=True):
    """Requests of one second, method, name and status since the last report."""

    second: int
    method: str
    name: str
    status: str
    requests: int
    failures: int
    content_bytes: int
    response: Durations  # from the intended start
    service: Durations  # from sending


class SecondDelta(msgspec.Struct, frozen=True):
    """Arrivals (runs of tasks) of one second since the last report."""

    second: int
    scheduled: int
    started: int
    dropped: int
    finished: int
    lateness: Durations | None


class ErrorDelta(msgspec.Struct, frozen=True):
    method: str
    name: str
    error: str
    occurrences: int


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """What a worker recorded since its last report."""

    at: float
    entries: tuple[EntryDelta, ...]
    seconds: tuple[SecondDelta, ...]
    errors: tuple[ErrorDelta, ...]
    task_exceptions: int
    interrupted: int  # runs of tasks that were cut short
    users: int
    busy: int  # users inside a task
    backlog: int  # arrivals due that wait for a user
    state: str
    cpu_seconds: float
    runq_seconds: float  # wanted to run, but others held the CPU
    workers: int = 1


class WantUsers(msgspec.Struct, frozen=True, tag="want_users"):
    """A worker's arrivals need more users than it has."""

    users: int


class StageBegan(msgspec.Struct, frozen=True, tag="stage_began"):
    """A stage took effect; ``at`` is the exact instant, not the intended one."""

    index: int
    at: float


class Done(msgspec.Struct, frozen=True, tag="done"):
    """No users run any more. ``exit_code`` is the one the locustfile asked for, if it did."""

    reason: str
    exit_code: int | None


Report = Hello | Failed | Delta | WantUsers | StageBegan | Done
