"""Retention and downsampling by matcher, beyond upstream: blocks written anew without what is not kept.

The first rule that matches a series decides. When a whole block has become older than a rule's time, its
series leave the block; when it is older than a stage's ``after``, their samples are thinned to one a window.
A window is ``(k * to, (k + 1) * to]``, so that the sample kept is the one that an evaluation at a multiple of
``to`` looks back on. Thinning twice is thinning once. What was done is noted in ``meta.json``, which readers
that do not know the note pass over.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel
from wavetank.limits import RETENTION_SAMPLES_AT_ONCE
from wavetank.model.histogram import CounterResetHint, FloatHistogram
from wavetank.model.labels import METRIC_NAME
from wavetank.model.value import STALE_NAN_BITS
from wavetank.tsdb.block import Block
from wavetank.tsdb.block_writer import write_block
from wavetank.tsdb.chunkenc.bits import Word
from wavetank.tsdb.compaction import disentangled
from wavetank.tsdb.decode import Columns, LooseSamples, count_samples, decode, joined, subset
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.meta import BlockDescription, BlockMeta, Compaction
from wavetank.tsdb.options import Downsample, RetentionRule
from wavetank.tsdb.postings import matching_rows
from wavetank.tsdb.querier import without_deleted
from wavetank.tsdb.rechunk import rechunked
from wavetank.tsdb.series_table import SeriesTable

__all__ = ["Action", "actions", "apply_actions", "is_done", "kept_longest_ms", "thinned"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
_LOG = logging.getLogger(__name__)
_ALL: Final = 1 << 62
_COUNTER_SUFFIXES: Final = ("_total", "_count", "_sum", "_bucket")
_NOTE: Final = "wavetank"
_LAST, _MIN, _MAX, _AVERAGE = range(4)
_KEEPS: Final = {"last": _LAST, "min": _MIN, "max": _MAX, "avg": _AVERAGE}


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule does to its series in a block of some age: drop them, thin them, or leave them."""

    rule: RetentionRule
    drop: bool = False
    stage: Downsample | None = None

    @property
    def text(self) -> str:
        """What is noted of it."""
        done = "drop" if self.drop else "keep"
        if self.stage is not None:
            done = f"{self.stage.to_ms}ms {self.stage.keep}"
        return f"{','.join(map(str, self.rule.matchers))}: {done}"


def kept_longest_ms(rules: Sequence[RetentionRule], retention_ms: int) -> int:
    """After what age nothing of a block is kept; 0 if never."""
    every = [retention_ms, *(rule.time_ms for rule in rules if rule.time_ms)]
    return 0 if retention_ms == 0 else max(every)


def actions(rules: Sequence[RetentionRule], retention_ms: int, age_ms: int) -> tuple[Action, ...]:
    """What is to be done in a block whose end is so much older than the newest block's.

    The last one is for the series that no rule matches.
    """
    found = []
    for rule in (*rules, RetentionRule()):
        time_ms = rule.time_ms or retention_ms
        if time_ms and age_ms >= time_ms:
            found.append(Action(rule, drop=True))
            continue
        due = [stage for stage in rule.downsample if age_ms >= stage.after_ms]
        found.append(Action(rule, stage=max(due, key=lambda stage: stage.after_ms, default=None)))
    return tuple(found)


def _note(chosen: Sequence[Action]) -> list[str]:
    return [action.text for action in chosen]


def is_done(meta: BlockMeta, chosen: Sequence[Action]) -> bool:
    """Whether the block is as these actions leave it."""
    if not any(action.drop or action.stage for action in chosen):
        return True
    note: Any = meta.extra.get(_NOTE)
    return isinstance(note, dict) and note.get("retention") == _note(chosen)


