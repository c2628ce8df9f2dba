"""The gate: where Locust's users wait for an arrival that is due.

k6's arrival-rate executors over Locust's users. Under an open stage every run of a task takes one arrival
of the schedule, first come, first served, so that user classes keep their weights; an arrival that finds
all users busy has more users started, up to a cap, and waits for one of them; at the cap it is dropped and
counted. Lateness runs from the instant the arrival was due. Under a closed stage the gate stands open and
Locust's own waiting applies. Runs in the gevent world: its waits are greenlet switches.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, takewhile
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult, Event

from wavetank.clock import Clock
from wavetank.limits import LOAD_BACKLOG_MAX
from wavetank.load.recorder import Recorder

__all__ = ["Crew", "Gate", "Run", "admit", "pool_size"]

_GROWTH_SECONDS = 1.0  # a request for users that had no effect is repeated after this
_CARRIES_MAX = 10  # runs in a row that may pass one arrival on
_LAG_SECONDS = 0.1  # a release this late is the generator's own doing
_YIELD_EVERY = 16  # arrivals released without a pause before others may run
_PARKED_STATE, _RUNNING_STATE = "waiting", "running"  # as locust.user.task names them


class Crew(Protocol):
    """The users as the gate sees them."""

    def count(self) -> int:
        """Users that run now, those not yet at the gate included."""

    def grow(self, users: int) -> None:
        """Ask for this many users in all; returns at once."""


class _Place(AsyncResult):  # type: ignore[misc]  # gevent has no types
    """A user's place in the line. Gets the due time of an arrival, or None when the gate was opened."""

    def __init__(self, user: Any) -> None:
        super().__init__()
        self.user = user

    def call(self, due: float | None) -> None:
        """From now on the user is running for Locust too, which would kill a waiting one inside its task."""
        self.user._state = _RUNNING_STATE
        self.set(due)


class Run:
    """One user's passage through the gate; hangs on the user's greenlet as ``wavetank_run``."""

    __slots__ = ("carried", "carries", "inside", "requests", "waited_seconds")

    def __init__(self) -> None:
        self.inside = False
        self.requests = 0  # made by this run
        self.waited_seconds = 0.0  # what the next request owes to a late start
        self.carried: float | None = None  # an arrival that a run gave back unused
        self.carries = 0

    def take_waited(self) -> float:
        """The lateness of this run, once: it belongs to the run's first request."""
        self.requests += 1
        waited, self.waited_seconds = self.waited_seconds, 0.0
        return waited


def admit(*, idle: int, coming: int, users: int, users_max: int, backlog: int) -> str:
    """What becomes of an arrival: ``start`` it, ``queue`` it for a user to come, or ``drop`` it."""
    if idle:
        return "start"
    if backlog < LOAD_BACKLOG_MAX and (users < users_max or backlog < coming):
        return "queue"
    return "drop"


def pool_size(peak_rps: float, users_max: int) -> int:
    """Users to begin an arrival stage with: enough for answers within 200 ms (Little's law)."""
    return max(1, min(users_max, max(5, math.ceil(peak_rps * 0.2))))


