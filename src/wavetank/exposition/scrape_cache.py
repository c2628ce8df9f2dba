"""The fast path for a target that is scraped again and again.

Stands for ``scrapeCache`` of ``scrape/scrape.go``, and goes further: the body is read in one pass of a
kernel. A target lists its series in the same order each time, so the line that followed the last one
before is tried first, by comparing its bytes; failing that, the bytes of the series are hashed and looked up
in this target's table (``line_table``). Only lines never seen before reach Python, once. What the kernel does
not know for certain — exemplars, quoted names, anything malformed — sends the whole body to ``parse``, so
that results and error texts are the same either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.exposition.decimal_kernel import read_float
from wavetank.exposition.fresh_series import FreshSeries, type_at
from wavetank.exposition.line_table import (
    BYTES,
    ENTRIES,
    LINE_BEGIN,
    LINE_SIZE,
    REBUILT,
    LineTable,
    entry_of,
    is_next,
)
from wavetank.exposition.numbers import parse_float
from wavetank.exposition.parser import format_of
from wavetank.exposition.parser import parse as parse_whole
from wavetank.exposition.samples import Metadata, ScrapedExemplar, ScrapedHistogram, ScrapedSamples
from wavetank.exposition.text import parse_text
from wavetank.jit import kernel
from wavetank.model.labels import Labels

__all__ = ["Scrape", "ScrapeCache"]

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Word = Any

_WITH_CREATED: Final = ("counter", "histogram", "summary")
_DONE, _GROW, _IRREGULAR = 0, 1, 2
# Of the counters; those from ENTRIES on are the table's
_SAMPLES, _NEW, _META_HASH, _POSITION, _TYPE_LINE, _DOUBTFUL, _END_SEEN = range(2, 9)
_SCRAPES_IN_ONE_ORDER: Final = 50  # at least, before entries are arranged as bodies list them now


@dataclass(slots=True)
class Scrape:
    """One scraped body in columns.

    timestamps_ms  int64[n]
    values         float64[n]
    explicit       bool[n]: the body gave the timestamp
    entries        int64[n]: the cache's own numbers
    new            ``(index, labels)`` of samples whose series was never seen
    metadata       of all families if it changed since the last scrape, else None
    start_timestamps_ms   int64[n] if the format has them, else None
    """

    cache: ScrapeCache
    timestamps_ms: Int64s
    values: Float64s
    explicit: npt.NDArray[np.bool_]
    entries: Int64s
    new: Sequence[tuple[int, Labels]]
    metadata: dict[str, Metadata] | None = None
    exemplars: list[ScrapedExemplar] = field(default_factory=list)
    histograms: list[ScrapedHistogram] = field(default_factory=list)
    start_timestamps_ms: Int64s | None = None

    @property
    def new_samples(self) -> Int64s:
        """int64[k]: the samples of ``new``."""
        if isinstance(self.new, FreshSeries):
            return self.new.samples
        return np.array([index for index, _ in self.new], np.int64)

    @property
    def refs(self) -> Int64s:
        """int64[n]: what each series is bound to; 0 was bound as dropped, -1 is new and not bound yet.

        Valid until the cache parses the next body.
        """
        return self.cache.refs_of(self.entries)


@kernel(
    "int64(uint8[::1], int64, int64, boolean, int64[::1], int32[::1], uint32[::1], uint16[::1], uint16[::1],"
    " uint32[::1], uint8[::1], uint8[::1], int32[::1], int64[::1], int64[::1], float64[::1], boolean[::1],"
    " int64[:, ::1], int64[:, ::1])"
)
def _scan(
    data: Bytes,
    size: Word,
    default_ms: Word,
    openmetrics: Word,
    control: Int64s,
    slots: npt.NDArray[np.int32],
    hashes: npt.NDArray[np.uint32],
    heads: npt.NDArray[np.uint16],
    tails: npt.NDArray[np.uint16],
    ends: npt.NDArray[np.uint32],
    middles: Bytes,
    scratch: Bytes,
    follows: npt.NDArray[np.int32],
    entries: Int64s,
    times: Int64s,
    values: Float64s,
    explicit: npt.NDArray[np.bool_],
    new: npt.NDArray[np.int64],
    doubtful: npt.NDArray[np.int64],
) -> Word:
    """Read lines from ``control[_POSITION]`` on. ``data[size]`` must be a newline.

    control: from 2 on, samples, new series, hash of the comment lines, position, start of the last TYPE line,
    doubtful numbers, whether OpenMetrics' end was seen; from 9 on, the table's. Returns done, or that tables
    must grow, or that the body is irregular.
    """
    bits = values.view(np.uint64)
    at = control[5]
    previous = np.int64(0) if control[2] == 0 else entries[control[2] - 1] + 1
    prime = np.uint64(0x100000001B3)
    while at < size:
        line = at
        c = data[at]
        if c == 10 and not openmetrics:
            at += 1
            continue
        if c == 35:  # comment
            h = np.uint64(control[4])
            if at + 6 < size and data[at + 2] == 84 and data[at + 3] == 89:
                control[6] = at
            if openmetrics and at + 4 < size and data[at + 2] == 69 and data[at + 3] == 79:
                at += 5
                if at < size and data[at] == 10:
                    at += 1
                control[5] = at
                control[7 + 1] = 1  # the end was seen
                return 0 if at == size else 2
            while data[at] != 10:
                h = (h ^ np.uint64(data[at])) * prime
                at += 1
            control[4] = np.int64(h)
            at += 1
            control[5] = at
            continue
        if control[2] >= len(entries) or control[3] >= len(new) or control[7] >= len(doubtful):
            return 1
        # The line that came after the last one before: the same bytes, and then a blank?
        entry = np.int64(follows[previous]) - 1
        length: Word = np.int64(0)
        h = np.uint64(0xCBF29CE484222325)
        if entry >= 0:
            length = is_next(
                entry, previous - 1, data, size, line, control, heads, tails, ends, middles, scratch
            )
        hit = length > 0
        if hit:
            at = line + length
        else:
            if not (97 <= c <= 122 or 65 <= c <= 90 or c == 95 or c == 58):
                return 2
            while 97 <= c <= 122 or 65 <= c <= 90 or 48 <= c <= 57 or c == 95 or c == 58:
                h = (h ^ np.uint64(c)) * prime
                at += 1
                c = data[at]
            if c == 123:
                quoted = False
                while True:
                    if c == 10:
                        return 2
                    h = (h ^ np.uint64(c)) * prime
                    at += 1
                    if quoted:
                        if c == 92:
                            if data[at] == 10:
                                return 2
                            h = (h ^ np.uint64(data[at])) * prime
                            at += 1
                        elif c == 34:
                            quoted = False
                    elif c == 34:
                        quoted = True
                    elif c == 125:
                        break
                    c = data[at]
        end = at
        if data[at] != 32:
            return 2
        at += 1
        if not openmetrics:
            while data[at] == 32:
                at += 1
        begin = at
        while data[at] != 32 and data[at] != 10 and data[at] != 9:
            at += 1
        if at == begin:
            return 2
        sample = control[2]
        outcome = read_float(data, begin, at, bits, sample)
        if outcome == 2:
            return 2
        value_end = at
        stamp = default_ms
        given = False
        if data[at] == 32 and 48 <= data[at + 1] <= 57:
            at += 1
            stamp = np.int64(0)
            begin_stamp = at
            divisor = 1.0
            while 48 <= data[at] <= 57 or (openmetrics and data[at] == 46 and divisor == 1.0):
                if data[at] == 46:
                    divisor = 10.0
                else:
                    stamp = stamp * 10 + np.int64(data[at] - 48)
                    if divisor > 1.0:
                        divisor *= 10.0
                at += 1
            if at - begin_stamp > (15 if openmetrics else 18):
                return 2
            if openmetrics:  # seconds, scaled and cut in floating point as upstream does it
                if divisor > 1.0:
                    divisor /= 10.0
                stamp = np.int64(np.float64(stamp) / divisor * 1000.0)
            given = True
        if data[at] != 10:
            return 2
        at += 1
        if not hit:
            entry = entry_of(
                data,
                line,
                end,
                h,
                previous - 1,
                control,
                slots,
                hashes,
                heads,
                tails,
                ends,
                middles,
                scratch,
            )
            if entry == -1:
                return 1
        if entry < -1:
            entry = -2 - entry
            which = control[3]
            new[which, 0] = sample
            new[which, 1] = line
            new[which, 2] = end
            new[which, 3] = control[6]
            control[3] = which + 1
        if outcome == 1:
            which = control[7]
            doubtful[which, 0] = sample
            doubtful[which, 1] = begin
            doubtful[which, 2] = value_end
            doubtful[which, 3] = line
            control[7] = which + 1
        if not hit:
            follows[previous] = entry + 1
        previous = entry + 1
        entries[sample] = entry
        times[sample] = stamp
        explicit[sample] = given
        control[2] = sample + 1
        control[5] = at
        control[14] = line
        control[15] = end - line
    return 0


@kernel("void(int64[::1], boolean[::1], int64, int32[::1])")
def _mark_seen(
    entries: Int64s,
    explicit: npt.NDArray[np.bool_],
    scrape: Word,
    seen: npt.NDArray[np.int32],
) -> None:
    """Note in which scrape each entry was last seen, but not where the sample had its own time."""
    for i in range(len(entries)):
        entry = entries[i]
        if not explicit[i]:
            seen[entry] = scrape


class ScrapeCache:
    """What is known of one target's series. Not thread-safe: a target is scraped by one loop.

    After ``parse``, ``bind`` every sample of ``scrape.new``; then ``vanished`` says which refs were there at
    the scrape before and are not now. ``track_explicit`` includes samples with timestamps of their own.
    """

    def __init__(self, *, track_explicit: bool = False, read_starts: bool = False) -> None:
        """``read_starts`` takes ``_created`` series as start timestamps, which costs the fast path."""
        self._track_explicit = track_explicit
        self._read_starts = read_starts
        self._scrape = 0
        self._samples = 0  # of the last scrape
        self._meta_hash = 0
        self._metadata: dict[str, Metadata] = {}
        self._by_labels: dict[Labels, int] = {}
        self._table = LineTable()
        self._arranged = 0  # at which scrape entries were brought into the order of bodies

    def __len__(self) -> int:
        return len(self._table)

    @property
    def bytes_reserved(self) -> int:
        """Size of the tables, whether or not their pages were ever touched."""
        return self._table.bytes_reserved

    # --- parsing ------------------------------------------------------------------------------------

    def parse(
        self, body: bytes, content_type: str, *, default_timestamp_ms: int, fallback: str | None = None
    ) -> Scrape:
        """Read a body. Raises as ``exposition.parse`` does; the cache then stands as before."""
        self._evict()
        kind = format_of(content_type, fallback)
        scrape = None
        if kind != "protobuf":
            scrape = self._fast(body, default_timestamp_ms, openmetrics=kind == "openmetrics")
        if scrape is None:
            whole = parse_whole(
                body,
                content_type,
                default_timestamp_ms=default_timestamp_ms,
                fallback=fallback,
                read_starts=self._read_starts,
            )
            scrape = self._slow(whole)
        self._scrape += 1
        explicit = np.zeros(len(scrape.explicit), np.bool_) if self._track_explicit else scrape.explicit
        _mark_seen(scrape.entries, explicit, self._scrape, self._table.seen)
        self._samples = len(scrape.entries)
        return scrape

    def _fast(self, body: bytes, default_ms: int, *, openmetrics: bool) -> Scrape | None:
        size = len(body)
        data = np.empty(size + 4, np.uint8)
        data[:size] = np.frombuffer(body, np.uint8)
        data[size:] = 10  # the kernel may look past the end of a line without asking
        if not openmetrics and size and body[-1] != 10:
            size += 1
        table = self._table
        if not len(table):
            table.reserve(body.count(b"\n") + 1)
        columns = _Columns(max(64, len(table) + len(table) // 8))
        control = table.counters
        entries, held = len(table), int(control[BYTES])
        control[:ENTRIES] = 0
        control[_TYPE_LINE] = -1
        control[_META_HASH] = 7
        control[LINE_BEGIN] = control[LINE_SIZE] = control[REBUILT] = 0
        scan: Any = _scan
        while True:
            outcome = scan(
                data,
                size,
                default_ms,
                openmetrics,
                *table.arguments(),
                columns.entries,
                columns.times,
                columns.values,
                columns.explicit,
                columns.new,
                columns.doubtful,
            )
            if outcome != _GROW:
                break
            if not columns.grow(control):
                table.grow()
        if outcome == _IRREGULAR or (openmetrics and not control[_END_SEEN]):
            table.forget_after(entries, held)
            return None
        try:
            scrape = self._finished(data, body, columns, openmetrics)
        except ValueError:
            table.forget_after(entries, held)
            return None
        if len(table) != entries:
            table.trim()
        return scrape

    def _finished(self, data: Bytes, body: bytes, columns: _Columns, openmetrics: bool) -> Scrape:
        control = self._table.counters
        n = int(control[_SAMPLES])
        values = columns.values[:n]
        for sample, begin, end, _ in columns.doubtful[: control[_DOUBTFUL]].tolist():
            values[sample] = parse_float(body[begin:end])
        spans = columns.new[: control[_NEW]]
        for _, begin, end, type_line in spans.tolist() if openmetrics and self._read_starts else ():
            if b"_created" in body[begin:end] and type_at(body, type_line) in _WITH_CREATED:
                raise ValueError("start timestamps are for the whole parser")
        new = FreshSeries(data, body, spans, openmetrics=openmetrics) if len(spans) else []
        metadata = None
        if control[_META_HASH] != self._meta_hash:
            metadata = self._metadata = _metadata_of(body, openmetrics)
            self._meta_hash = int(control[_META_HASH])
        return Scrape(
            self,
            columns.times[:n],
            values,
            columns.explicit[:n],
            columns.entries[:n],
            new,
            metadata,
        )

    def _slow(self, whole: ScrapedSamples) -> Scrape:
        """Entries for a body that was read by the general parser: known by their labels."""
        entries = np.empty(len(whole), np.int64)
        new = []
        for i, labels in enumerate(whole.labels):
            entry = self._by_labels.get(labels)
            if entry is None:
                entry = self._by_labels[labels] = self._table.add_unkeyed()
                new.append((i, labels))
            entries[i] = entry
        metadata = None if whole.metadata == self._metadata else whole.metadata
        self._metadata = whole.metadata
        self._meta_hash = 0
        return Scrape(
            self,
            whole.timestamps_ms,
            whole.values,
            whole.explicit,
            entries,
            new,
            metadata,
            whole.exemplars,
            whole.histograms,
            whole.start_timestamps_ms,
        )

    # --- binding and staleness ----------------------------------------------------------------------

    def bind(self, scrape: Scrape, index: int, ref: int) -> None:
        """Tell what a new sample's series is stored as; 0 drops it, now and in later scrapes."""
        self._table.refs[scrape.entries[index]] = ref

    def bind_all(self, scrape: Scrape, samples: Int64s, refs: Int64s) -> None:
        """As ``bind``, for many samples."""
        self._table.refs[scrape.entries[samples]] = refs

    def refs_of(self, entries: Int64s) -> Int64s:
        """What entries are bound to."""
        return self._table.refs[entries]

    def vanished(self) -> Int64s:
        """Refs seen at the scrape before the last and not at the last; each is reported once."""
        if self._scrape < 2:
            return np.empty(0, np.int64)
        before = self._refs_seen_at(self._scrape - 1)
        if not len(before):  # almost always: whatever was seen again has moved on to this scrape
            return before
        # A series under two spellings is still there if either was seen.
        return np.unique(before[~np.isin(before, self._refs_seen_at(self._scrape))])

    def all_refs(self) -> Int64s:
        """Refs seen at the last scrape: what goes stale when the target does."""
        return np.unique(self._refs_seen_at(self._scrape))

    def last_refs(self) -> Int64s:
        """Refs seen at the last scrape or the one before it."""
        return np.unique(
            np.concatenate((self._refs_seen_at(self._scrape), self._refs_seen_at(self._scrape - 1)))
        )

    def missed(self) -> Int64s:
        """Count a failed scrape: every series of the scrape before goes stale; returns their refs."""
        self._scrape += 1
        return self.vanished()

    def _refs_seen_at(self, scrape: int) -> Int64s:
        table = self._table
        refs: Int64s = table.refs[: len(table)][table.seen[: len(table)] == scrape]
        return refs[refs > 0]

    def _evict(self) -> None:
        """Forget entries not seen in the last two scrapes, once they are the greater part; and follow a
        target that lists its series in another order than it did."""
        n = len(self)
        if n < 256:
            return
        keep = self._table.seen[:n] >= self._scrape - 1
        many = n > 2 * self._samples and np.count_nonzero(keep) * 2 <= n
        moved = (
            self._table.counters[REBUILT] * 4 > self._samples
            and self._scrape - self._arranged >= _SCRAPES_IN_ONE_ORDER
        )
        if not many and not moved:
            return
        self._arranged = self._scrape
        places = self._table.arrange(keep)
        if self._by_labels:
            new = ((labels, int(places[entry])) for labels, entry in self._by_labels.items())
            self._by_labels = {labels: entry for labels, entry in new if entry >= 0}


