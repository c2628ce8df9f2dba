"""What all load processes recorded, merged: seconds, request names, errors, totals.

The parent's side of ``recorder``. Counts are sums and histograms merge exactly, so the figures do not
depend on how many processes made the load or when their reports came. A second is complete when every
process has had time to report it; per-second histograms are dropped after ``LOAD_WINDOW_SECONDS``, their
percentiles stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from wavetank.limits import LOAD_ERRORS_MAX, LOAD_PUSH_SECONDS, LOAD_WINDOW_SECONDS
from wavetank.load.histogram import LogHistogram
from wavetank.load.messages import Delta, Durations
from wavetank.load.recorder import OTHER

__all__ = ["Entry", "Results", "Second", "Snapshot", "generator_warnings"]

COMPLETE_AFTER_SECONDS = 1 + 3 * LOAD_PUSH_SECONDS
_LATE_SECONDS = 0.020  # starts later than this at the 99th percentile are worth a warning
_RUNQ_SHARE = 0.2  # of the time, waiting for a CPU
_BUSY_CORES = 0.9  # of one core, by one process


@dataclass(frozen=True, slots=True)
class Second:
    """One Unix second. Percentiles are response times from the intended start, NaN without requests.

    ``requests`` and ``failures`` count what ended in the second, ``scheduled``, ``started``, ``dropped`` and
    ``finished`` count arrivals (runs of tasks). ``users`` and ``busy`` are means over its reports.
    """

    second: int
    users: float
    busy: float
    scheduled: int
    started: int
    dropped: int
    finished: int
    requests: int
    failures: int
    p50: float
    p95: float
    p99: float
    service_p99: float
    lateness_p99: float
    cpu_seconds: float
    runq_seconds: float


@dataclass(slots=True)
class Entry:
    """Totals of a method, name and status."""

    requests: int = 0
    failures: int = 0
    content_bytes: int = 0
    response: LogHistogram = field(default_factory=LogHistogram)
    service: LogHistogram = field(default_factory=LogHistogram)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The load now: rates and percentiles over the last ``window_seconds``, totals since the beginning."""

    at: float
    window_seconds: float
    state: str
    users: int
    busy: int
    backlog: int
    workers: int
    rps: float
    failure_ratio: float
    p50: float
    p95: float
    p99: float
    requests: int
    failures: int
    scheduled: int
    started: int
    dropped: int
    finished: int
    task_exceptions: int
    interrupted: int
    cpu_seconds: float
    runq_seconds: float
    response: LogHistogram
    service: LogHistogram
    lateness: LogHistogram
    entries: dict[tuple[str, str, str], Entry]
    current_rps: dict[tuple[str, str], float]
    errors: dict[tuple[str, str, str], int]
    warnings: tuple[str, ...]


class _Bin:
    """A second while reports of it may still come."""

    def __init__(self) -> None:
        self.scheduled = self.started = self.dropped = self.finished = 0
        self.requests = self.failures = 0
        self.names: dict[tuple[str, str], int] = {}
        self.response = LogHistogram()
        self.service = LogHistogram()
        self.lateness = LogHistogram()
        self.cpu_seconds = self.runq_seconds = 0.0
        self.users = 0.0
        self.busy = 0.0

    def row(self, second: int) -> Second:
        p50, p95, p99 = self.response.percentiles((50, 95, 99))
        return Second(
            second,
            self.users,
            self.busy,
            self.scheduled,
            self.started,
            self.dropped,
            self.finished,
            self.requests,
            self.failures,
            p50,
            p95,
            p99,
            self.service.percentile(99),
            self.lateness.percentile(99),
            self.cpu_seconds,
            self.runq_seconds,
        )