class Gate:
    """Releases runs of tasks as a schedule says, or freely when it is open."""

    def __init__(
        self,
        clock: Clock,
        recorder: Recorder,
        crew: Crew,
        gives_back: tuple[type[BaseException], ...] = (),
    ) -> None:
        """``gives_back``: a run that ends so, without a request, passes its arrival to the next run."""
        self._gives_back = gives_back
        self._clock = clock
        self._recorder = recorder
        self._crew = crew
        self._idle: deque[_Place] = deque()
        self._backlog: deque[float] = deque()
        self._scheduled = False  # an open-model stage is on: users park
        self._changed = Event()
        self._joined = 0
        self._asked_users, self._asked_at = 0, -math.inf
        self.users_max = 0
        self.busy = 0
        self._over = False

    @property
    def scheduled(self) -> bool:
        return self._scheduled

    @property
    def backlog(self) -> int:
        return len(self._backlog)

    # --- the stage's side

    def open(self) -> None:
        """Closed model: let all pass. Arrivals still waiting for a user are dropped."""
        self._scheduled = False
        self.abandon()
        while self._idle:
            self._idle.popleft().call(None)

    def shut(self, users_max: int) -> None:
        """Open model: from now on users wait here; those in Locust's own waits are called in."""
        self.users_max = users_max
        self._scheduled = True
        self._changed.set()
        self._changed.clear()

    def close(self) -> None:
        """No run begins any more: a user that comes here ends. Arrivals that wait for a user are dropped.

        Locust kills waiting users one by one; without this, those whose wait ends meanwhile would begin a
        task only to be killed inside it.
        """
        self._over = True
        self.abandon()

    def abandon(self) -> int:
        """Drop the arrivals that wait for a user; returns how many."""
        count = len(self._backlog)
        self._backlog.clear()
        if count:
            self._recorder.dropped(count)
        return count

    def play(self, due_times: Iterator[float]) -> None:
        """Release arrivals at their due times (monotonic seconds); returns after the last.

        When it is cut short, the arrivals due until then that were not released are counted as dropped.
        """
        released, pending = 0, None
        try:
            for pending in due_times:
                delay = pending - self._clock.monotonic()
                if delay > 0:
                    gevent.sleep(delay)
                else:
                    released += 1
                    if released % _YIELD_EVERY == 0:
                        gevent.sleep(0)
                self.arrive(pending)
                pending = None
        except gevent.GreenletExit:
            self._miss(chain([] if pending is None else [pending], due_times))
            raise

    def _miss(self, due_times: Iterator[float]) -> None:
        now = self._clock.monotonic()
        for due in takewhile(lambda due: due <= now, due_times):
            self._recorder.scheduled(now - due)
            self._recorder.dropped()

    def arrive(self, due: float) -> None:
        self._recorder.scheduled(max(0.0, self._clock.monotonic() - due))
        self._assign(due)

    def _assign(self, due: float) -> None:
        users = self._crew.count()
        decision = admit(
            idle=len(self._idle),
            coming=max(0, max(users, self._asked_users) - self._joined),
            users=users,
            users_max=self.users_max,
            backlog=len(self._backlog),
        )
        if decision == "start":
            self._idle.popleft().call(due)
            return
        if decision == "queue":
            self._backlog.append(due)
        else:
            self._recorder.dropped()
        if self._clock.monotonic() - due < _LAG_SECONDS:
            self._grow(users)

    def _grow(self, users: int) -> None:
        """Have more users started. Not when this process itself lags: they would cost what it is short of."""
        now = self._clock.monotonic()
        asked_recently = self._asked_users > users and now - self._asked_at < _GROWTH_SECONDS
        if users >= self.users_max or asked_recently:
            return
        self._asked_users = min(self.users_max, users + max(len(self._backlog), users // 4, 5))
        self._asked_at = now
        self._crew.grow(self._asked_users)

    # --- the users' side

    def run(self, user: Any, task: Callable[[], None]) -> None:
        """Wait for an arrival if there is a schedule, then run one task of this user."""
        if self._over:
            raise gevent.GreenletExit
        current = gevent.getcurrent()
        run: Run | None = getattr(current, "wavetank_run", None)
        if run is None:
            run = current.wavetank_run = Run()
            self._joined += 1
            current.link(self._leave)
        due, carried = run.carried, run.carried is not None
        run.carried = None
        if not carried:
            run.carries = 0
            due = self._wait(user) if self._scheduled else None
        late = None if due is None else max(0.0, self._clock.monotonic() - due)
        if not carried:
            self._recorder.started(late)
        run.waited_seconds, run.requests = late or 0.0, 0
        self.busy += 1
        run.inside = True
        try:
            task()
        except self._gives_back:
            if due is not None and run.requests == 0 and run.carries < _CARRIES_MAX:
                run.carried, run.carries = due, run.carries + 1
            raise
        except gevent.GreenletExit:
            self._recorder.interrupted()
            raise
        finally:
            run.inside = False
            self.busy -= 1
            if run.carried is None:
                self._recorder.finished()

    def _leave(self, _greenlet: Any) -> None:
        self._joined -= 1

    def _wait(self, user: Any) -> float | None:
        """The due time of the arrival that this user serves; None when the gate was opened meanwhile.

        While parked the user counts as waiting, so that Locust may end it at any moment.
        """
        if self._backlog:
            return self._backlog.popleft()
        place = _Place(user)
        self._idle.append(place)
        user._state = _PARKED_STATE
        try:
            due: float | None = place.get()
        except BaseException:
            if not place.ready():
                self._idle.remove(place)
            elif place.value is not None:
                self._assign(place.value)  # chosen and ended in the same instant: the arrival goes on
            raise
        if due is None and user._state != _RUNNING_STATE:
            raise gevent.GreenletExit  # stopped in the instant in which the gate was opened
        return due

    def pause(self, seconds: float) -> None:
        """Locust's wait between tasks; ends early when a schedule begins."""
        if seconds <= 0:
            gevent.sleep(0)
        else:
            self._changed.wait(seconds)
