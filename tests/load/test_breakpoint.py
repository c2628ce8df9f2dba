"""The breakpoint search against simulated services whose breakpoint is known."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from random import Random
from statistics import median

import pytest

from wavetank.load.breakpoint import Breakpoint, Objective, Observation, Settings, Window, search

SERVERS, SERVICE_RATE = 4, 50.0  # capacity 200/s, mean service 20 ms
P99 = Objective(99, 0.200)


class Queue:
    """M/M/c, first come first served; what one window leaves behind the next one finds."""

    def __init__(self, seed: int, users_max: float = math.inf) -> None:
        self._random = Random(seed)
        self._now = 0.0
        self._free = [0.0] * SERVERS
        self._departures: list[float] = []
        self._users_max = users_max
        self.elapsed = 0.0

    def _in_flight(self) -> int:
        while self._departures and self._departures[0] <= self._now:
            heapq.heappop(self._departures)
        return len(self._departures)

    def run(self, window: Window, objective: Objective) -> Observation:
        self.elapsed += window.warmup_seconds + window.seconds
        self._pass(window.rate, window.warmup_seconds, objective)
        before = self._in_flight()
        requests, bad, dropped = self._pass(window.rate, window.seconds, objective)
        return Observation(requests, bad, dropped, before, self._in_flight())

    def _pass(self, rate: float, seconds: float, objective: Objective) -> tuple[int, int, int]:
        end, requests, bad, dropped = self._now + seconds, 0, 0, 0
        while (arrival := self._now + self._random.expovariate(rate)) < end:
            self._now = arrival
            if self._in_flight() >= self._users_max:
                dropped += 1
                continue
            done = max(arrival, heapq.heappop(self._free)) + self._random.expovariate(SERVICE_RATE)
            heapq.heappush(self._free, done)
            heapq.heappush(self._departures, done)
            requests += 1
            bad += done - arrival > objective.seconds
        self._now = end
        return requests, bad, dropped


def tail(rate: float, seconds: float) -> float:
    """P(response > seconds) of M/M/c in the steady state."""
    load = rate / SERVICE_RATE
    last = load**SERVERS / math.factorial(SERVERS) / (1 - load / SERVERS)
    waits = last / (sum(load**k / math.factorial(k) for k in range(SERVERS)) + last)
    spare = SERVERS - 1 - load
    share = (
        SERVICE_RATE * seconds if abs(spare) < 1e-9 else -math.expm1(-SERVICE_RATE * seconds * spare) / spare
    )
    return math.exp(-SERVICE_RATE * seconds) * (1 + waits * share)


def truth(objective: Objective) -> float:
    low, high = 1.0, SERVERS * SERVICE_RATE - 1e-6
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, objective.seconds) <= objective.allowed else (low, middle)
    return low


def found_by(queue: Queue, objective: Objective, settings: Settings) -> Breakpoint:
    course = search(objective, settings)
    window = next(course)
    while True:
        try:
            window = course.send(queue.run(window, objective))
        except StopIteration as end:
            result: Breakpoint = end.value
            return result


SETTINGS = Settings(start_rate=10, rate_max=5000)


def test_the_breakpoint_of_a_queue_is_found_and_held() -> None:
    right = truth(P99)
    assert 150 < right < 190
    queues = [Queue(seed) for seed in range(9)]
    ratios = []
    for queue in queues:
        found = found_by(queue, P99, SETTINGS)
        assert found.held and found.rate is not None
        assert found.failed is None or found.failed >= found.rate
        assert found.windows[-1][0].purpose == "hold"
        ratios.append(found.rate / right)
    assert 0.93 < median(ratios) < 1.05, ratios
    assert min(ratios) > 0.85 and max(ratios) < 1.10, ratios
    assert median(queue.elapsed for queue in queues) < 1200


def test_it_doubles_then_bisects_then_holds() -> None:
    purposes = [window.purpose for window, _ in found_by(Queue(3), P99, SETTINGS).windows]
    order = [p for i, p in enumerate(purposes) if (i == 0 or purposes[i - 1] != p) and p != "recover"]
    assert order[:3] == ["baseline", "bracket", "bisect"] and order[-1] == "hold"


def test_a_failure_is_followed_by_recovery() -> None:
    windows = found_by(Queue(5), P99, SETTINGS).windows
    first_fail = next(
        i for i, (w, seen) in enumerate(windows) if w.purpose == "bracket" and seen.bad_share > 0.05
    )
    assert windows[first_fail + 1][0].purpose == "recover"
    assert windows[first_fail + 1][0].rate < windows[first_fail][0].rate / 2


def test_the_highest_rate_allowed_may_hold() -> None:
    found = found_by(Queue(1), P99, replace(SETTINGS, rate_max=60))
    assert (found.rate, found.held) == (60, True)
    assert "lies above" in found.reason


def test_a_service_that_is_too_slow_for_any_load_has_none() -> None:
    found = found_by(Queue(1), Objective(99, 0.001), SETTINGS)
    assert (found.rate, found.held) == (None, False)
    assert found.reason == "the objective is missed at the lowest rate"


def test_dropped_arrivals_are_failures() -> None:
    found = found_by(Queue(1, users_max=3), Objective(99, 10.0), SETTINGS)
    assert (
        found.rate is not None and 14 < found.rate < 32
    )  # Erlang's loss formula: 1 % at about 23/s with 3 lines


def test_windows_with_a_generator_at_fault_are_repeated_not_counted() -> None:
    queue, calls = Queue(2), 0
    course = search(P99, SETTINGS)
    window = next(course)
    with pytest.raises(StopIteration) as end:
        while True:
            calls += 1
            seen = queue.run(window, P99)
            window = course.send(replace(seen, valid=False, bad=seen.requests) if calls % 2 else seen)
    assert end.value.value.held
    assert end.value.value.rate / truth(P99) == pytest.approx(1, abs=0.12)


def test_a_generator_that_never_keeps_up_ends_the_search() -> None:
    course = search(P99, SETTINGS)
    window = next(course)
    with pytest.raises(StopIteration) as end:
        while True:
            window = course.send(Observation(1000, 0, 0, 1, 1, valid=window.rate < 100))
    assert end.value.value.reason == "the load generator could not keep the schedule at 160/s"
    assert end.value.value.rate == 80 and not end.value.value.held


def test_growth_in_flight_fails_before_percentiles_can() -> None:
    """40 % over capacity, an objective of ten seconds: nothing is slow yet, but the queue grows."""
    found = found_by(Queue(4), Objective(99, 10.0), SETTINGS)
    assert found.rate is not None and found.rate < SERVERS * SERVICE_RATE * 1.03