class Results:
    """Everything reported so far."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str, str], Entry] = {}
        self.errors: dict[tuple[str, str, str], int] = {}
        self.response = LogHistogram()
        self.service = LogHistogram()
        self.lateness = LogHistogram()
        self.requests = self.failures = self.task_exceptions = self.interrupted = 0
        self.scheduled = self.started = self.dropped = self.finished = 0
        self.cpu_seconds = self.runq_seconds = 0.0
        self._bins: dict[int, _Bin] = {}
        self._rows: dict[int, Second] = {}
        self._late: set[int] = set()  # seconds that were reported on after they seemed complete
        self._complete = -1  # the last second given out as complete
        self._latest: dict[str, Delta] = {}
        self._gauges: dict[tuple[int, str], tuple[int, float, float]] = {}

    # --- reports in

    def add(self, process: str, delta: Delta) -> None:
        """Merge one report of one process."""
        self._latest[process] = delta
        self._add_entries(delta)
        self._add_arrivals(delta)
        for error in delta.errors:
            key = (error.method, error.name, error.error)
            if key not in self.errors and len(self.errors) >= LOAD_ERRORS_MAX:
                key = (error.method, error.name, OTHER)
            self.errors[key] = self.errors.get(key, 0) + error.occurrences
        self.task_exceptions += delta.task_exceptions
        self.interrupted += delta.interrupted
        self.cpu_seconds += delta.cpu_seconds
        self.runq_seconds += delta.runq_seconds
        self._add_gauges(process, delta)

    def _add_entries(self, delta: Delta) -> None:
        for part in delta.entries:
            entry = self.entries.setdefault((part.method, part.name, part.status), Entry())
            entry.requests += part.requests
            entry.failures += part.failures
            entry.content_bytes += part.content_bytes
            self.requests += part.requests
            self.failures += part.failures
            this = self._bin(part.second)
            this.requests += part.requests
            this.failures += part.failures
            name = (part.method, part.name)
            this.names[name] = this.names.get(name, 0) + part.requests
            for histogram in (entry.response, this.response, self.response):
                _merge(histogram, part.response)
            for histogram in (entry.service, this.service, self.service):
                _merge(histogram, part.service)

    def _add_arrivals(self, delta: Delta) -> None:
        for part in delta.seconds:
            for counts in (self, self._bin(part.second)):
                counts.scheduled += part.scheduled
                counts.started += part.started
                counts.dropped += part.dropped
                counts.finished += part.finished
                if part.lateness is not None:
                    _merge(counts.lateness, part.lateness)

    def _add_gauges(self, process: str, delta: Delta) -> None:
        """Users and busy users of a second: the mean of each process' reports, summed over processes."""
        second = int(delta.at)
        this = self._bin(second)
        this.cpu_seconds += delta.cpu_seconds
        this.runq_seconds += delta.runq_seconds
        if delta.workers == 0 or self._is_master(process):
            return
        reports, users, busy = self._gauges.get((second, process), (0, 0.0, 0.0))
        if reports:
            this.users -= users / reports
            this.busy -= busy / reports
        reports, users, busy = reports + 1, users + delta.users, busy + delta.busy
        self._gauges[second, process] = (reports, users, busy)
        this.users += users / reports
        this.busy += busy / reports

    @staticmethod
    def _is_master(process: str) -> bool:
        """A master reports its workers' users again, later; they are counted where they run."""
        return process == "master"

    def _bin(self, second: int) -> _Bin:
        if second <= self._complete:
            self._late.add(second)
        found = self._bins.get(second)
        if found is None:
            found = self._bins[second] = _Bin()
        return found

    # --- figures out

    def completed(self, now: float) -> list[Second]:
        """The seconds that became complete since the last call, in order.

        A process that had no CPU may still report on them later; ``seconds`` then has the better figures.
        """
        fresh = sorted(
            second
            for second in self._bins
            if second > self._complete and now - second >= COMPLETE_AFTER_SECONDS
        )
        rows = [self._bins[second].row(second) for second in fresh]
        self._rows.update(zip(fresh, rows, strict=True))
        if fresh:
            self._complete = fresh[-1]
            self._forget(now)
        return rows

    def _forget(self, now: float) -> None:
        self._all_complete()
        for second in [s for s in self._bins if s < now - LOAD_WINDOW_SECONDS]:
            del self._bins[second]
        for key in [k for k in self._gauges if k[0] < now - 10]:
            del self._gauges[key]

    @property
    def seconds(self) -> list[Second]:
        """All seconds so far, the last ones not yet complete."""
        running = sorted(s for s in self._bins if s > self._complete)
        return [*self._all_complete(), *(self._bins[s].row(s) for s in running)]

    def _all_complete(self) -> list[Second]:
        while self._late:
            second = self._late.pop()
            self._rows[second] = self._bins[second].row(second)
        return [self._rows[second] for second in sorted(self._rows)]

    def snapshot(self, now: float, window_seconds: int = 5) -> Snapshot:
        """Over the last whole seconds before now, or fewer where there are not as many."""
        last = int(now)
        window = [self._bins[s] for s in range(last - window_seconds, last) if s in self._bins]
        span = float(len(window)) or 1.0
        response = LogHistogram()
        names: dict[tuple[str, str], float] = {}
        for this in window:
            response.merge(this.response)
            for name, count in this.names.items():
                names[name] = names.get(name, 0.0) + count / span
        requests = sum(this.requests for this in window)
        p50, p95, p99 = response.percentiles((50, 95, 99))
        makers = [d for process, d in self._latest.items() if not self._is_master(process)]
        return Snapshot(
            at=now,
            window_seconds=span,
            state=next((d.state for d in self._latest.values()), "ready"),
            users=sum(d.users for d in makers),
            busy=sum(d.busy for d in makers),
            backlog=sum(d.backlog for d in makers),
            workers=len(makers),
            rps=requests / span,
            failure_ratio=sum(this.failures for this in window) / requests if requests else 0.0,
            p50=p50,
            p95=p95,
            p99=p99,
            requests=self.requests,
            failures=self.failures,
            scheduled=self.scheduled,
            started=self.started,
            dropped=self.dropped,
            finished=self.finished,
            task_exceptions=self.task_exceptions,
            interrupted=self.interrupted,
            cpu_seconds=self.cpu_seconds,
            runq_seconds=self.runq_seconds,
            response=self.response,
            service=self.service,
            lateness=self.lateness,
            entries=self.entries,
            current_rps=names,
            errors=self.errors,
            warnings=tuple(generator_warnings(self._all_complete()[-window_seconds:], len(makers))),
        )


def _merge(histogram: LogHistogram, part: Durations) -> None:
    if part.buckets:
        histogram.merge_parts(part.buckets, part.total, part.least, part.greatest)


def generator_warnings(rows: list[Second], processes: int = 1) -> Iterator[str]:
    """Why these seconds say less about the target than about the load generator."""
    if not rows:
        return
    span = len(rows) * max(1, processes)
    late = max((row.lateness_p99 for row in rows if not math.isnan(row.lateness_p99)), default=0.0)
    runq = sum(row.runq_seconds for row in rows) / span
    cores = sum(row.cpu_seconds for row in rows) / span
    dropped = sum(row.dropped for row in rows)
    if late > _LATE_SECONDS:
        yield f"requests started {late * 1000:.0f} ms late at the 99th percentile"
    if runq > _RUNQ_SHARE:
        yield f"the load generator waited for a CPU {runq:.0%} of the time"
    if cores > _BUSY_CORES:
        yield f"the load generator used {cores:.0%} of a core: use FastHttpUser or more processes"
    if dropped:
        yield f"{dropped} arrivals were dropped: all users were busy"