@kernel(
    "int64(int64[::1], int64[::1], float64[::1], int64[::1], int64, int64,"
    " int64[::1], int64[::1], float64[::1])"
)
def _thin(
    offsets: Int64s,
    times: Int64s,
    values: Float64s,
    counters: Int64s,
    window: Word,
    keep: Word,
    new_offsets: Int64s,
    out_times: Int64s,
    out_values: Float64s,
) -> Word:
    """One sample a window and series, and all staleness markers; returns how many there are.

    Where a counter falls, the sample before and the one after stay too: no increase and no reset is lost.
    """
    bits = values.view(np.uint64)
    stale = np.uint64(STALE_NAN_BITS)
    total = 0
    for i in range(len(offsets) - 1):
        new_offsets[i] = total
        end = offsets[i + 1]
        low = np.inf
        high = -np.inf
        mean = 0.0
        count = 0
        after_fall = False
        for k in range(offsets[i], end):
            if bits[k] == stale:
                out_times[total] = times[k]
                out_values[total] = values[k]
                total += 1
                continue
            value = values[k]
            count += 1
            low = min(low, value)
            high = max(high, value)
            mean += (value - mean) / count
            last = k + 1 == end or bits[k + 1] == stale
            last = last or (times[k + 1] - 1) // window != (times[k] - 1) // window
            falls = counters[i] == 1 and k + 1 < end and values[k + 1] < value
            if last or falls or after_fall:
                out_times[total] = times[k]
                out_values[total] = value
                if keep == 1:
                    out_values[total] = low
                elif keep == 2:
                    out_values[total] = high
                elif keep == 3:
                    out_values[total] = mean
                total += 1
                low = np.inf
                high = -np.inf
                mean = 0.0
                count = 0
            after_fall = falls
    new_offsets[len(offsets) - 1] = total
    return total


def thinned(columns: Columns, counters: Int64s, stage: Downsample) -> Columns:
    """The samples a stage keeps; ``counters`` is 1 for series whose resets are to survive."""
    if columns.histograms is not None:
        return _thinned_with_histograms(columns, counters, stage)
    offsets = np.empty(len(columns.offsets), np.int64)
    times, values = np.empty_like(columns.timestamps_ms), np.empty_like(columns.values)
    run: Any = _thin
    total = run(
        columns.offsets.astype(np.int64),
        columns.timestamps_ms,
        columns.values,
        counters if stage.keep == "last" else np.zeros(len(counters), np.int64),
        stage.to_ms,
        _KEEPS[stage.keep],
        offsets,
        times,
        values,
    )
    return Columns(offsets, times[:total], values[:total])


