"""From columns back to chunks: for merged, backfilled, and partly deleted series.

Floats are XOR chunks, or XOR2 ones where these are asked for or there are start timestamps to keep.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.tsdb.chunkenc import XOR, XOR2
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.chunkenc.histogram import encode_histograms
from wavetank.tsdb.chunkenc.xor import LEADING_UNSET, xor_put_first, xor_put_next, xor_put_second
from wavetank.tsdb.chunkenc.xor2 import XOR2_SAMPLE_BYTES_MAX, encode_xor2
from wavetank.tsdb.decode import Columns, joined
from wavetank.tsdb.head import ChunkSet

__all__ = ["rechunked"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_SAMPLES_PER_CHUNK: Final = 120
_SLICE_SAMPLES: Final = 1 << 20  # encoded at a time: bounds the scratch buffer


@kernel("int64(int64[::1], float64[::1], int64[::1], uint8[::1], int64[::1])")
def _encode(timestamps: Int64s, values: Float64s, cuts: Int64s, out: Bytes, starts: Int64s) -> Word:
    """XOR chunks of the samples ``cuts[k]:cuts[k + 1]`` one after the other into zeroed ``out``."""
    bits = values.view(np.uint64)
    at = 0
    for k in range(len(cuts) - 1):
        first = cuts[k]
        count = cuts[k + 1] - first
        starts[k] = at
        out[at] = count >> 8
        out[at + 1] = count & 0xFF
        position = xor_put_first(out, at, timestamps[first], bits[first])
        delta: Word = np.int64(0)
        leading: Word = np.int64(LEADING_UNSET)
        trailing: Word = np.int64(0)
        for i in range(first + 1, first + count):
            now = timestamps[i] - timestamps[i - 1]
            if i == first + 1:
                position, leading, trailing = xor_put_second(out, position, now, bits[i - 1], bits[i])
            else:
                position, leading, trailing = xor_put_next(
                    out, position, now - delta, bits[i - 1], bits[i], leading, trailing
                )
            delta = now
        at = (position + 7) >> 3
    starts[len(cuts) - 1] = at
    return at


def _cuts(offsets: Int64s) -> tuple[Int64s, Int64s]:
    """Where chunks begin, with the end appended, and the series of each chunk."""
    sizes = np.diff(offsets)
    chunks = -(-sizes // _SAMPLES_PER_CHUNK)
    series = np.repeat(np.arange(len(sizes)), chunks)
    nth = np.arange(int(chunks.sum())) - np.repeat(np.cumsum(chunks) - chunks, chunks)
    per = -(-sizes // np.maximum(chunks, 1))  # spread evenly instead of leaving a stub
    begins = offsets[:-1][series] + np.minimum(nth * per[series], sizes[series])
    return np.append(begins, offsets[-1]), series


def rechunked(
    columns: Columns, rows: Int64s, *, xor2: bool = False, histogram_starts: bool = True
) -> ChunkSet:
    """Chunks of all samples; series ``i`` of the columns becomes ``rows[i]``.

    Without ``histogram_starts`` those of native histograms are dropped.
    """
    if columns.histograms is None:
        return _floats(columns, rows, xor2)
    starts = columns.start_timestamps_ms
    floats = np.array([h is None for h in columns.histograms], np.bool_)
    series = np.repeat(np.arange(len(rows)), np.diff(columns.offsets))
    # A chunk holds one kind only: cut each series where the kind changes, as if it were several series.
    change = np.ones(len(series), np.bool_)
    change[1:] = (series[1:] != series[:-1]) | (floats[1:] != floats[:-1])
    begins = np.append(np.flatnonzero(change), len(series))
    sets = []
    for begin, end in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        row = rows[series[begin] : series[begin] + 1]
        part = slice(begin, end)
        if floats[begin]:
            run = Columns(
                np.array([0, end - begin]),
                columns.timestamps_ms[part],
                columns.values[part],
                None,
                None if starts is None else starts[part],
            )
            sets.append(_floats(run, row, xor2))
        else:
            samples = zip(columns.timestamps_ms[part].tolist(), columns.histograms[part], strict=True)
            own = None
            if starts is not None and histogram_starts and starts[part].any():
                own = starts[part].tolist()
            sets.append(_histogram_chunks(list(samples), int(row[0]), own))
    return joined(sets)


def _histogram_chunks(samples: list[Any], row: int, starts: list[int] | None) -> ChunkSet:
    """Chunks of ``(time, histogram)`` samples of one series."""
    made = encode_histograms(samples, starts)
    lengths = np.array([len(data) for *_, data in made], np.int64)
    return ChunkSet(
        np.full(len(made), row),
        np.zeros(len(made), np.int64),
        np.cumsum(lengths) - lengths,
        lengths,
        np.array([encoding for _, _, encoding, _ in made], np.int64),
        np.array([mint for mint, *_ in made], np.int64),
        np.array([maxt for _, maxt, *_ in made], np.int64),
        [np.frombuffer(bytearray(b"".join(data for *_, data in made)), np.uint8)],
    )


def _floats(columns: Columns, rows: Int64s, xor2: bool) -> ChunkSet:
    begins = columns.start_timestamps_ms
    if begins is None or not begins.any():
        begins = np.empty(0, np.int64)
    xor2 = xor2 or len(begins) > 0
    cuts, series = _cuts(columns.offsets)
    buffers: list[Bytes] = []
    starts = np.empty(len(series), np.int64)
    lengths = np.empty(len(series), np.int64)
    sources = np.empty(len(series), np.int64)
    run: Any = _encode
    run_xor2: Any = encode_xor2
    first = 0
    while first < len(series):
        last = max(first + 1, int(np.searchsorted(cuts, cuts[first] + _SLICE_SAMPLES, "right")) - 1)
        last = min(last, len(series))
        size = int(cuts[last] - cuts[first])
        widest = XOR2_SAMPLE_BYTES_MAX if xor2 else 19
        out = np.zeros(size * widest + (last - first) * 24 + 16, np.uint8)
        bounds = np.empty(last - first + 1, np.int64)
        own = cuts[first : last + 1]
        if xor2:
            used = run_xor2(columns.timestamps_ms, columns.values, begins, own, out, bounds)
        else:
            used = run(columns.timestamps_ms, columns.values, own, out, bounds)
        starts[first:last] = bounds[:-1]
        lengths[first:last] = np.diff(bounds)
        sources[first:last] = len(buffers)
        buffers.append(out[:used].copy())
        first = last
    ends = cuts[1:] - 1
    return ChunkSet(
        rows[series] if len(series) else series,
        sources,
        starts,
        lengths,
        np.full(len(series), XOR2 if xor2 else XOR, np.int64),
        columns.timestamps_ms[cuts[:-1]] if len(series) else starts,
        columns.timestamps_ms[ends] if len(series) else starts,
        buffers,
    )
