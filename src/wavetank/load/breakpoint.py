"""The breakpoint: the highest arrival rate at which a service still meets its objective, as a pure search.

The procedure follows the literature on measuring under queueing: bracket by doubling, then bisect with
trials added only while their interval still contains the limit (Shivam et al., "Cutting Corners", USENIX ATC
2008), validate with a long hold as Nighthawk's adaptive load does, approach from below and let the system
recover after a failure because overload can be metastable (Bronson et al., HotOS 2021). An objective "p99
below 300 ms" is judged as "at most 1 % of requests slower", whose batch means are far better behaved than
percentiles. ``search`` is a generator: it yields the next window to run and is sent what was seen.

Left out: fitting a curve through the windows, and repeating the whole search with fresh processes, which is
the caller's to do and the only cure for hysteresis between runs.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final, Literal

__all__ = ["Breakpoint", "Objective", "Observation", "Settings", "Window", "search"]

Purpose = Literal["baseline", "bracket", "bisect", "recover", "hold"]
Verdict = Literal["pass", "fail", "undecided"]

# two-sided 95 % quantiles of Student's t by degrees of freedom
_T95: Final = (math.inf, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_GROWTH_SHARE = 0.05  # of the arrivals left over in flight: the rate is above capacity
_GROWTH_LEAST = 10
_CLEAR_FACTOR = 5  # so many times the allowed share needs no second window


@dataclass(frozen=True, slots=True)
class Objective:
    """``percent`` of the requests are answered well within ``seconds``."""

    percent: float
    seconds: float

    @property
    def allowed(self) -> float:
        """The share of requests that may be slow or failed."""
        return 1 - self.percent / 100


@dataclass(frozen=True, slots=True)
class Settings:
    """Rates are arrivals per second. ``precision`` is relative: where bisection ends."""

    start_rate: float
    rate_max: float
    precision: float = 0.03
    window_seconds: float = 10.0
    warmup_seconds: float = 5.0
    windows_min: int = 3
    windows_max: int = 8
    hold_seconds: float = 60.0
    holds_max: int = 8
    step_down: float = 0.97  # after a hold that failed
    recover_windows_max: int = 6
    repeats_max: int = 3  # of a window in which the generator was at fault


@dataclass(frozen=True, slots=True)
class Window:
    """Poisson arrivals at ``rate`` for ``warmup_seconds``, unseen, and then ``seconds``, observed."""

    rate: float
    seconds: float
    warmup_seconds: float
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen in a window after its warm-up.

    ``bad``: slower than the objective, counted from the intended start, or failed. ``valid`` is False when
    the generator was late or short of CPU, so that the window says nothing about the service.
    """

    requests: int
    bad: int
    dropped: int
    in_flight_start: float
    in_flight_end: float
    valid: bool = True

    @property
    def bad_share(self) -> float:
        whole = self.requests + self.dropped
        return (self.bad + self.dropped) / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """``rate`` held; it lies between ``passed`` (highest certain pass) and ``failed`` (lowest certain fail).

    None where no rate was found. ``reason`` says in words why the search ended.
    """

    rate: float | None
    passed: float | None
    failed: float | None
    held: bool
    reason: str
    windows: tuple[tuple[Window, Observation], ...]


Search = Generator[Window, Observation, Breakpoint]
Steps = Generator[Window, Observation, Observation]


class _GeneratorAtFault(Exception):
    def __init__(self, rate: float) -> None:
        super().__init__(f"the load generator could not keep the schedule at {rate:.4g}/s")


def search(objective: Objective, settings: Settings) -> Search:
    """Yields windows to run, is sent observations, returns the breakpoint."""
    return _Course(objective, settings).run()