class _Columns:
    """Room for the samples of one body."""

    def __init__(self, lines: int) -> None:
        self.entries = np.empty(lines, np.int64)
        self.times = np.empty(lines, np.int64)
        self.values = np.empty(lines, np.float64)
        self.explicit = np.empty(lines, np.bool_)
        self.new = np.empty((64, 4), np.int64)
        self.doubtful = np.empty((64, 4), np.int64)

    def grow(self, control: Int64s) -> bool:
        """Double what is full; returns whether anything was."""
        grown = False
        full = {
            "entries": control[_SAMPLES],
            "times": control[_SAMPLES],
            "values": control[_SAMPLES],
            "explicit": control[_SAMPLES],
            "new": control[_NEW],
            "doubtful": control[_DOUBTFUL],
        }
        for name, used in full.items():
            old = getattr(self, name)
            if used >= len(old):
                new = np.empty((len(old) * 2, *old.shape[1:]), old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
                grown = True
        return grown


def _metadata_of(body: bytes, openmetrics: bool) -> dict[str, Metadata]:
    """From the comment lines alone. Raises ValueError where the whole parser would have a say."""
    from wavetank.exposition.text import parse_openmetrics

    lines = b"".join(line + b"\n" for line in body.split(b"\n") if line[:1] == b"#")
    return (parse_openmetrics if openmetrics else parse_text)(lines, 0).metadata
