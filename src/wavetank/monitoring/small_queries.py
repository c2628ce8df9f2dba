"""Which queries are small enough to be answered without a thread.

Handing a query to a thread and its answer back costs more than a query of a few series does. One that was
seen to be cheap is answered by the event loop itself the next time, under a budget that stops it before it
would keep the loop waiting: the samples it read, the memory it held, the steps it had. Nothing is guessed: a
text not seen yet, or one that has become dear, goes to the threads.
"""

from __future__ import annotations

from wavetank.limits import (
    AT_ONCE_BYTES_MAX,
    AT_ONCE_CPU_SECONDS_MAX,
    AT_ONCE_QUERIES_MAX,
    AT_ONCE_SAMPLES_MAX,
    PROMQL_CACHED_TEXT_MAX,
)
from wavetank.promql.context import QueryContext

__all__ = ["SmallQueries"]


class SmallQueries:
    """What is known of query texts; instant and range queries apart, because other kernels run."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, bool], int] = {}  # the most steps that were seen

    def learn(self, text: str, steps: int, context: QueryContext, cpu_seconds: float) -> None:
        """Take note of a query that has run."""
        key = text, steps > 1
        cheap = (
            cpu_seconds <= AT_ONCE_CPU_SECONDS_MAX
            and context.samples_read <= AT_ONCE_SAMPLES_MAX
            and context.bytes_peak <= AT_ONCE_BYTES_MAX
            and len(text) <= PROMQL_CACHED_TEXT_MAX
        )
        if not cheap:
            self._seen.pop(key, None)
            return
        known = self._seen.get(key)
        if known is not None and known >= steps:
            return
        if known is None and len(self._seen) >= AT_ONCE_QUERIES_MAX:
            self._seen.pop(next(iter(self._seen)), None)
        self._seen[key] = steps

    def forget(self, text: str, steps: int) -> None:
        """It failed, or needed more than it may."""
        self._seen.pop((text, steps > 1), None)

    def samples_max(self, text: str, steps: int) -> int:
        """How many samples it may read at once; 0 if it is not known to be small with so many steps.

        The storage counts those of whole chunks, of which the query uses some: there is nothing to be
        learnt from how many it used the last time.
        """
        known = self._seen.get((text, steps > 1))
        if known is None or steps > known + known // 4 + 1:
            return 0
        return AT_ONCE_SAMPLES_MAX
