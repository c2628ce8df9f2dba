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

__all__ = ["with_float_zeros", "with_zeros"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
_NO_SAMPLE: Final = -(1 << 62)


def _oldest_ms(head: Head) -> int:
    if not head.samples_appended:
        return head.min_valid_ms
    return max(head.min_valid_ms, head.maxt_ms - head.chunk_range_ms // 2)


def with_float_zeros(
    head: Head, refs: Int64s, times_ms: Int64s, values: Float64s, starts_ms: Int64s
) -> tuple[Int64s, Int64s, Float64s, Int64s]:
    """Samples of known series with the zeros that belong before them, whose own start is unknown."""
    chosen = (starts_ms != 0) & (starts_ms < times_ms) & (starts_ms >= _oldest_ms(head))
    state = head.state[head.rows_of(refs)]
    last = np.where((state[:, PACKED] & HAS_SAMPLE) != 0, state[:, LAST_T], _NO_SAMPLE)
    chosen &= starts_ms > last
    if not chosen.any():
        return refs, times_ms, values, starts_ms  # as nearly always
    at = np.flatnonzero(chosen & (starts_ms > _newest_before(last, refs, times_ms)))
    return (
        np.insert(refs, at, refs[at]),
        np.insert(times_ms, at, starts_ms[at]),
        np.insert(values, at, 0.0),
        np.insert(starts_ms, at, 0),
    )


def _newest_before(last_ms: Int64s, refs: Int64s, times_ms: Int64s) -> Int64s:
    """int64[n]: the newest time of each sample's series before it: ``last_ms``, or among these samples."""
    last = last_ms.copy()
    order = np.argsort(refs, kind="stable")
    again = np.flatnonzero(refs[order][1:] == refs[order][:-1]) + 1
    for k in again.tolist():  # few: a scrape has a series once
        here, before = order[k], order[k - 1]
        last[here] = max(last[before], times_ms[before])
    return last


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
