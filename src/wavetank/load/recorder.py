"""Exact recording inside the process that makes the load: every second, every request name, both clocks.

Locust's own statistics round to two digits, mix seconds and reach a master every three; a controller that
reads them is blind that long. This recorder counts what happened in which Unix second, keeps response time
(from the intended start) beside service time (from sending), and is emptied five times a second by
``take``. It watches its own process too: the run-queue delay of ``/proc/self/schedstat`` shows when the
generator, not the target, was slow. No Locust and no gevent in here.
"""

from __future__ import annotations

from pathlib import Path

from wavetank.clock import Clock, cpu_seconds
from wavetank.limits import LOAD_ERROR_CHARACTERS_MAX, LOAD_ERRORS_MAX, LOAD_NAMES_MAX
from wavetank.load.histogram import LogHistogram
from wavetank.load.messages import Delta, Durations, EntryDelta, ErrorDelta, SecondDelta

__all__ = ["OTHER", "Recorder"]

OTHER = "(other)"
_SCHEDSTAT = Path("/proc/self/schedstat")


class _Entry:
    __slots__ = ("content_bytes", "failures", "requests", "response", "service")

    def __init__(self) -> None:
        self.requests = self.failures = self.content_bytes = 0
        self.response = LogHistogram()
        self.service = LogHistogram()


class _Second:
    __slots__ = ("dropped", "finished", "lateness", "scheduled", "started")

    def __init__(self) -> None:
        self.scheduled = self.started = self.dropped = self.finished = 0
        self.lateness = LogHistogram()


class Recorder:
    """Counts between two calls of ``take``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[tuple[int, str, str, str], _Entry] = {}
        self._seconds: dict[int, _Second] = {}
        self._errors: dict[tuple[str, str, str], int] = {}
        self._names: set[str] = set()
        self._known_errors: set[tuple[str, str, str]] = set()
        self._task_exceptions = 0
        self._interrupted = 0
        self._cpu = cpu_seconds()
        self._runq = runq_seconds()

    def request(
        self,
        method: str,
        name: str,
        status: str,
        service_seconds: float | None,
        waited_seconds: float,
        content_bytes: int,
        error: str | None,
    ) -> None:
        """A request ended now. ``waited_seconds`` is how late its run of a task began."""
        if name not in self._names:
            if len(self._names) >= LOAD_NAMES_MAX:
                name = OTHER
            self._names.add(name)
        key = (int(self._clock.now()), method, name, status)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
        entry.requests += 1
        entry.content_bytes += content_bytes
        if service_seconds is not None:
            entry.service.record(service_seconds)
            entry.response.record(service_seconds + waited_seconds)
        if error is not None:
            entry.failures += 1
            self._error(method, name, error)

    def _error(self, method: str, name: str, error: str) -> None:
        key = (method, name, error[:LOAD_ERROR_CHARACTERS_MAX])
        if key not in self._known_errors:
            if len(self._known_errors) >= LOAD_ERRORS_MAX:
                key = (method, name, OTHER)
            self._known_errors.add(key)
        self._errors[key] = self._errors.get(key, 0) + 1

    def task_exception(self) -> None:
        """A task raised instead of returning."""
        self._task_exceptions += 1

    def interrupted(self) -> None:
        """A run of a task was ended from outside; the request it was making is not counted."""
        self._interrupted += 1

    def scheduled(self, late_seconds: float = 0.0) -> None:
        """An arrival was due ``late_seconds`` ago."""
        self._second(late_seconds).scheduled += 1

    def dropped(self, arrivals: int = 1) -> None:
        self._second().dropped += arrivals

    def started(self, late_seconds: float | None) -> None:
        """A run of a task begins; ``late_seconds`` after it was due, None where nothing was due."""
        second = self._second()
        second.started += 1
        if late_seconds is not None:
            second.lateness.record(late_seconds)

    def finished(self) -> None:
        self._second().finished += 1

    def _second(self, ago_seconds: float = 0.0) -> _Second:
        number = int(self._clock.now() - ago_seconds)
        second = self._seconds.get(number)
        if second is None:
            second = self._seconds[number] = _Second()
        return second

    def take(self, *, users: int, busy: int, backlog: int, state: str, workers: int = 1) -> Delta:
        """Everything counted since the last call; counting begins anew."""
        entries, self._entries = self._entries, {}
        seconds, self._seconds = self._seconds, {}
        errors, self._errors = self._errors, {}
        task_exceptions, self._task_exceptions = self._task_exceptions, 0
        interrupted, self._interrupted = self._interrupted, 0
        cpu, runq = cpu_seconds(), runq_seconds()
        delta = Delta(
            at=self._clock.now(),
            entries=tuple(
                EntryDelta(*key, e.requests, e.failures, e.content_bytes, _wire(e.response), _wire(e.service))
                for key, e in entries.items()
            ),
            seconds=tuple(
                SecondDelta(
                    number,
                    s.scheduled,
                    s.started,
                    s.dropped,
                    s.finished,
                    _wire(s.lateness) if s.lateness.count else None,
                )
                for number, s in seconds.items()
            ),
            errors=tuple(ErrorDelta(*key, count) for key, count in errors.items()),
            task_exceptions=task_exceptions,
            interrupted=interrupted,
            users=users,
            busy=busy,
            backlog=backlog,
            state=state,
            cpu_seconds=cpu - self._cpu,
            runq_seconds=runq - self._runq,
            workers=workers,
        )
        self._cpu, self._runq = cpu, runq
        return delta


def _wire(histogram: LogHistogram) -> Durations:
    if not histogram.count:
        return Durations({}, 0.0, 0.0, 0.0)
    return Durations(histogram.buckets, histogram.total, histogram.least, histogram.greatest)


def runq_seconds() -> float:
    """How long the main thread has waited for a CPU, in seconds; 0 where the kernel does not say."""
    try:
        return int(_SCHEDSTAT.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
