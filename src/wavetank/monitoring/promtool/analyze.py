"""``promtool tsdb analyze``: what is in one block. Mirrors ``analyzeBlock`` of cmd/promtool/tsdb.go.

Of equal numbers upstream prints any order; here names decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.errors import InputError
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.model.quoting import go_duration
from wavetank.promql.parser import parse_metric_selector
from wavetank.tsdb.block import Block
from wavetank.tsdb.chunkenc import XOR, XOR2
from wavetank.tsdb.chunkenc.histogram import decode_histograms
from wavetank.tsdb.decode import count_samples
from wavetank.tsdb.head import ChunkSet

__all__ = ["analyze"]

Int64s = npt.NDArray[np.int64]
_EVER: Final = 1 << 62


def analyze(path: Path, *, block: str, limit: int, match: str, extended: bool) -> list[str]:
    """The lines of the analysis; the newest block where none is named. Raises InputError, CorruptionError."""
    opened = Block(_block(path, block))
    try:
        return list(_analyzed(opened, limit, match, extended))
    finally:
        opened.close()


def _block(path: Path, ulid: str) -> Path:
    """The directory of a block; without a name that of the newest by its name, the first of several."""
    if ulid:
        if not (path / ulid / "meta.json").is_file():
            raise InputError(f"block {ulid} not found in {path}")
        return path / ulid
    found = sorted(p.parent.name for p in path.glob("*/meta.json") if len(p.parent.name) == 26)
    if not found:
        raise InputError(f"no blocks found in {path}")
    newest = max(name[:10] for name in found)  # the time of a ULID
    return path / next(name for name in found if name[:10] == newest)


def _analyzed(block: Block, limit: int, match: str, extended: bool) -> Iterator[str]:
    meta = block.meta
    yield f"Block ID: {meta.ulid}"
    yield f"Duration: {go_duration((meta.max_time - meta.min_time) / 1000)}"
    yield f"Total Series: {meta.stats.num_series}"
    if match:
        yield f"Matcher: {match}"
        ids, entries = block.find(parse_metric_selector(match))
    else:
        ids = block.index.all_rows()
        entries = block.index.entries(ids)
    every = block.labels(entries)
    values: dict[str, set[str]] = {}
    for labels in every:
        for name, value in labels:
            values.setdefault(name, set()).add(value)
    yield f"Label names: {len(values)}"
    if match:
        yield f"Matched series: {len(ids)}"
    offsets = entries.chunk_offsets
    covered = entries.maxt[offsets[1:] - 1] - entries.mint[offsets[:-1]]
    yield from _churn(every, (meta.max_time - meta.min_time) - covered, meta.max_time - meta.min_time, limit)
    lengths = {name: sum(len(v.encode()) for v in own) for name, own in values.items()}
    yield from _ranked("Label names with highest cumulative label value length:", lengths, limit)
    yield from _ranked("Highest cardinality labels:", {n: len(v) for n, v in values.items()}, limit)
    metrics = Counter(labels.get(METRIC_NAME) for labels in every if labels.get(METRIC_NAME))
    yield from _ranked("Highest cardinality metric names:", metrics, limit)
    if extended:
        yield from _chunks(block.chunks(entries, -_EVER, _EVER))


def _churn(every: Sequence[Labels], uncovered: Int64s, duration_ms: int, limit: int) -> Iterator[str]:
    """How much of its time the series of a pair, or of a name, have no samples in, in whole blocks."""
    names: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for labels, missing in zip(every, uncovered.tolist(), strict=True):
        for name, value in labels:
            names[name] += missing
            pairs[f"{name}={value}"] += missing
            counts[f"{name}={value}"] += 1
    yield f"Postings (unique label pairs): {len(pairs)}"
    yield f"Postings entries (total label pairs): {sum(counts.values())}"
    duration = max(1, duration_ms)
    for title, found in (
        ("Label pairs most involved in churning:", {k: int(v / duration) for k, v in pairs.items()}),
        ("Label names most involved in churning:", {k: int(v / duration) for k, v in names.items()}),
        ("Most common label pairs:", counts),
    ):
        yield from _ranked(title, found, limit)


def _ranked(title: str, numbers: Mapping[str, int], limit: int) -> list[str]:
    ranked = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[: max(0, limit)]
    return ["", title, *(f"{number} {name}" for name, number in ranked)]


# --- chunks -----------------------------------------------------------------------------------------------


def _chunks(chunks: ChunkSet) -> Iterator[str]:
    counts, sizes = count_samples(chunks), chunks.length
    floats = (chunks.encoding == XOR) | (chunks.encoding == XOR2)
    buckets = [_buckets(chunks, k) for k in np.flatnonzero(~floats).tolist()]
    yield from ("", "Compaction analysis:", "")
    for what, numbers in (
        ("samples per float chunk", counts[floats].tolist()),
        ("bytes per float chunk", sizes[floats].tolist()),
        ("samples per histogram chunk", counts[~floats].tolist()),
        ("bytes per histogram chunk", sizes[~floats].tolist()),
        ("buckets per histogram chunk", buckets),
    ):
        yield from _distribution(what, sorted(numbers), len(counts))


def _buckets(chunks: ChunkSet, k: int) -> int:
    """Buckets of all samples of a chunk together."""
    begin = int(chunks.start[k])
    data = chunks.buffers[int(chunks.source[k])][begin : begin + int(chunks.length[k])].tobytes()
    samples = decode_histograms(int(chunks.encoding[k]), data)
    return sum(len(h.positive_buckets) + len(h.negative_buckets) for _, h in samples)


def _distribution(what: str, numbers: Sequence[int], total: int) -> Iterator[str]:
    """Smallest, mean and largest, and a bar for each of some ten ranges."""
    if not numbers:
        yield from (f"{what}: N/A", "")
        return
    step = 10
    while step < (numbers[-1] - numbers[0]) // 10 and step <= 10_000:
        step *= 10
    start = numbers[0] - numbers[0] % step
    end = numbers[-1] - numbers[-1] % step + step
    bars = [0] * ((end - start) // step + 1)
    for number in numbers:
        bars[(number - start) // step] += 1
    mean = sum(numbers) // len(numbers)
    yield f"{what} (min/avg/max): {numbers[0]}/{mean}/{numbers[-1]}"
    left, right, wide = len(str(end)), len(str(end + step)), len(str(max(bars)))
    for i, count in enumerate(bars):
        low, high = i * step + start + 1, (i + 1) * step + start
        yield f"[{low:{left}d}, {high:{right}d}]: {count:{wide}d} {'#' * (100 * count // total)}"
    yield ""
