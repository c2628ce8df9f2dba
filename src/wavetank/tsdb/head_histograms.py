"""Native histograms of the head. Mirrors the histogram half of ``memSeries`` in ``tsdb/head_append.go``.

Few series have them, so they are kept per series in Python: samples of the chunk being filled, and the bytes
of full chunks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wavetank.model.histogram import FloatHistogram
from wavetank.tsdb.chunkenc.histogram import SAMPLES_PER_CHUNK, encode_histograms, starts_new_chunk
from wavetank.tsdb.decode import LooseSamples
from wavetank.tsdb.head import ChunkSet

__all__ = ["HeadHistograms"]

Int64s = npt.NDArray[np.int64]
_Chunk = tuple[int, int, int, bytes]


class HeadHistograms:
    """Histogram samples by series ref. The head's lock is held around every call."""

    def __init__(self) -> None:
        self._open: dict[int, list[tuple[int, FloatHistogram]]] = {}
        self._full: dict[int, list[_Chunk]] = {}

    def __contains__(self, ref: int) -> bool:
        return ref in self._open

    def __len__(self) -> int:
        return len(self._open)

    def append(self, ref: int, timestamp_ms: int, histogram: FloatHistogram) -> None:
        """Add a sample that is newer than all others of its series."""
        samples = self._open.setdefault(ref, [])
        if samples and (len(samples) >= SAMPLES_PER_CHUNK or starts_new_chunk(samples[-1][1], histogram)):
            self._full.setdefault(ref, []).extend(encode_histograms(samples))
            samples.clear()
        samples.append((timestamp_ms, histogram))

    def last(self, ref: int) -> tuple[int, FloatHistogram] | None:
        samples = self._open.get(ref)
        return samples[-1] if samples else None

    def collect(self, refs: Int64s, mint_ms: int, maxt_ms: int) -> tuple[ChunkSet, LooseSamples]:
        """Full chunks and loose samples of the refs in the range; series are indexes into ``refs``."""
        chunks: list[tuple[int, _Chunk]] = []
        series: list[int] = []
        times: list[int] = []
        values: list[FloatHistogram] = []
        if self._open:
            for i, ref in enumerate(refs.tolist()):
                full = self._full.get(ref, ())
                chunks += [(i, c) for c in full if c[0] <= maxt_ms and c[1] >= mint_ms]
                for t, h in self._open.get(ref, ()):
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
        """Forget samples before ``mint_ms``."""
        for ref in list(self._open):
            full = [c for c in self._full.get(ref, ()) if c[1] >= mint_ms]
            samples = [s for s in self._open[ref] if s[0] >= mint_ms]
            if full:
                self._full[ref] = full
            else:
                self._full.pop(ref, None)
            if samples or full:
                self._open[ref] = samples
            else:
                del self._open[ref]


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