def _thinned_with_histograms(columns: Columns, counters: Int64s, stage: Downsample) -> Columns:
    """Series by series: of native histograms the last of a window stays, and both sides of a reset."""
    assert columns.histograms is not None
    parts = []
    for i in range(len(columns.offsets) - 1):
        own = slice(int(columns.offsets[i]), int(columns.offsets[i + 1]))
        times, histograms = columns.timestamps_ms[own], columns.histograms[own]
        if all(h is None for h in histograms):
            bounds = np.array([0, len(times)], np.int64)
            alone = Columns(bounds, times.copy(), columns.values[own].copy())
            part = thinned(alone, counters[i : i + 1], stage)
            parts.append((part.timestamps_ms, part.values, np.full(len(part.values), None, object)))
        else:
            keep = _kept_histograms(times, histograms, stage.to_ms)
            parts.append((times[keep], columns.values[own][keep], _without_hints(histograms[keep])))
    offsets = np.cumsum([0, *(len(part[0]) for part in parts)]).astype(np.int64)
    return Columns(offsets, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _kept_histograms(times: Int64s, histograms: npt.NDArray[Any], window: int) -> npt.NDArray[np.bool_]:
    keep = np.ones(len(times), np.bool_)
    falls = [_falls(a, b) for a, b in itertools.pairwise(histograms)]
    for k in range(len(times) - 1):
        same = (times[k + 1] - 1) // window == (times[k] - 1) // window
        mixed = histograms[k] is None or histograms[k + 1] is None
        stale = not mixed and (histograms[k].is_stale or histograms[k + 1].is_stale)
        keep[k] = not same or mixed or stale or falls[k] or (k > 0 and falls[k - 1])
    return keep


def _falls(before: FloatHistogram | None, after: FloatHistogram | None) -> bool:
    if before is None or after is None or before.counter_reset_hint is CounterResetHint.GAUGE:
        return False
    return after.counter_reset_hint is CounterResetHint.RESET or after.count < before.count


def _without_hints(histograms: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Hints speak of the sample before, which may be another now; gauges stay gauges."""
    out = np.empty(len(histograms), object)
    for i, h in enumerate(histograms):
        known = h is not None and h.counter_reset_hint is not CounterResetHint.GAUGE
        out[i] = replace(h, counter_reset_hint=CounterResetHint.UNKNOWN) if known else h
    return out


def apply_actions(parent: Path, block: Block, chosen: Sequence[Action], ulid: str) -> Path | None:
    """The block as the actions leave it, written beside it; the block itself where nothing changes.

    None if nothing is left. Raises CorruptionError.
    """
    ids = block.index.all_rows()
    which = _rule_of(block, ids, chosen)
    drop = np.isin(which, [i for i, action in enumerate(chosen) if action.drop])
    thin = np.isin(which, [i for i, action in enumerate(chosen) if action.stage is not None])
    extra = {**block.meta.extra, _NOTE: {"retention": _note(chosen)}}
    if not drop.any() and not thin.any():
        block.meta.extra = extra
        return block.directory
    entries = block.index.entries(ids)
    table = SeriesTable()
    rows = table.add(*block.index.keys(entries))
    rows = np.where(rows <= -2, -2 - rows, rows)
    chunks = block.chunks(entries, -_ALL, _ALL)
    chunks, loose = without_deleted(chunks, LooseSamples(), block.deleted(ids), -_ALL, _ALL)
    sets = [_moved(chunks, loose, ~drop & ~thin, rows, len(table))]
    for i, action in enumerate(chosen):
        if action.stage is not None and (which == i).any():
            sets += _thinned_sets(chunks, loose, np.flatnonzero(which == i), rows, table, action.stage)
    before = block.meta
    meta = BlockMeta(
        ulid=ulid,
        min_time=before.min_time,
        max_time=before.max_time,
        compaction=Compaction(
            level=before.compaction.level,
            sources=before.compaction.sources,
            parents=[BlockDescription(before.ulid, before.min_time, before.max_time)],
            hints=before.compaction.hints,
        ),
        extra=extra,
    )
    made = write_block(parent, table, joined(sets), meta)
    _LOG.info(
        "block %s: %d series dropped and %d downsampled of %d, by storage.tsdb.retention.rules",
        before.ulid,
        int(drop.sum()),
        int(thin.sum()),
        len(ids),
    )
    return made


def _rule_of(block: Block, ids: Int64s, chosen: Sequence[Action]) -> Int64s:
    """Which of the actions decides on each series."""
    which = np.full(len(ids), len(chosen) - 1, np.int64)
    for i in range(len(chosen) - 2, -1, -1):  # the first that matches is written last
        which[np.isin(ids, matching_rows(block.index, chosen[i].rule.matchers))] = i
    return which


def _picked(chunks: ChunkSet, loose: LooseSamples, number: Int64s) -> tuple[ChunkSet, LooseSamples]:
    """The series whose number is not -1, by that number."""
    mine = subset(chunks, number[chunks.series] >= 0)
    inside = number[loose.series] >= 0
    return replace(mine, series=number[mine.series]), LooseSamples(
        number[loose.series[inside]],
        loose.timestamps_ms[inside],
        loose.values[inside],
        None if loose.histograms is None else loose.histograms[inside],
    )


def _moved(
    chunks: ChunkSet, loose: LooseSamples, keep: npt.NDArray[np.bool_], rows: Int64s, count: int
) -> ChunkSet:
    """The chunks of the series to be kept, as they are."""
    return disentangled(*_picked(chunks, loose, np.where(keep, rows, -1)), count)


def _thinned_sets(
    chunks: ChunkSet, loose: LooseSamples, series: Int64s, rows: Int64s, table: SeriesTable, stage: Downsample
) -> list[ChunkSet]:
    """New chunks of some series, some millions of samples at a time."""
    samples = np.bincount(chunks.series, count_samples(chunks), len(rows))[series]
    group = np.cumsum(samples) // RETENTION_SAMPLES_AT_ONCE
    sets = []
    for part in np.split(series, np.flatnonzero(np.diff(group)) + 1):
        number = np.full(len(rows), -1, np.int64)
        number[part] = np.arange(len(part))
        mine, rest = _picked(chunks, loose, number)
        names = [labels.get(METRIC_NAME) for labels in table.labels(rows[part])]
        counters = np.array([name.endswith(_COUNTER_SUFFIXES) for name in names], np.int64)
        columns = decode(mine, len(part), -_ALL, _ALL, rest)
        sets.append(rechunked(thinned(columns, counters, stage), rows[part]))
    return sets
