"""The gate under gevent: who serves which arrival, what is dropped, who is called in."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from wavetank.clock import RealClock
from wavetank.load.gate import Gate, admit, pool_size
from wavetank.load.recorder import Recorder


class User:
    _state = "running"


class Interrupt(Exception):
    """A run that found nothing to do."""


class Crew:
    """Users of a test: greenlets that run one task after the other."""

    def __init__(self, answer_seconds: float = 0.0) -> None:
        self.gate: Gate
        self.answer_seconds = answer_seconds
        self.greenlets: list[Any] = []
        self.served: list[float] = []
        self.wishes: list[int] = []
        self.interrupts = 0

    def count(self) -> int:
        return len(self.greenlets)

    def grow(self, users: int) -> None:
        self.wishes.append(users)
        while len(self.greenlets) < users:
            self.greenlets.append(gevent.spawn(self._live, User()))

    def _live(self, user: User) -> None:
        while True:
            try:
                self.gate.run(user, self._task)
            except Interrupt:
                continue
            if not self.gate.scheduled:
                self.gate.pause(60)

    def _task(self) -> None:
        if self.interrupts:
            self.interrupts -= 1
            raise Interrupt
        run = gevent.getcurrent().wavetank_run
        gevent.sleep(self.answer_seconds)
        self.served.append(run.take_waited() + self.answer_seconds)

    def stop(self) -> None:
        gevent.killall(self.greenlets)


@pytest.fixture
def clock() -> RealClock:
    return RealClock(1)


def made(clock: RealClock, crew: Crew, users: int) -> tuple[Gate, Recorder]:
    recorder = Recorder(clock)
    gate = crew.gate = Gate(clock, recorder, crew, gives_back=(Interrupt,))
    crew.grow(users)
    return gate, recorder


def taken(recorder: Recorder) -> dict[str, int]:
    delta = recorder.take(users=0, busy=0, backlog=0, state="")
    return {
        w: sum(getattr(s, w) for s in delta.seconds) for w in ("scheduled", "started", "dropped", "finished")
    }


@pytest.mark.parametrize(
    ("idle", "coming", "users", "users_max", "backlog", "decision"),
    [
        (1, 0, 5, 5, 0, "start"),
        (0, 0, 4, 5, 0, "queue"),  # one more user may be started
        (0, 0, 5, 5, 0, "drop"),  # none may
        (0, 2, 5, 5, 1, "queue"),  # two were started and are on their way
        (0, 2, 5, 5, 2, "drop"),  # both have something to do already
        (0, 0, 4, 5, 10**9, "drop"),
    ],
)
def test_an_arrival_is_started_queued_or_dropped(
    idle: int, coming: int, users: int, users_max: int, backlog: int, decision: str
) -> None:
    found = admit(idle=idle, coming=coming, users=users, users_max=users_max, backlog=backlog)
    assert found == decision


@pytest.mark.parametrize(
    ("rps", "most", "users"), [(0, 100, 5), (80, 100, 16), (80, 10, 10), (1000, 500, 200)]
)
def test_the_first_pool_fits_answers_within_200_ms(rps: float, most: int, users: int) -> None:
    assert pool_size(rps, most) == users


def test_all_arrivals_are_served_in_time(clock: RealClock) -> None:
    crew = Crew()
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=50)
    crew.grow(50)  # so that none is dropped, however late a busy machine is
    gevent.sleep(0)
    start = clock.monotonic()
    gate.play(start + i * 0.002 for i in range(50))
    gevent.sleep(0.01)
    crew.stop()
    assert taken(recorder) == {"scheduled": 50, "started": 50, "dropped": 0, "finished": 50}
    assert sorted(crew.served)[25] < 1.0


def test_arrivals_beyond_the_cap_are_dropped_and_counted(clock: RealClock) -> None:
    crew = Crew(answer_seconds=10)
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=4)
    start = clock.monotonic()
    gate.play(start + i * 0.001 for i in range(20))
    gevent.sleep(0)
    counts = taken(recorder)
    crew.stop()
    assert (counts["scheduled"], counts["started"], counts["dropped"]) == (20, 4, 16)
    assert max(crew.wishes) == 4


def test_a_late_start_counts_from_when_it_was_due(clock: RealClock) -> None:
    crew = Crew()
    gate, _ = made(clock, crew, 0)
    gate.shut(users_max=1)
    crew.grow(1)
    gevent.sleep(0)
    gate.play(iter([clock.monotonic() - 0.5]))
    gevent.sleep(0)
    crew.stop()
    assert crew.served == [pytest.approx(0.75, abs=0.25)]


def test_an_unused_arrival_goes_to_the_next_run(clock: RealClock) -> None:
    crew = Crew()
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=1)
    crew.grow(1)
    gevent.sleep(0)
    crew.interrupts = 3
    gate.play(iter([clock.monotonic()]))
    gevent.sleep(0.01)
    crew.stop()
    assert len(crew.served) == 1
    assert taken(recorder) == {"scheduled": 1, "started": 1, "dropped": 0, "finished": 1}


def test_tasks_that_only_interrupt_do_not_spin(clock: RealClock) -> None:
    crew = Crew()
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=1)
    crew.grow(1)
    gevent.sleep(0)
    crew.interrupts = 10**9
    gate.play(iter([clock.monotonic()]))
    gevent.sleep(0.01)
    crew.stop()
    assert 10**9 - crew.interrupts <= 11
    assert taken(recorder)["finished"] == 1


def test_users_in_locusts_own_wait_are_called_in_when_a_schedule_begins(clock: RealClock) -> None:
    crew = Crew()
    gate, _ = made(clock, crew, 2)
    gevent.sleep(0.01)  # both ran once and now pause for a minute
    assert len(crew.served) == 2
    gate.shut(users_max=2)
    gevent.sleep(0.01)
    gate.play(clock.monotonic() + i * 0.001 for i in range(4))
    gevent.sleep(0.01)
    crew.stop()
    assert len(crew.served) == 6


def test_an_open_gate_lets_the_parked_go(clock: RealClock) -> None:
    crew = Crew()
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=2)
    crew.grow(2)
    gevent.sleep(0)
    gate.open()
    gevent.sleep(0.01)
    crew.stop()
    assert len(crew.served) == 2
    assert taken(recorder)["scheduled"] == 0


def test_an_arrival_survives_the_end_of_its_user(clock: RealClock) -> None:
    crew = Crew()
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=3)
    crew.grow(2)
    gevent.sleep(0)
    crew.greenlets[0].kill(block=False)
    gate.arrive(clock.monotonic())  # goes to the first in line, which ends before it can begin
    gevent.sleep(0.01)
    crew.stop()
    counts = taken(recorder)
    assert (counts["scheduled"], counts["started"], len(crew.served)) == (1, 1, 1)


def test_abandoned_arrivals_are_dropped(clock: RealClock) -> None:
    crew = Crew()
    crew.grow = lambda users: None  # type: ignore[method-assign]  # users that never come
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=5)
    for _ in range(3):
        gate.arrive(clock.monotonic())
    assert gate.backlog == 3 and gate.abandon() == 3
    assert taken(recorder)["dropped"] == 3


def test_a_schedule_cut_short_counts_what_was_due(clock: RealClock) -> None:
    crew = Crew(answer_seconds=10)
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=1)
    now = clock.monotonic()
    playing = gevent.spawn(gate.play, iter([now - 1 + i * 0.01 for i in range(300)]))
    gevent.sleep(0)  # lets it come to its first pause, many arrivals behind
    playing.kill()
    crew.stop()
    gate.abandon()
    counts = taken(recorder)
    assert 100 <= counts["scheduled"] < 250  # those due until now, not those to come
    assert counts["scheduled"] == counts["started"] + counts["dropped"]


def test_a_generator_that_lags_does_not_start_more_users(clock: RealClock) -> None:
    crew = Crew(answer_seconds=10)
    gate, _ = made(clock, crew, 0)
    gate.shut(users_max=100)
    gate.arrive(clock.monotonic() - 0.5)
    assert crew.wishes == [0] and gate.backlog == 1
    gate.arrive(clock.monotonic())
    assert crew.wishes == [0, 5]
    crew.stop()


def test_a_task_cut_short_is_counted(clock: RealClock) -> None:
    crew = Crew(answer_seconds=10)
    _, recorder = made(clock, crew, 2)
    gevent.sleep(0.01)
    crew.stop()
    assert recorder.take(users=0, busy=0, backlog=0, state="").interrupted == 2


def test_a_closed_gate_lets_nobody_begin(clock: RealClock) -> None:
    crew = Crew()
    gate, recorder = made(clock, crew, 2)
    gevent.sleep(0.01)
    gate.close()
    gate.shut(users_max=2)  # wakes both
    gevent.joinall(crew.greenlets, timeout=1)
    assert all(greenlet.dead for greenlet in crew.greenlets)
    assert taken(recorder)["started"] == 2


def test_a_user_that_was_called_counts_as_running_at_once(clock: RealClock) -> None:
    crew = Crew()
    gate, _ = made(clock, crew, 0)
    gate.shut(users_max=1)
    user = User()
    waiting = gevent.spawn(gate.run, user, lambda: None)
    gevent.sleep(0)
    assert user._state == "waiting"
    gate.arrive(clock.monotonic())
    assert user._state == "running"
    waiting.join(timeout=1)


def test_a_user_that_is_stopped_while_the_gate_opens_begins_nothing(clock: RealClock) -> None:
    crew = Crew()
    gate, recorder = made(clock, crew, 0)
    gate.shut(users_max=1)
    user = User()
    waiting = gevent.spawn(gate.run, user, lambda: None)
    gevent.sleep(0)
    gate.open()
    user._state = "stopping"  # as Locust's stop() of a running user
    waiting.join(timeout=1)
    assert waiting.dead and taken(recorder)["started"] == 0
