"""Start timestamps of the head's samples: since when the counter of each sample counts.

Upstream keeps one beside every sample (``st`` in ``tsdb/head_append.go``, in XOR2 chunks). A start changes
only where a counter was reset, so the head keeps its XOR chunks as they are, and here one run for each
change, from a time on. Samples that came late stand between runs; each has an entry of its own. Blocks and
the log have a start per sample, as upstream's formats do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc.bits import Word

__all__ = ["StartTimes", "Starts", "filled", "together"]

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_NEVER: Final = -(1 << 62)


@dataclass(frozen=True, slots=True)
class Starts:
    """Starts of a selection, by series, runs before single samples, by time.

    series     int64[k]: index into the selection
    times_ms   int64[k]: the first sample of a run, or the only one
    starts_ms  int64[k]
    single     bool[k]: holds for one sample only, and before any run
    """

    series: Int64s
    times_ms: Int64s
    starts_ms: Int64s
    single: Flags

    def __len__(self) -> int:
        return len(self.series)

    def placed(self, where: Int64s) -> Starts:
        """With series ``i`` being ``where[i]`` instead; those of -1 are left out."""
        series = where[self.series]
        kept = replace(self, series=series).subset(series >= 0)
        return kept.subset(np.lexsort((kept.times_ms, kept.single, kept.series)))

    def subset(self, which: npt.NDArray[Any]) -> Starts:
        return Starts(self.series[which], self.times_ms[which], self.starts_ms[which], self.single[which])


def together(every: Sequence[Starts]) -> Starts | None:
    """Those of several sources, whose series mean the same."""
    present = [each for each in every if len(each)]
    if len(present) < 2:
        return present[0] if present else None
    columns = (
        np.concatenate([getattr(each, name) for each in present])
        for name in ("series", "times_ms", "starts_ms", "single")
    )
    one = Starts(*columns)
    return one.subset(np.lexsort((one.times_ms, one.single, one.series)))


@kernel("void(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], boolean[::1], int64[::1])")
def _fill(
    offsets: Int64s,
    timestamps: Int64s,
    series: Int64s,
    times: Int64s,
    starts: Int64s,
    single: Flags,
    out: Int64s,
) -> None:
    a = 0
    while a < len(series):
        one = series[a]
        b = a
        while b < len(series) and series[b] == one and not single[b]:
            b += 1
        end = b
        while end < len(series) and series[end] == one:
            end += 1
        run = a - 1
        alone = b
        for k in range(offsets[one], offsets[one + 1]):
            t = timestamps[k]
            while run + 1 < b and times[run + 1] <= t:
                run += 1
            while alone < end and times[alone] < t:
                alone += 1
            if out[k] == 0:
                if alone < end and times[alone] == t:
                    out[k] = starts[alone]
                elif run >= a:
                    out[k] = starts[run]
        a = end


def filled(offsets: Int64s, timestamps_ms: Int64s, starts: Starts, known: Int64s | None) -> Int64s:
    """int64[m]: the start of each sample, 0 where unknown; those ``known`` already are left as they are."""
    out = np.zeros(len(timestamps_ms), np.int64) if known is None else known.copy()
    run: Any = _fill
    run(offsets, timestamps_ms, starts.series, starts.times_ms, starts.starts_ms, starts.single, out)
    return out


@kernel("int64(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def _changes(
    refs: Int64s, timestamps: Int64s, starts: Int64s, newest: Int64s, last: Int64s, out: Int64s
) -> Word:
    """Indexes of samples, in order for their series, that begin another run."""
    n = 0
    for i in range(len(refs)):
        ref = refs[i]
        if timestamps[i] <= newest[ref]:
            continue
        newest[ref] = timestamps[i]
        if starts[i] != last[ref]:
            last[ref] = starts[i]
            out[n] = i
            n += 1
    return n


class _Columns:
    """Ref, time and start of samples, by ref and time on demand; of equal times the last stays."""

    def __init__(self) -> None:
        self._parts: list[tuple[Int64s, Int64s, Int64s]] = []
        self._sorted: tuple[Int64s, Int64s, Int64s] | None = None

    def __len__(self) -> int:
        return sum(len(part[0]) for part in self._parts)

    def add(self, refs: Int64s, times: Int64s, starts: Int64s) -> None:
        if len(refs):
            self._parts.append((refs, times, starts))
            self._sorted = None

    def sorted(self) -> tuple[Int64s, Int64s, Int64s]:
        if self._sorted is None:
            none = np.empty(0, np.int64)
            refs, times, starts = (
                np.concatenate(c) for c in zip((none, none, none), *self._parts, strict=True)
            )
            order = np.lexsort((times, refs))  # stable: of equal times the last noted is last
            refs, times, starts = refs[order], times[order], starts[order]
            last = np.ones(len(refs), np.bool_)
            last[:-1] = (refs[1:] != refs[:-1]) | (times[1:] != times[:-1])
            self._sorted = refs[last], times[last], starts[last]
            self._parts = [self._sorted]
        return self._sorted

    def keep(self, which: Flags) -> None:
        refs, times, starts = self.sorted()
        self._sorted = refs[which], times[which], starts[which]
        self._parts = [self._sorted]

    def of(self, refs: Int64s) -> tuple[Int64s, Int64s]:
        """Where the entries of some refs are: ``(index into refs, index into the columns)``."""
        own, _, _ = self.sorted()
        begins = np.searchsorted(own, refs, "left")
        sizes = np.searchsorted(own, refs, "right") - begins
        index = np.repeat(np.arange(len(refs)), sizes)
        at = np.repeat(begins - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
        return index, at


class StartTimes:
    """Starts by series ref. The head's lock is held around every call."""

    def __init__(self) -> None:
        self._newest = np.full(0, _NEVER, np.int64)  # by ref: time of the newest sample noted
        self._last = np.zeros(0, np.int64)  # and its start
        self._runs = _Columns()
        self._singles = _Columns()

    def __bool__(self) -> bool:
        return len(self._runs) > 0 or len(self._singles) > 0

    def note(self, refs: Int64s, timestamps_ms: Int64s, starts_ms: Int64s | None) -> None:
        """Samples as they were appended; of those that are not newer than their series nothing is kept."""
        if starts_ms is None:
            if not len(self._runs):
                return
            starts_ms = np.zeros(len(refs), np.int64)
        if not len(refs):
            return
        self._make_room(int(refs.max()) + 1)
        out = np.empty(len(refs), np.int64)
        run: Any = _changes
        changed = out[: run(refs, timestamps_ms, starts_ms, self._newest, self._last, out)]
        self._runs.add(refs[changed].copy(), timestamps_ms[changed].copy(), starts_ms[changed].copy())

    def note_late(self, refs: Int64s, timestamps_ms: Int64s, starts_ms: Int64s | None) -> None:
        """Samples that stand before others of their series, or will."""
        if starts_ms is not None:
            self._singles.add(refs.copy(), timestamps_ms.copy(), starts_ms.copy())
        elif len(self._runs):
            self._singles.add(refs.copy(), timestamps_ms.copy(), np.zeros(len(refs), np.int64))

    def _make_room(self, refs: int) -> None:
        have = len(self._newest)
        if refs > have:
            size = max(refs, have * 2)
            self._newest = np.append(self._newest, np.full(size - have, _NEVER, np.int64))
            self._last = np.append(self._last, np.zeros(size - have, np.int64))

    def of(self, refs: Int64s) -> Starts:
        """What is known of some series, ``series`` being indexes into ``refs``."""
        columns = []
        for table, single in ((self._runs, False), (self._singles, True)):
            index, at = table.of(refs)
            _, times, starts = table.sorted()
            columns.append(Starts(index, times[at], starts[at], np.full(len(index), single, np.bool_)))
        return together(columns) or columns[0]

    def exact(self, refs: Int64s, timestamps_ms: Int64s) -> Int64s | None:
        """Starts of samples that are sorted by ref and time; None where nothing is known of any."""
        if not self:
            return None
        present, offsets = np.unique(refs, return_index=True)
        bounds = np.append(offsets, len(refs)).astype(np.int64)
        return filled(bounds, timestamps_ms, self.of(present), None)

    def drop_before(self, mint_ms: int, alive: Any, *, late: bool) -> None:
        """Forget what only samples before ``mint_ms`` need, or series that are gone (``alive`` says which).

        ``late`` says that late samples before it are gone too.
        """
        refs, times, _ = self._runs.sorted()
        over = np.zeros(len(refs), np.bool_)
        over[:-1] = (refs[1:] == refs[:-1]) & (times[1:] <= mint_ms)
        self._runs.keep(~over & alive(refs))
        refs, times, _ = self._singles.sorted()
        keep = alive(refs)
        self._singles.keep(keep & (times >= mint_ms) if late else keep)
