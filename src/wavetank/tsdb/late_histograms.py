"""Native histograms that are in no chunk of the head: late ones, and those committed during replay.

The counterpart of ``out_of_order`` for histograms; as they are few, they stand in a dictionary by series and
time. Of several at one time the first stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from wavetank.tsdb.decode import LooseSamples
from wavetank.tsdb.wal.rare_records import HistogramRecord

__all__ = ["LateHistograms"]

Int64s = npt.NDArray[np.int64]


class LateHistograms:
    """Histogram samples by ref and time. The head's lock is held around every call."""

    def __init__(self) -> None:
        self._samples: dict[int, dict[int, HistogramRecord]] = {}
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def refs(self) -> list[int]:
        """Series that have any."""
        return list(self._samples)

    @property
    def times_ms(self) -> tuple[int, int]:
        """The oldest and the newest; the first is greater where there are none."""
        every = [t for own in self._samples.values() for t in own]
        return min(every, default=1 << 62), max(every, default=-(1 << 62))

    def __iter__(self) -> Iterator[HistogramRecord]:
        """All of them, by ref and time."""
        for ref in sorted(self._samples):
            own = self._samples[ref]
            yield from (own[t] for t in sorted(own))

    def add(self, sample: HistogramRecord) -> HistogramRecord | None:
        """Take it in, unless there is one of that time already, which is then returned."""
        own = self._samples.setdefault(sample.ref, {})
        found = own.setdefault(sample.timestamp_ms, sample)
        if found is not sample:
            return found
        self.count += 1
        return None

    def of(self, refs: Int64s, mint_ms: int, maxt_ms: int) -> LooseSamples:
        """Samples of some series in the range; ``series`` are indexes into ``refs``."""
        found: list[tuple[int, HistogramRecord]] = []
        for i, ref in enumerate(refs.tolist()):
            own = self._samples.get(ref)
            if own:
                found += [(i, own[t]) for t in sorted(own) if mint_ms <= t <= maxt_ms]
        if not found:
            return LooseSamples()
        histograms = np.empty(len(found), object)
        histograms[:] = [sample.histogram for _, sample in found]
        starts = np.array([sample.start_ms for _, sample in found], np.int64)
        return LooseSamples(
            np.array([i for i, _ in found], np.int64),
            np.array([sample.timestamp_ms for _, sample in found], np.int64),
            np.array([sample.histogram.sum for _, sample in found], np.float64),
            histograms,
            starts if starts.any() else None,
        )

    def take(self, which: Callable[[HistogramRecord], bool]) -> list[HistogramRecord]:
        """Hand over those that ``which`` says, by ref and time, and forget them."""
        taken = [sample for sample in self if which(sample)]
        for sample in taken:
            own = self._samples[sample.ref]
            del own[sample.timestamp_ms]
            if not own:
                del self._samples[sample.ref]
        self.count -= len(taken)
        return taken
