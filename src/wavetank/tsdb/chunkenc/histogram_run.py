"""Which native histograms share a chunk, and in what layout. Mirrors ``appendable`` and ``recode`` of
``chunkenc/histogram.go`` and ``float_histogram.go``.

A chunk holds one layout of buckets. A sample with buckets the chunk lacks makes all earlier ones of the
chunk X

A new chunk begins where the schema, the zero bucket's width or the custom bounds change, at a counter reset
(in the count, or in any bucket), after a staleness marker, and between counters and gauges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from wavetank.model.histogram import CounterResetHint, FloatHistogram, Span, indexes, spans_of

__all__ = ["HistogramRun", "Sample", "is_integer", "runs_of"]

Sample = tuple[int, FloatHistogram]
_COUNT_MAX: Final = 1 << 62
SAMPLES_PER_CHUNK: Final = 120  # where chunks are written anew, as upstream's merges have it

_UNKNOWN, _RESET = CounterResetHint.UNKNOWN, CounterResetHint.RESET
_NOT_RESET, _GAUGE = CounterResetHint.NOT_RESET, CounterResetHint.GAUGE


def is_integer(h: FloatHistogram) -> bool:
    """Whether all counts are whole, so that the integer encoding holds them. Stale markers are."""
    if h.is_stale:
        return True
    return all(
        math.isfinite(c) and 0 <= c < _COUNT_MAX and c == int(c)
        for c in (h.count, h.zero_count, *h.positive_buckets, *h.negative_buckets)
    )


@dataclass(slots=True)
class HistogramRun:
    """The samples of one chunk, in order of time, at least one, and what they have in common.

    ``header`` is what the chunk says of a counter reset before its first sample; ``layout`` has the spans.
    """

    samples: list[Sample]
    header: CounterResetHint
    integer: bool
    layout: tuple[tuple[Span, ...], tuple[Span, ...]] = field(default=((), ()))

    @classmethod
    def begun(cls, sample: Sample, header: CounterResetHint) -> HistogramRun:
        h = sample[1]
        layout = ((), ()) if h.is_stale else (h.positive_spans, h.negative_spans)
        return cls([sample], header, is_integer(h), layout)

    def append(self, sample: Sample) -> HistogramRun:
        """Add the next sample; the run it is in now: this one, or a new one that follows it."""
        h = sample[1]
        if not self._takes_kind(h):
            return HistogramRun.begun(sample, _GAUGE if h.counter_reset_hint is _GAUGE else _UNKNOWN)
        if h.counter_reset_hint is _GAUGE:
            joins = self._joins_gauges(h)
            header = _GAUGE
        else:
            joins, header = self._joins_counters(h)
        if not joins:
            return HistogramRun.begun(sample, header)
        if not h.is_stale:
            self._widen(h)
        self.samples.append(sample)
        return self

    def followed_by(self, sample: Sample) -> HistogramRun:
        """A new run although the sample might fit this one, which is full."""
        h = sample[1]
        if h.counter_reset_hint in (_GAUGE, _RESET):
            return HistogramRun.begun(sample, h.counter_reset_hint)
        if not self._takes_kind(h):
            return HistogramRun.begun(sample, _UNKNOWN)
        _, header = self._joins_counters(h)
        if not self.integer and header is not _RESET:
            header = _NOT_RESET
        return HistogramRun.begun(sample, header)

    def _takes_kind(self, h: FloatHistogram) -> bool:
        """Whole counts fit a chunk of floats as well; a staleness marker fits any."""
        return h.is_stale or not self.integer or is_integer(h)

    def _shares_scale(self, last: FloatHistogram, h: FloatHistogram) -> bool:
        return h.schema == last.schema and h.zero_threshold == last.zero_threshold

    def _joins_gauges(self, h: FloatHistogram) -> bool:
        last = self.samples[-1][1]
        if self.header is not _GAUGE:
            return False
        if h.is_stale or last.is_stale:
            return h.is_stale
        return self._shares_scale(last, h) and h.custom_values == last.custom_values

    def _joins_counters(self, h: FloatHistogram) -> tuple[bool, CounterResetHint]:
        """Whether a counter goes on here, and what a new chunk would say of it if not."""
        last = self.samples[-1][1]
        if self.header is _GAUGE:
            return False, _NOT_RESET if self.integer else _UNKNOWN
        if h.counter_reset_hint is _RESET:
            return False, _RESET
        if h.is_stale:
            return True, _NOT_RESET
        if last.is_stale:
            return False, _UNKNOWN
        if h.count < last.count:
            return False, _RESET
        if not self._shares_scale(last, h):
            return False, _UNKNOWN
        if h.custom_values != last.custom_values or h.zero_count < last.zero_count:
            return False, _RESET
        if _fell(last.positive_spans, last.positive_buckets, h.positive_spans, h.positive_buckets):
            return False, _RESET
        if _fell(last.negative_spans, last.negative_buckets, h.negative_spans, h.negative_buckets):
            return False, _RESET
        return True, _NOT_RESET

    def _widen(self, h: FloatHistogram) -> None:
        """Take the buckets of a sample into the layout."""
        theirs = (h.positive_spans, h.negative_spans)
        if theirs == self.layout:
            return
        mine = [indexes(spans) for spans in self.layout]
        other = [indexes(spans) for spans in theirs]
        if all(set(o) <= set(m) for m, o in zip(mine, other, strict=True)):
            return
        sides = [
            spans if set(m) <= set(o) else spans_of(sorted({*m, *o}))
            for spans, m, o in zip(theirs, mine, other, strict=True)
        ]
        self.layout = (sides[0], sides[1])

    def aligned(self) -> list[Sample]:
        """The samples, all in the run's layout."""
        return [(t, h if h.is_stale else self._aligned(h)) for t, h in self.samples]

    def _aligned(self, h: FloatHistogram) -> FloatHistogram:
        positive, negative = self.layout
        if (h.positive_spans, h.negative_spans) == self.layout:
            return h
        return replace(
            h,
            positive_spans=positive,
            positive_buckets=_spread(h.positive_spans, h.positive_buckets, positive),
            negative_spans=negative,
            negative_buckets=_spread(h.negative_spans, h.negative_buckets, negative),
        )


def _fell(
    spans: Sequence[Span], counts: Sequence[float], new_spans: Sequence[Span], new_counts: Sequence[float]
) -> bool:
    """Whether a bucket has less than it had; one that was empty may be missing."""
    if spans == new_spans:
        return any(new < old for old, new in zip(counts, new_counts, strict=True))
    now = dict(zip(indexes(new_spans), new_counts, strict=True))
    return any(now.get(i, 0.0) < count for i, count in zip(indexes(spans), counts, strict=True))


def _spread(spans: Sequence[Span], counts: Sequence[float], onto: Sequence[Span]) -> tuple[float, ...]:
    """Counts in wider spans, empty where there was no bucket."""
    own = dict(zip(indexes(spans), counts, strict=True))
    return tuple([own.get(i, 0.0) for i in indexes(onto)])


def runs_of(samples: Sequence[Sample]) -> list[HistogramRun]:
    """Samples of one series in the chunks they belong in."""
    runs: list[HistogramRun] = []
    for sample in samples:
        if not runs:
            hint = sample[1].counter_reset_hint
            runs.append(HistogramRun.begun(sample, hint if hint in (_GAUGE, _RESET) else _UNKNOWN))
            continue
        full = len(runs[-1].samples) >= SAMPLES_PER_CHUNK
        now = runs[-1].followed_by(sample) if full else runs[-1].append(sample)
        if now is not runs[-1]:
            runs.append(now)
    return runs
