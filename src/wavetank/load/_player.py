"""Stages inside a load child: at its instant each stage takes effect, and its users or arrivals follow.

One greenlet plays the stages in order, so that the end of one schedule and the beginning of the next never
overlap. The crew turns "so many users" into calls of Locust's runner, one at a time, the latest wish first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from gevent.queue import Queue

from wavetank.clock import Clock
from wavetank.load.arrivals import thin
from wavetank.load.gate import Gate, pool_size
from wavetank.load.messages import Begin, Report, SetRate, SetUsers, StageBegan
from wavetank.load.stages import RateStage, UserStage, rate_stage, schedule

__all__ = ["Crew", "Player"]

_RAMP_STEP_SECONDS = 0.25
_AT_ONCE = 10_000.0  # a spawn rate at which Locust's dispatcher needs one step
_OPEN_END_SECONDS = 366 * 86400.0


class Crew:
    """The runner's users. A worker has no say over them: it tells what it wants."""

    def __init__(self, runner: Any, want: Callable[[int], None] | None) -> None:
        self._runner = runner
        self._want = want
        self._wish: tuple[int, float] | None = None
        self._wished = Event()
        self._granting: Any = None
        if want is None:
            self._granting = gevent.spawn(self._grant)

    def count(self) -> int:
        return int(self._runner.user_count)

    def grow(self, users: int) -> None:
        if self._want is not None:
            self._want(users)
        else:
            self.set(users)

    def set(self, users: int, spawn_rate: float | None = None) -> None:
        """Have this many users; of no effect in a worker."""
        if self._want is None:
            self._wish = (users, spawn_rate or _AT_ONCE)
            self._wished.set()

    def _grant(self) -> None:
        while True:
            self._wished.wait()
            self._wished.clear()
            wish, self._wish = self._wish, None
            if wish is not None:
                self._runner.start(*wish)

    def settle(self) -> None:
        """Grant no more wishes."""
        if self._granting is not None:
            self._granting.kill()


class Player:
    """Plays stages one after the other through the gate and the crew."""

    def __init__(
        self, clock: Clock, gate: Gate, crew: Crew, send: Callable[[Report], None], role: str
    ) -> None:
        self._clock = clock
        self._gate = gate
        self._crew = crew
        self._send = send
        self._role = role
        self._coming: Queue[Begin] = Queue()
        self._greenlet: Any = None
        self._begun = False

    def accept(self, command: Begin | SetRate) -> None:
        """A stage is played after those before it; a rate replaces all of them."""
        if isinstance(command, SetRate):
            self.stop()
            stage = rate_stage(_OPEN_END_SECONDS, command.rps)
            command = Begin(-1, self._clock.now(), stage, command.users_max, command.worker, command.workers)
        elif isinstance(command.stage, RateStage) and (not self._begun or self._gate.scheduled):
            self._gate.shut(command.users_max)
            self._ensure(command)  # users are there before the first arrival
        self._begun = True
        self._coming.put(command)
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def set_users(self, command: SetUsers) -> None:
        if command.closed:
            self.stop()
            self._begun = True
            self._gate.open()
        self._crew.set(command.users, command.spawn_rate)

    def stop(self) -> None:
        """Forget the current stage and all that would follow."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
        self._coming = Queue()

    def _run(self) -> None:
        while True:
            command = self._coming.get()
            starts_at = self._clock.monotonic() + command.starts_at - self._clock.now()
            gevent.sleep(max(0.0, starts_at - self._clock.monotonic()))
            if isinstance(command.stage, UserStage):
                self._play_users(command, command.stage, starts_at)
            else:
                self._play_rate(command, command.stage, starts_at)

    def _play_users(self, command: Begin, stage: UserStage, starts_at: float) -> None:
        self._gate.open()
        users = stage.users_at(0)
        self._crew.set(users, stage.spawn_rate)
        self._send(StageBegan(command.index, self._clock.now()))
        if stage.to is None:
            return
        ends_at = starts_at + stage.duration_seconds
        while (now := self._clock.monotonic()) < ends_at:
            if stage.users_at(now - starts_at) != users:
                users = stage.users_at(now - starts_at)
                self._crew.set(users)
            gevent.sleep(min(_RAMP_STEP_SECONDS, ends_at - now))
        self._crew.set(stage.to)

    def _play_rate(self, command: Begin, stage: RateStage, starts_at: float) -> None:
        self._gate.shut(command.users_max)
        self._ensure(command)
        self._send(StageBegan(command.index, self._clock.now()))
        if self._role == "master":
            return  # the workers make the arrivals
        random = self._clock.random(f"arrivals/{command.index}")
        due_times = thin(schedule(stage, random), command.worker, command.workers)
        self._gate.play(starts_at + seconds for seconds in due_times)

    def _ensure(self, command: Begin) -> None:
        """Users to begin with; never fewer than there are."""
        assert isinstance(command.stage, RateStage)
        peak = command.stage.curve.peak / command.workers
        users = pool_size(peak, command.users_max)
        if self._crew.count() < users:
            self._crew.grow(users)
