"""Advice on ``rate()`` and ``increase()``: how exact their answers can be with the samples that there are.

Not in upstream; off unless ``EngineOptions.advise`` says so. It names what was seen, where in the query, and
what to write instead. Nothing of it changes an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from wavetank.model.duration import format_duration
from wavetank.model.quoting import quote
from wavetank.promql.annotations import Annotation
from wavetank.promql.ast import Expr
from wavetank.promql.range_vector import RangeVector
from wavetank.promql.vector import Ints

__all__ = ["ADVISED", "advice"]

ADVISED: Final = frozenset(("rate", "increase"))
#: Intervals a range should hold: a failed scrape and the range's ends may each cost one.
_INTERVALS: Final = 4
_JITTER: Final = 0.02  # scrapes come this part of an interval early or late


def advice(function: str, at: Expr, window: RangeVector) -> Iterator[Annotation]:
    """What there is to say about one call over these windows; ``at`` is its range vector."""
    series, steps = window.shape
    if not series or not steps:
        return
    range_ms = int(window.ends[0] - window.starts[0])
    subject = f"{function}() over {format_duration(range_ms)}{_metric(window)}"
    intervals = sample_intervals(window)
    short = intervals * _INTERVALS > range_ms
    longest = int(intervals.max())
    wanted = _INTERVALS * longest
    if short.any():
        yield _said(
            f"{subject}: samples of {int(short.sum())} of {series} series are "
            f"{format_duration(longest)} apart, so that one missed scrape leaves a gap or a wrong slope; "
            f"use a range of at least {format_duration(wanted)}",
            at,
        )
    lonely = int((window.counts == 1).any(axis=1).sum())
    if lonely:
        wider = f"range of at least {format_duration(wanted)}" if wanted > range_ms else "wider range"
        yield _said(
            f"{subject}: {lonely} of {series} series have fewer than 2 samples in some window, which gives "
            f"no result there; use a {wider}, unless they begin or end there",
            at,
        )
    step_ms = int(window.ends[1] - window.ends[0]) if steps > 1 else 0
    if step_ms > range_ms:
        yield _said(
            f"{subject}: the query's step of {format_duration(step_ms)} is longer, so that "
            f"{(1 - range_ms / step_ms) * 100:.0f}% of the time is not looked at; "
            f"use a range of at least {format_duration(step_ms)}",
            at,
        )


def sample_intervals(window: RangeVector) -> Ints:
    """int64[n]: the median distance of each series' samples in ms, whole seconds where it is nearly so.

    It is 0 where fewer than two samples are in reach.
    """
    counts = np.diff(window.offsets)
    out = np.zeros(len(counts), np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    inner = owner[1:] == owner[:-1]
    first = int(window.offsets[0])
    distances = np.diff(window.times[first : int(window.offsets[-1])])[inner]
    if not len(distances):
        return out
    owner = owner[1:][inner]
    ordered = distances[np.lexsort((distances, owner))]
    each = np.maximum(counts - 1, 0)
    begins = np.cumsum(each) - each
    rows = np.flatnonzero(each)
    medians = ordered[begins[rows] + each[rows] // 2]
    seconds = np.maximum(np.rint(medians / 1000) * 1000, 0)
    near = (np.abs(seconds - medians) <= _JITTER * medians) & (seconds > 0)
    out[rows] = np.where(near, seconds, medians).astype(np.int64)
    return out


def _metric(window: RangeVector) -> str:
    names = {labels.name for labels in window.labels}
    return f" for metric name {quote(names.pop())}" if len(names) == 1 and "" not in names else ""


def _said(text: str, at: Expr) -> Annotation:
    return Annotation("info", text, at.start)
