"""Native histograms of the head. Mirrors the histogram half of ``memSeries`` in ``tsdb/head_append.go``.

Few series have them, so they are kept per series in Python: the samples of the chunk being filled, and the
bytes of full chunks. A chunk is full at about a kilobyte, but not before ten samples, and ends with its time
range in any case, so that no chunk reaches over the end of a block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.model.histogram import CounterResetHint, FloatHistogram
from wavetank.tsdb.chunkenc.histogram import encode_run
from wavetank.tsdb.chunkenc.histogram_run import HistogramRun, Sample
from wavetank.tsdb.decode import LooseSamples
from wavetank.tsdb.head import ChunkSet

__all__ = ["HeadHistograms"]

Int64s = npt.NDArray[np.int64]
_Chunk = tuple[int, int, int, bytes]
_CHUNK_BYTES: Final = 1024
_SAMPLES_MIN: Final = 10
_SAMPLES_MAX: Final = 1000


@dataclass(slots=True)
class _Open:
    """The chunk being filled: ``full_at`` samples, or ``ends_ms``, close it."""

    run: HistogramRun
    ends_ms: int
    full_at: int = _SAMPLES_MAX


class HeadHistograms:
    """Histogram samples by series ref. The head's lock is held around every call."""

    def __init__(self, chunk_range_ms: int) -> None:
        self._chunk_range_ms = chunk_range_ms
        self._open: dict[int, _Open] = {}
        self._full: dict[int, list[_Chunk]] = {}

    def __contains__(self, ref: int) -> bool:
        return ref in self._open

    def __bool__(self) -> bool:
        return bool(self._open or self._full)

    def hold_any(self, refs: Iterable[int]) -> bool:
        """Whether any of the series has, or had, histograms."""
        return any(ref in self._open or ref in self._full for ref in refs)

    def append(self, ref: int, timestamp_ms: int, histogram: FloatHistogram) -> None:
        """Add a sample that is newer than all others of its series."""
        sample = (timestamp_ms, histogram)
        opened = self._open.get(ref)
        if opened is None:
            hint = histogram.counter_reset_hint
            explicit = hint in (CounterResetHint.GAUGE, CounterResetHint.RESET)
            run = HistogramRun.begun(sample, hint if explicit else CounterResetHint.UNKNOWN)
        elif len(opened.run.samples) >= opened.full_at or timestamp_ms >= opened.ends_ms:
            run = opened.run.followed_by(sample)
        else:
            run = opened.run.append(sample)
        if opened is None or run is not opened.run:
            if opened is not None:
                self._full.setdefault(ref, []).append(encode_run(opened.run))
            ends = timestamp_ms - timestamp_ms % self._chunk_range_ms + self._chunk_range_ms
            self._open[ref] = _Open(run, ends)
        elif len(run.samples) == _SAMPLES_MIN:
            opened.full_at = _samples_of_chunk(run)

    def holds_floats(self, ref: int) -> bool:
        """Whether the chunk being filled has float counts, in which whole numbers fit too."""
        opened = self._open.get(ref)
        return opened is not None and not opened.run.integer

    def last(self, ref: int) -> Sample | None:
        """The newest sample of a series' open chunk."""
        opened = self._open.get(ref)
        return opened.run.samples[-1] if opened else None

    def end(self, ref: int) -> None:
        """Close the chunk being filled, since the series went on otherwise."""
        opened = self._open.pop(ref, None)
        if opened is not None:
            self._full.setdefault(ref, []).append(encode_run(opened.run))

    def full_chunks(self) -> list[tuple[int, _Chunk]]:
        """Full chunks with their refs, handed over: they are forgotten here."""
        chunks = [(ref, chunk) for ref, own in self._full.items() for chunk in own]
        self._full.clear()
        return chunks

    def open_runs(self) -> dict[int, HistogramRun]:
        """The chunks being filled, by ref."""
        return {ref: opened.run for ref, opened in self._open.items()}

    def collect(self, refs: Int64s, mint_ms: int, maxt_ms: int) -> tuple[ChunkSet, LooseSamples]:
        """Full chunks and loose samples of the refs in the range; series are indexes into ``refs``."""
        chunks: list[tuple[int, _Chunk]] = []
        series: list[int] = []
        times: list[int] = []
        values: list[FloatHistogram] = []
        if self._open or self._full:
            for i, ref in enumerate(refs.tolist()):
                full = self._full.get(ref, ())
                chunks += [(i, c) for c in full if c[0] <= maxt_ms and c[1] >= mint_ms]
                opened = self._open.get(ref)
                for t, h in opened.run.samples if opened else ():
                    if mint_ms <= t <= maxt_ms:
                        series.append(i)
                        times.append(t)
                        values.append(h)
        loose = LooseSamples()
        if series:
            objects = np.empty(len(values), object)
            objects[:] = values
            sums = np.array([h.sum for h in values], np.float64)
            loose = LooseSamples(np.array(series, np.int64), np.array(times, np.int64), sums, objects)
        return _chunk_set(chunks), loose

    def truncate(self, mint_ms: int) -> None:
        """Forget chunks that end before ``mint_ms``."""
        for ref in list(self._full):
            full = [c for c in self._full[ref] if c[1] >= mint_ms]
            if full:
                self._full[ref] = full
            else:
                del self._full[ref]
        for ref in [r for r, opened in self._open.items() if opened.run.samples[-1][0] < mint_ms]:
            del self._open[ref]


def _samples_of_chunk(run: HistogramRun) -> int:
    """How many samples like those of the run make a chunk of the size that is aimed at."""
    first = HistogramRun(run.samples[:1], run.header, run.integer, run.layout)
    size, alone = len(encode_run(run)[3]), len(encode_run(first)[3])
    each = max(1.0, (size - alone) / (len(run.samples) - 1))
    return min(_SAMPLES_MAX, max(_SAMPLES_MIN, int(1 + (_CHUNK_BYTES - alone) / each)))


def _chunk_set(chunks: list[tuple[int, _Chunk]]) -> ChunkSet:
    lengths = np.array([len(c[3]) for _, c in chunks], np.int64)
    return ChunkSet(
        np.array([i for i, _ in chunks], np.int64),
        np.zeros(len(chunks), np.int64),
        np.cumsum(lengths) - lengths,
        lengths,
        np.array([c[2] for _, c in chunks], np.int64),
        np.array([c[0] for _, c in chunks], np.int64),
        np.array([c[1] for _, c in chunks], np.int64),
        [np.frombuffer(bytearray(b"".join(c[3] for _, c in chunks)), np.uint8)],
    )
