"""The time between the opening of a database and a whole head.

Upstream answers nothing until replay is over, which for a large log is minutes (prometheus#6934). Here the
series come first (``replay.read_series``); from then on samples are accepted: they go to the log at once, and
wait in columns until all older ones are in the head. Queries see blocks, what has been replayed, and what
waits, and are told that the head is not whole.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from wavetank.limits import REPLAY_PENDING_SAMPLES_MAX
from wavetank.tsdb.appender import Gathered
from wavetank.tsdb.late_histograms import LateHistograms
from wavetank.tsdb.out_of_order import OutOfOrderSamples

__all__ = ["HEAD_IS_NOT_WHOLE", "ReplayStatus", "Restore"]

HEAD_IS_NOT_WHOLE = (
    "the head is still being restored from the write-ahead log: results may lack recent samples"
)


@dataclass(frozen=True, slots=True)
class ReplayStatus:
    """How far replay is: ``phase`` is series, head_chunks, wal, wbl or done; segments are the WAL's."""

    phase: str = "series"
    fraction: float = 0.0
    first_segment: int = 0
    last_segment: int = 0
    seconds: float = 0.0

    @property
    def current_segment(self) -> int:
        if self.phase in ("series", "head_chunks"):
            return self.first_segment
        whole = self.phase != "wal"
        span = self.last_segment - self.first_segment
        return self.last_segment if whole else self.first_segment + int(span * self.fraction)


@dataclass(slots=True)
class Restore:
    """A replay that goes on. What is committed meanwhile changes under the head's lock."""

    pending: OutOfOrderSamples = field(default_factory=OutOfOrderSamples)
    histograms: LateHistograms = field(default_factory=LateHistograms)
    later: list[Gathered] = field(default_factory=list)  # exemplars and metadata
    series_known: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None

    def wait_for_room(self) -> None:
        """Let appends wait for the end of replay once too much is pending, so that memory stays bounded."""
        if self.pending.count > REPLAY_PENDING_SAMPLES_MAX:
            self.ended.wait()