class _Course:
    """One search and what it has learnt."""

    def __init__(self, objective: Objective, settings: Settings) -> None:
        self._objective = objective
        self._settings = settings
        self._seen: list[tuple[Window, Observation]] = []
        self._passed: float | None = None
        self._failed: float | None = None
        self._low = 0.0  # the highest rate that seems to pass
        self._base_in_flight = 0.0

    def run(self) -> Search:
        try:
            if not (yield from self._baseline()):
                return self._end(None, False, "the objective is missed at the lowest rate")
            high = yield from self._bracket()
            if high is not None:
                yield from self._bisect(high)
            return (yield from self._hold(self._low, bounded=high is not None))
        except _GeneratorAtFault as fault:
            return self._end(self._low or None, False, str(fault))

    def _baseline(self) -> Generator[Window, Observation, bool]:
        rate = self._settings.start_rate
        seen = yield from self._watch(rate, "baseline")
        self._base_in_flight = max(1.0, seen.in_flight_end)
        if self._at_a_glance(rate, seen) != "fail":
            self._low = rate
            return True
        self._failed = rate
        return False

    def _bracket(self) -> Generator[Window, Observation, float | None]:
        """Double until a failure: the rate that failed, or None when the highest rate allowed did not."""
        while self._low < self._settings.rate_max:
            rate = min(self._low * 2, self._settings.rate_max)
            seen = yield from self._watch(rate, "bracket")
            if self._at_a_glance(rate, seen) == "fail":
                yield from self._recover(self._low)
                return rate
            self._low = rate
        return None

    def _bisect(self, high: float) -> Generator[Window, Observation, None]:
        """Halve the bracket on a logarithmic scale. Undecided counts as failed: the safe side."""
        while high / self._low > 1 + self._settings.precision:
            rate = math.sqrt(self._low * high)
            verdict = yield from self._judge(rate)
            if verdict == "pass":
                self._low = self._passed = rate
            else:
                high = rate
                if verdict == "fail":
                    self._failed = rate if self._failed is None else min(rate, self._failed)
                yield from self._recover(self._low)

    def _judge(self, rate: float) -> Generator[Window, Observation, Verdict]:
        """Windows at one rate until the interval of their bad shares excludes the limit, or all are used."""
        shares: list[float] = []
        for number in range(self._settings.windows_max):
            warmup = self._settings.warmup_seconds if number == 0 else 0.0
            seen = yield from self._watch(rate, "bisect", warmup_seconds=warmup)
            if self._clearly_over(rate, self._settings.window_seconds, seen):
                return "fail"
            shares.append(seen.bad_share)
            if number + 1 >= self._settings.windows_min:
                verdict = _compare(shares, self._objective.allowed)
                if verdict != "undecided":
                    return verdict
        return "undecided"

    def _hold(self, rate: float, *, bounded: bool) -> Generator[Window, Observation, Breakpoint]:
        """Short windows flatter: the queue has not grown yet. Only a rate that holds is reported."""
        for _ in range(self._settings.holds_max):
            seen = yield from self._watch(rate, "hold", seconds=self._settings.hold_seconds)
            if seen.bad_share <= self._objective.allowed and not _growing(
                rate, self._settings.hold_seconds, seen
            ):
                self._passed = max(rate, self._passed or 0.0) if self._failed is None else rate
                reason = (
                    "held" if bounded else "held at the highest rate allowed: the breakpoint lies above it"
                )
                return self._end(rate, True, reason)
            self._failed = rate if self._failed is None else min(rate, self._failed)
            yield from self._recover(rate * 0.5)
            rate *= self._settings.step_down
            bounded = True
        return self._end(rate, False, f"no rate held for {self._settings.hold_seconds:g} s")

    def _recover(self, low: float) -> Generator[Window, Observation, None]:
        """After a failure: half of a rate that passed, until what is in flight is back where it began."""
        for _ in range(self._settings.recover_windows_max):
            seen = yield from self._watch(low * 0.5, "recover", warmup_seconds=0.0)
            usual = self._base_in_flight * max(1.0, low * 0.5 / self._settings.start_rate)
            if seen.in_flight_end <= 2 * usual and seen.bad_share <= self._objective.allowed:
                return

    def _watch(
        self,
        rate: float,
        purpose: Purpose,
        *,
        seconds: float | None = None,
        warmup_seconds: float | None = None,
    ) -> Steps:
        """One valid window; repeated while the generator is at fault."""
        window = Window(
            rate,
            self._settings.window_seconds if seconds is None else seconds,
            self._settings.warmup_seconds if warmup_seconds is None else warmup_seconds,
            purpose,
        )
        for _ in range(1 + self._settings.repeats_max):
            seen = yield window
            self._seen.append((window, seen))
            if seen.valid:
                return seen
        raise _GeneratorAtFault(rate)

    def _at_a_glance(self, rate: float, seen: Observation) -> Verdict:
        """From one window: enough to bracket, not to decide."""
        over = seen.bad_share > self._objective.allowed
        return (
            "fail" if over or self._clearly_over(rate, self._settings.window_seconds, seen) else "undecided"
        )

    def _clearly_over(self, rate: float, seconds: float, seen: Observation) -> bool:
        many = seen.bad_share > _CLEAR_FACTOR * self._objective.allowed and seen.bad + seen.dropped >= 10
        return many or _growing(rate, seconds, seen)

    def _end(self, rate: float | None, held: bool, reason: str) -> Breakpoint:
        passed = self._passed
        if passed is not None and self._failed is not None and passed >= self._failed:
            passed = rate if held else None  # a hold overruled shorter windows
        return Breakpoint(rate, passed, self._failed, held, reason, tuple(self._seen))


def _growing(rate: float, seconds: float, seen: Observation) -> bool:
    """More comes in than goes out: seen in seconds where percentiles need minutes."""
    growth = seen.in_flight_end - seen.in_flight_start
    return growth > max(_GROWTH_LEAST, _GROWTH_SHARE * rate * seconds)


def _compare(shares: list[float], allowed: float) -> Verdict:
    """Whether the mean share lies below or above the limit, by a t-interval over windows."""
    mean = fmean(shares)
    margin = _T95[min(len(shares) - 1, len(_T95) - 1)] * stdev(shares) / math.sqrt(len(shares))
    if mean + margin <= allowed:
        return "pass"
    return "fail" if mean - margin > allowed else "undecided"
