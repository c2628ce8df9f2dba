"""What a query may do and how long: engine options, deadline, cancel, budget.

Mirrors ``promql.EngineOpts`` and the sample accounting of ``promql/engine.go``. Unlike upstream, memory has a
budget of its own in bytes: a query over it fails alone, with the estimate, before it allocates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from wavetank.clock import Clock, RealClock
from wavetank.limits import PROMQL_MEMORY_BYTES_MAX
from wavetank.promql.failures import QueryCanceled, QueryTimeout, QueryTooBig
from wavetank.promql.options import ParserOptions

__all__ = ["EngineOptions", "QueryContext"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Defaults are those of a Prometheus 3.14 server without feature flags.

    subquery_step_ms      the step of ``[1h:]``: the server's global evaluation interval
    delayed_name_removal  promql-delayed-name-removal: drop names at the end, not in each operation
    type_and_unit_labels  type-and-unit-labels: rate() judges by ``__type__`` instead of the name's suffix
    use_start_timestamps  use-start-timestamps: rate() and the like know when counters began
    advise                infos on how exact rate() and increase() can be; not in upstream
    """

    lookback_ms: int = 300_000
    samples_max: int = 50_000_000
    memory_bytes_max: int = PROMQL_MEMORY_BYTES_MAX
    timeout_seconds: float = 120.0
    subquery_step_ms: int = 60_000
    parser: ParserOptions = field(default_factory=ParserOptions)
    delayed_name_removal: bool = False
    type_and_unit_labels: bool = False
    use_start_timestamps: bool = False
    advise: bool = False


_CLOCK: Final = RealClock()


class QueryContext:
    """One query's deadline, cancel flag and account of what it holds in memory.

    ``deadline`` is an instant of ``clock.monotonic()``, 0 for none. ``cancel`` may be called from any thread.
    """

    def __init__(
        self,
        *,
        samples_max: int = 0,
        memory_bytes_max: int = 0,
        deadline: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.clock: Clock = clock or _CLOCK
        self.deadline = deadline
        self.samples_max = samples_max
        self.memory_bytes_max = memory_bytes_max
        self.samples = 0
        self.bytes = 0
        self.samples_peak = 0
        self.bytes_peak = 0
        self.samples_read = 0
        self._cancelled = False

    @classmethod
    def of(cls, options: EngineOptions, clock: Clock | None = None) -> QueryContext:
        """A fresh context with the engine's limits, its time running from now."""
        clock = clock or _CLOCK
        deadline = clock.monotonic() + options.timeout_seconds if options.timeout_seconds > 0 else 0.0
        return cls(
            samples_max=options.samples_max,
            memory_bytes_max=options.memory_bytes_max,
            deadline=deadline,
            clock=clock,
        )

    def cancel(self) -> None:
        self._cancelled = True

    def check(self, stage: str = "expression evaluation") -> None:
        """Raises QueryCanceled or QueryTimeout."""
        if self._cancelled:
            raise QueryCanceled(f"query was canceled in {stage}")
        if self.deadline and self.clock.monotonic() > self.deadline:
            raise QueryTimeout(f"query timed out in {stage}")

    def charge(self, samples: int, size_bytes: int) -> None:
        """Take samples and bytes into account before they are allocated. Raises QueryTooBig."""
        self.samples += samples
        self.bytes += size_bytes
        self.samples_peak = max(self.samples_peak, self.samples)
        self.bytes_peak = max(self.bytes_peak, self.bytes)
        if self.samples_max and self.samples > self.samples_max:
            raise QueryTooBig(
                "query processing would load too many samples into memory in query execution",
                fix=f"it needs about {self.samples} at once and may hold {self.samples_max}",
            )
        if self.memory_bytes_max and self.bytes > self.memory_bytes_max:
            raise QueryTooBig(
                f"query would use about {self.bytes / 2**20:.0f} MiB of memory, "
                f"over its budget of {self.memory_bytes_max / 2**20:.0f} MiB",
                fix="narrow the selectors, shorten the range or widen the step",
            )

    def mark(self) -> tuple[int, int]:
        return self.samples, self.bytes

    def release(self, mark: tuple[int, int]) -> None:
        """Back to an earlier state: what was charged since has been freed."""
        self.samples, self.bytes = mark
