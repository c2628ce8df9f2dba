"""Zeros where counters began (``created-timestamp-zero-ingestion``). Mirrors ``tsdb/head_append_v2.go``.

A counter that says when it began gets a zero there, so that its first increase is seen: if that is newer than
what its series has, before the sample itself, and neither in the time of blocks nor more than half a chunk
range older than the newest sample. Otherwise nothing is said: most scrapes repeat what is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.model.histogram import CounterResetHint, FloatHistogram
from wavetank.tsdb.head import Head
from wavetank.tsdb.head_append import HAS_SAMPLE, LAST_T, PACKED
from wavetank.tsdb.wal.rare_records import HistogramRecord

__all__ = ["float_zeros", "with_zeros"]

Int64s = npt.NDArray[np.int64]
_NO_SAMPLE: Final = -(1 << 62)


def _oldest_ms(head: Head) -> int:
    if not head.samples_appended:
        return head.min_valid_ms
    return max(head.min_valid_ms, head.maxt_ms - head.chunk_range_ms // 2)


def float_zeros(head: Head, refs: Int64s, times_ms: Int64s, starts_ms: Int64s) -> tuple[Int64s, Int64s]:
    """Refs and times of the zeros that belong before these samples of known series, one each."""
    state = head.state[head.row_of_ref[refs]]
    last = np.where((state[:, PACKED] & HAS_SAMPLE) != 0, state[:, LAST_T], _NO_SAMPLE)
    chosen = (starts_ms != 0) & (starts_ms < times_ms) & (starts_ms > last) & (starts_ms >= _oldest_ms(head))
    refs, starts_ms = refs[chosen], starts_ms[chosen]
    _, first = np.unique(refs, return_index=True)
    return refs[first], starts_ms[first]


def with_zeros(head: Head, samples: Sequence[HistogramRecord]) -> list[HistogramRecord]:
    """Samples of known series, each after the empty histogram that belongs before it."""
    newest: dict[int, int] = {}
    out = []
    for sample in samples:
        state = head.state[head.row(sample.ref)]
        last = newest.get(sample.ref, int(state[LAST_T]) if state[PACKED] & HAS_SAMPLE else _NO_SAMPLE)
        if sample.start_ms and max(last + 1, _oldest_ms(head)) <= sample.start_ms < sample.timestamp_ms:
            out.append(_zero(sample))
        newest[sample.ref] = max(last, sample.timestamp_ms)
        out.append(sample)
    return out


def _zero(sample: HistogramRecord) -> HistogramRecord:
    """With the sample's scale, so that both stand in one chunk; a counter reset by definition."""
    h = sample.histogram
    empty = FloatHistogram(
        h.schema,
        zero_threshold=h.zero_threshold,
        custom_values=h.custom_values,
        counter_reset_hint=CounterResetHint.RESET,
    )
    return HistogramRecord(sample.ref, sample.start_ms, empty, floats=sample.floats)
