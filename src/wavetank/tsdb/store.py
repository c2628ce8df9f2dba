"""The parts of a database in memory and its logs, and how a commit goes through them.

Everything here happens under the head's lock. Order of a commit: new series to the log, samples to the log,
samples to the head; what the head finds out of order goes to the out-of-order log and store. A sample is
acknowledged when the log's bytes are with the operating system.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.clock import pause
from wavetank.limits import SERIES_MADE_AT_ONCE
from wavetank.model.histogram import STALE_HISTOGRAM
from wavetank.model.labels import Labels
from wavetank.model.value import STALE_NAN_BITS
from wavetank.tsdb import head_append
from wavetank.tsdb.appender import AppendCounts, Gathered
from wavetank.tsdb.chunk_snapshot import Snapshot, save_snapshot, usable_snapshot
from wavetank.tsdb.chunks_head import HeadChunkFiles
from wavetank.tsdb.created_zeros import with_float_zeros, with_zeros
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.exemplars import Exemplar, ExemplarRing
from wavetank.tsdb.head import Head
from wavetank.tsdb.head_append import HAS_SAMPLE, LAST_IS_HISTOGRAM, LAST_T, PACKED
from wavetank.tsdb.head_histograms import HeadHistograms
from wavetank.tsdb.head_source import HeadSource
from wavetank.tsdb.late_histograms import LateHistograms
from wavetank.tsdb.options import Options
from wavetank.tsdb.out_of_order import OutOfOrderSamples
from wavetank.tsdb.replay import LogFiles, ReplayReport, Samples, add_series, read_series, replay
from wavetank.tsdb.restore import ReplayStatus, Restore
from wavetank.tsdb.series_table import key_of
from wavetank.tsdb.start_times import StartTimes
from wavetank.tsdb.tombstones import Tombstones
from wavetank.tsdb.wal import rare_records as rare
from wavetank.tsdb.wal import records
from wavetank.tsdb.wal.log import Log, segments
from wavetank.tsdb.wal.start_records import encode_samples_v2

__all__ = ["Store"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_LOG = logging.getLogger(__name__)
_SAMPLES_AT_ONCE: Final = 200_000  # placed in the head, in replay, between two turns for others
_SAMPLES_PER_RECORD: Final = 8_192  # what is encoded, compressed and framed stays in the core's own cache
_SERIES_PER_RECORD: Final = 2_000
_TURN_SECONDS: Final = 0.0002  # how long replay leaves the head to others, between two pieces


class Store:
    """Head, histograms, out-of-order samples, exemplars, metadata, tombstones, and both logs."""

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root
        self.options = options
        self.head = Head(options.min_block_ms, HeadChunkFiles(root / "chunks_head"))
        self.histograms = HeadHistograms(options.min_block_ms)
        self.out_of_order = OutOfOrderSamples()
        self.late_histograms = LateHistograms()
        self.starts = StartTimes()
        self.tombstones = Tombstones()
        self.exemplars = ExemplarRing(options.exemplars_max)
        self.metadata: dict[int, rare.MetadataRecord] = {}
        self.source = HeadSource(
            self.head,
            self.histograms,
            self.out_of_order,
            self.late_histograms,
            self.tombstones,
            self.starts,
        )
        self.counts = AppendCounts()
        self.reports: list[ReplayReport] = []
        self.restore: Restore | None = None
        self.replay_status = ReplayStatus()
        self._files: tuple[LogFiles, LogFiles] | None = None
        self._said_full = False
        self._said_stuck = False
        self._new_refs: list[int] = []
        self._wal: Log | None = None
        self._wbl: Log | None = None

    # --- logs ---------------------------------------------------------------------------------------

    def begin_restore(self, min_valid_ms: int) -> None:
        """Look at what there is and open the log; samples before ``min_valid_ms`` are in blocks already."""
        self.head.min_valid_ms = min_valid_ms
        self._files = (LogFiles.of(self.root / "wal"), LogFiles.of(self.root / "wbl"))
        self.restore = Restore()
        self.source.pending = self.restore.pending
        self.source.pending_histograms = self.restore.histograms
        numbers = self._files[0].numbers
        if numbers:
            self.replay_status = ReplayStatus(first_segment=numbers[0], last_segment=numbers[-1])

    def run_restore(self, progress: Callable[[str, float], None], elapsed: Callable[[], float]) -> None:
        """Read both logs into the head, then place what came meanwhile. Runs in any one thread."""
        restore, files = self.restore, self._files
        assert restore is not None and files is not None

        def note(phase: str, fraction: float) -> None:
            self.replay_status = replace(
                self.replay_status, phase=phase, fraction=fraction, seconds=elapsed()
            )
            progress(phase, fraction)

        try:
            reports = [ReplayReport(), ReplayReport()]
            snapshot = usable_snapshot(self) if self.options.snapshot_on_close else None
            if snapshot is not None:
                files = (LogFiles.of(self.root / "wal", snapshot.reaches), files[1])
                for refs, keys, offsets in snapshot.series:
                    add_series(self.head, refs, keys, offsets, reports[0])
            for part, report in zip(files, reports, strict=True):
                read_series(self.head, part, report)
            self._open_wal()
            restore.series_known.set()
            note("head_chunks", 0.0)
            self.head.load_files()
            if snapshot is not None:
                self._take_snapshot(snapshot)
            sinks = (self._replay_samples, self._replay_out_of_order)
            placed = (self._replay_histograms, self._replay_late_histograms)
            phases = zip(("wal", "wbl"), files, reports, sinks, placed, strict=True)
            for name, part, report, sink, histograms in phases:
                replay(
                    part,
                    report,
                    sink=sink,
                    histograms=histograms,
                    other=self._replay_other,
                    progress=partial(note, name),
                    stopped=restore.stop.is_set,
                )
            if not restore.stop.is_set():
                self.reports = reports
                self._end_restore(restore)
                note("done", 1.0)
        except BaseException as error:
            restore.error = error
            raise
        finally:
            restore.series_known.set()
            restore.ended.set()

    def _end_restore(self, restore: Restore) -> None:
        """Place in the head what was committed meanwhile; it is in the log already."""
        with self.head.lock:
            self.counts.appended -= restore.pending.count
            refs, times, values = restore.pending.columns()
            self.counts.add(self._place_floats(refs, times, values, self.starts.exact(refs, times)))
            self.counts.appended -= len(restore.histograms)
            self.counts.add(self._place_histograms(list(restore.histograms)))
            for gathered in restore.later:
                self._place_rare(gathered)
            self.source.pending = self.source.pending_histograms = None
            self.restore = None

    def wait_for_series(self) -> Restore | None:
        """Wait until the refs of the log are known; returns the replay that still goes on, if one does."""
        restore = self.restore
        if restore is not None:
            restore.series_known.wait()
            if restore.error is not None:
                raise CorruptionError(f"replay failed: {restore.error}", at=self.root)
        return restore

    def _open_wal(self) -> None:
        """Start a new segment; the out-of-order log waits for its first sample."""
        self._wal = Log(self.root / "wal", self.options.wal_segment_bytes, self.options.wal_compression)

    @property
    def wal(self) -> Log:
        assert self._wal is not None, "the logs are not open"
        return self._wal

    def wbl(self) -> Log:
        """The out-of-order log, made when it is first needed."""
        if self._wbl is None:
            self._wbl = Log(self.root / "wbl", self.options.wal_segment_bytes, self.options.wal_compression)
        return self._wbl

    def restart_wbl(self) -> None:
        """Some of its samples are in blocks: log the others again, then delete what was there."""
        old = segments(self.root / "wbl")
        if self._wbl is not None:
            self._wbl.close()
            self._wbl = None
        refs, times, values = self.out_of_order.columns()
        if len(refs):
            self._log_floats(self.wbl(), refs, times, values, self.starts.exact(refs, times))
        if len(self.late_histograms):
            self._log_late_histograms(list(self.late_histograms))
        for _, path in old:
            path.unlink()
        if self._wbl is None and (self.root / "wbl").is_dir():
            (self.root / "wbl").rmdir()  # upstream cannot open an empty one

    def close(self) -> None:
        self._log_series()
        snapshot = self.options.snapshot_on_close and self._wal is not None and self.restore is None
        segment, offset = self.wal.end_page() if snapshot else (0, 0)
        for log in (self._wal, self._wbl):
            if log is not None:
                log.close()
        self._wal = self._wbl = None
        if snapshot:
            save_snapshot(self, segment, offset)
        if self.head.files is not None:
            self.head.files.close()

    # --- replay -------------------------------------------------------------------------------------

    def _replay_samples(self, refs: Int64s, times: Int64s, values: Float64s, starts: Int64s | None) -> None:
        late = times < self.head.min_valid_ms
        if late.any():
            refs, times, values = refs[~late], times[~late], values[~late]
            starts = None if starts is None else starts[~late]
        for first in range(0, len(refs), _SAMPLES_AT_ONCE):
            part = slice(first, first + _SAMPLES_AT_ONCE)
            with self.head.lock:
                self.head.append(refs[part], times[part], values[part])
                self._note_starts(refs[part], times[part], None if starts is None else starts[part])
                self._spill()
            # A lock is not fair: without a pause this thread would take it again before any other wakes.
            pause(_TURN_SECONDS)

    def _note_starts(self, refs: Int64s, times: Int64s, starts: Int64s | None) -> None:
        """Remember the start timestamps of samples that were appended to the head."""
        if starts is None and not self.starts:
            return
        known = self.head.known(refs)
        own = self.head.ref_of_row[self.head.rows_of(refs[known])]
        self.starts.note(own, times[known], None if starts is None else starts[known])

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        for columns in snapshot.floats:
            self._replay_samples(*columns)
        self._replay_histograms(snapshot.histograms)
        with self.head.lock:
            for ref, ranges in snapshot.tombstones:
                for low, high in ranges:
                    self.tombstones.add(ref, low, high)
            self._add_exemplars(snapshot.exemplars)

    def _replay_out_of_order(
        self, refs: Int64s, times: Int64s, values: Float64s, starts: Int64s | None
    ) -> None:
        with self.head.lock:
            known = self.head.known(refs)
            if not known.all():
                refs, times, values = refs[known], times[known], values[known]
                starts = None if starts is None else starts[known]
            # an alias found in the log stands for the ref the series has now
            refs = self.head.ref_of_row[self.head.rows_of(refs)]
            self.out_of_order.add(refs, times, values)
            self.starts.note_late(refs, times, starts)

    def _replay_other(self, kind: int, record: bytes) -> None:
        with self.head.lock:
            self._replay_rare(kind, record)

    def _replay_histograms(self, samples: list[rare.HistogramRecord]) -> None:
        with self.head.lock:
            for sample in samples:
                if sample.timestamp_ms >= self.head.min_valid_ms:
                    self._append_histogram(sample)

    def _replay_late_histograms(self, samples: list[rare.HistogramRecord]) -> None:
        with self.head.lock:
            for sample in samples:
                row = self.head.row(sample.ref)
                if row >= 0:
                    self.late_histograms.add(sample._replace(ref=int(self.head.ref_of_row[row])))

    def _add_exemplars(self, found: Iterable[rare.ExemplarRecord]) -> None:
        for item in found:
            row = self.head.row(item.ref)
            if row >= 0:
                (series,) = self.head.table.labels([row])
                self.exemplars.add(Exemplar(series, item.labels, item.value, item.timestamp_ms))

    def _replay_rare(self, kind: int, record: bytes) -> None:
        if kind == records.TOMBSTONES:
            for stone in rare.decode_tombstones(record):
                self.tombstones.add(*stone)
        elif kind == records.EXEMPLARS:
            self._add_exemplars(rare.decode_exemplars(record))
        elif kind == records.METADATA:
            self.metadata.update({m.ref: m for m in rare.decode_metadata(record)})

    # --- series -------------------------------------------------------------------------------------

    def series_ref(self, labels: Labels) -> int:
        """Get or create; 0 where the soft cap on series allows no more."""
        self.wait_for_series()
        key = key_of(labels)
        flat = np.frombuffer(bytearray(key), np.uint8)
        offsets = np.array([0, len(key)], np.int64)
        with self.head.lock:
            cap = self.options.series_max
            if cap and len(self.head) >= cap:
                row = int(self.head.table.find(flat, offsets)[0])
                if row < 0:
                    self._drop_series()
                    return 0
                return int(self.head.ref_of_row[row])
            refs, fresh = self.head.add_series(flat, offsets)
            if len(fresh):
                self._said_full = False
                self._new_refs.append(int(refs[0]))
        return int(refs[0])

    def series_refs(self, keys: Bytes, offsets: Int64s) -> Int64s:
        """Get or create many by their series keys; 0 where a key is malformed or the cap is reached.

        Some thousands at a time: scrapes and queries get the head in between.
        """
        self.wait_for_series()
        refs = np.zeros(len(offsets) - 1, np.int64)
        for first in range(0, len(refs), SERIES_MADE_AT_ONCE):
            if first:
                pause(_TURN_SECONDS)  # a lock is not fair: this thread would have it again before any other
            part = offsets[first : first + SERIES_MADE_AT_ONCE + 1]
            if part[-1] > part[0]:
                some = self._some_refs(keys[part[0] : part[-1]], part - part[0])
                refs[first : first + SERIES_MADE_AT_ONCE] = some
        return refs

    def _some_refs(self, keys: Bytes, offsets: Int64s) -> Int64s:
        with self.head.lock:
            room = self.options.series_max - len(self.head)
            if self.options.series_max and room < len(offsets) - 1:
                return self._capped_refs(keys, offsets, max(0, room))
            refs, fresh = self.head.add_series(keys, offsets)
            self._new_refs += refs[fresh].tolist()
            if SERIES_MADE_AT_ONCE <= len(self._new_refs) < 2 * SERIES_MADE_AT_ONCE:
                with contextlib.suppress(OSError):  # the commit that brings their samples says so
                    self._log_series()  # now, lest another's commit had to log a million
        return refs

    def _capped_refs(self, keys: Bytes, offsets: Int64s, room: int) -> Int64s:
        """Those there are, and as many new ones as the cap leaves room for."""
        head = self.head
        rows = head.table.find(keys, offsets)
        refs = np.where(rows >= 0, head.ref_of_row[np.maximum(rows, 0)], 0)
        missing = np.flatnonzero(rows < 0)
        raw, bounds = keys.tobytes(), offsets.tolist()
        for i in missing[:room].tolist():
            refs[i] = self._capped(raw[bounds[i] : bounds[i + 1]])
        if len(missing) > room:
            self._drop_series(len(missing) - room)
        return refs

    def _capped(self, key: bytes) -> int:
        flat = np.frombuffer(bytearray(key), np.uint8)
        offsets = np.array([0, len(key)], np.int64)
        if len(self.head) < self.options.series_max:
            refs, fresh = self.head.add_series(flat, offsets)
            if len(fresh):
                self._new_refs.append(int(refs[0]))
            return int(refs[0])
        row = int(self.head.table.find(flat, offsets)[0])
        if row < 0:
            self._drop_series()
            return 0
        return int(self.head.ref_of_row[row])

    def _drop_series(self, count: int = 1) -> None:
        """Count series beyond the cap, and say so the first time since the head was below it."""
        self.counts.series_dropped += count
        if not self._said_full:
            self._said_full = True
            _LOG.warning(
                "the head holds %d series, its soft cap: samples of further new series are dropped",
                len(self.head),
            )

    def _log_series(self) -> None:
        if self._new_refs and self._wal is not None:
            refs = np.array(self._new_refs, np.int64)
            rows = self.head.rows_of(refs)
            refs, rows = refs[rows >= 0], rows[rows >= 0]
            for first in range(0, len(refs), _SERIES_PER_RECORD):
                part = slice(first, first + _SERIES_PER_RECORD)
                keys, offsets = self.head.table.keys(rows[part])
                self._wal.log([records.encode_series(refs[part], keys, offsets)])
            # Only now: a log that could not be written must get them with the next commit.
            self._new_refs = []

    # --- commit -------------------------------------------------------------------------------------

    def commit(self, gathered: Gathered) -> AppendCounts:
        restore = self.wait_for_series()
        if restore is not None:
            restore.wait_for_room()
        total = AppendCounts()
        with self.head.lock:
            self._log_series()
            for batch in gathered.batches:
                rest = batch if not self.histograms else self._without_markers(batch, gathered)
                total.add(self._commit_floats(*rest))
            if gathered.histograms:
                total.add(self._commit_histograms(gathered.histograms))
            self._commit_rare(gathered)
            if self.restore is not None and (gathered.exemplars or gathered.metadata):
                self.restore.later.append(gathered)
            self.counts.add(total)
        return total

    def _without_markers(self, batch: Samples, gathered: Gathered) -> Samples:
        """Staleness markers of series of histograms become histograms, which go on in the same chunk."""
        refs, times, values, starts = batch
        chosen = (values.view(np.uint64) == np.uint64(STALE_NAN_BITS)) & self.head.known(refs)
        if chosen.any():
            packed = self.head.state[self.head.rows_of(refs), PACKED]
            chosen &= (packed & LAST_IS_HISTOGRAM) != 0
        if not chosen.any():
            return batch
        for ref, t in zip(refs[chosen].tolist(), times[chosen].tolist(), strict=True):
            gathered.histograms.append(rare.HistogramRecord(ref, t, STALE_HISTOGRAM))
        return refs[~chosen], times[~chosen], values[~chosen], None if starts is None else starts[~chosen]

    def _commit_floats(
        self, refs: Int64s, times: Int64s, values: Float64s, starts: Int64s | None
    ) -> AppendCounts:
        unknown = 0
        if not self.head.all_known(refs):
            known = self.head.known(refs)
            unknown = int(len(refs) - np.count_nonzero(known))
            refs, times, values = refs[known], times[known], values[known]
            starts = None if starts is None else starts[known]
        if not len(refs):
            return AppendCounts(unknown_series=unknown)
        given = len(refs)
        if starts is not None and self.options.created_zeros and self.restore is None:
            refs, times, values, starts = with_float_zeros(self.head, refs, times, values, starts)
        if not self.options.start_storage:
            starts = None
        self._log_floats(self.wal, refs, times, values, starts)
        if self.restore is not None:
            self.restore.pending.add(refs, times, values)
            self.starts.note_late(refs, times, starts)
            return AppendCounts(appended=len(refs), unknown_series=unknown)
        counts = self._place_floats(refs, times, values, starts)
        counts.appended -= len(refs) - given  # nobody sent the zeros
        counts.unknown_series += unknown
        return counts

    def _log_floats(
        self, log: Log, refs: Int64s, times: Int64s, values: Float64s, starts: Int64s | None
    ) -> None:
        """With start timestamps where they are kept: their records are another kind."""
        keep_starts = self.options.start_storage
        if keep_starts and starts is None:
            starts = np.zeros(len(refs), np.int64)

        def encoded() -> Iterator[Bytes]:
            for first in range(0, len(refs), _SAMPLES_PER_RECORD):
                part = slice(first, first + _SAMPLES_PER_RECORD)
                if keep_starts and starts is not None:
                    yield encode_samples_v2(refs[part], times[part], values[part], starts[part])
                else:
                    yield records.encode_samples(refs[part], times[part], values[part])

        log.log(encoded())

    def _place_floats(
        self, refs: Int64s, times: Int64s, values: Float64s, starts: Int64s | None
    ) -> AppendCounts:
        """Samples that are in the log already, into the head; late ones to the out-of-order log and store."""
        outcomes = self.head.append(refs, times, values)
        self._note_starts(refs, times, starts)
        self._spill()
        if not outcomes.any():
            return AppendCounts(appended=len(outcomes))
        by = np.bincount(outcomes, minlength=8)
        counts = AppendCounts(
            appended=int(by[head_append.APPENDED]),
            repeated=int(by[head_append.REPEATED]),
            duplicate=int(by[head_append.DUPLICATE]),
            unknown_series=int(by[head_append.UNKNOWN_SERIES]),
        )
        if by[head_append.OUT_OF_ORDER] or by[head_append.OUT_OF_BOUNDS]:
            late = (outcomes == head_append.OUT_OF_ORDER) | (outcomes == head_append.OUT_OF_BOUNDS)
            begins = None if starts is None else starts[late]
            stored = self._commit_late(refs[late], times[late], values[late], begins)
            counts.backfilled = stored
            counts.out_of_order = int(np.count_nonzero(late)) - stored
        return counts

    def _spill(self) -> None:
        """Move full chunks to their file; where that fails they stay in memory, and it is tried again."""
        try:
            self.head.spill(self.options.head_chunks_in_memory)
        except OSError as error:
            if not self._said_stuck:
                _LOG.error("head chunks stay in memory, they cannot be written: %s", error)
            self._said_stuck = True
        else:
            self._said_stuck = False

    def _commit_late(self, refs: Int64s, times: Int64s, values: Float64s, starts: Int64s | None) -> int:
        """Store samples older than the newest of their series; returns how many the window allows."""
        window = self.options.out_of_order_window_ms
        allowed = np.ones(len(refs), np.bool_)
        if window is not None:
            allowed = times >= self.head.maxt_ms - window
        # A staleness marker that comes late says nothing: the series went on since.
        allowed &= values.view(np.uint64) != np.uint64(STALE_NAN_BITS)
        if not allowed.all():
            refs, times, values = refs[allowed], times[allowed], values[allowed]
            starts = None if starts is None else starts[allowed]
        if len(refs):
            self._log_floats(self.wbl(), refs, times, values, starts)
            self.out_of_order.add(refs, times, values)
            self.starts.note_late(refs, times, starts)
        return len(refs)

    def _commit_histograms(self, samples: list[rare.HistogramRecord]) -> AppendCounts:
        counts = AppendCounts()
        known = [s for s in samples if self.head.row(s.ref) >= 0]
        counts.unknown_series = len(samples) - len(known)
        known = self._of_one_kind(known)
        given = len(known)
        if self.options.created_zeros and self.restore is None:
            known = with_zeros(self.head, known)
        if not self.options.start_storage:
            known = [s._replace(start_ms=0) if s.start_ms else s for s in known]
        if known:
            self._log_histograms(self.wal, known)
        if self.restore is None:
            counts.add(self._place_histograms(known))
            counts.appended -= len(known) - given  # nobody sent the zeros
        else:
            added = [sample for sample in known if self.restore.histograms.add(sample) is None]
            counts.appended += len(added)
            counts.repeated += len(known) - len(added)
        return counts

    def _of_one_kind(self, samples: list[rare.HistogramRecord]) -> list[rare.HistogramRecord]:
        """Whole counts and staleness markers as floats where their series has floats already."""
        floats: dict[int, bool] = {}
        out = []
        for sample in samples:
            before = floats.get(sample.ref)
            if before is None:
                before = self.histograms.holds_floats(int(self.head.ref_of_row[self.head.row(sample.ref)]))
            floats[sample.ref] = before or sample.floats
            out.append(sample if sample.floats or not before else sample._replace(floats=True))
        return out

    def _log_histograms(self, log: Log, samples: list[rare.HistogramRecord]) -> None:
        log.log(rare.encode_histograms_records(samples, with_starts=self.options.start_storage))

    def _place_histograms(self, samples: list[rare.HistogramRecord]) -> AppendCounts:
        counts = AppendCounts()
        for sample in samples:
            outcome = self._append_histogram(sample)
            if outcome == "out_of_order":
                outcome = self._commit_late_histogram(sample)
            setattr(counts, outcome, getattr(counts, outcome) + 1)
        return counts

    def _append_histogram(self, sample: rare.HistogramRecord) -> str:
        row = self.head.row(sample.ref)
        if row < 0:
            return "unknown_series"
        state = self.head.state[row]
        ref, time = int(self.head.ref_of_row[row]), sample.timestamp_ms
        if state[PACKED] & HAS_SAMPLE and time <= state[LAST_T]:
            last = self.histograms.last(ref)
            if time < state[LAST_T]:
                return "out_of_order"
            same = last is not None and last[0] == time and last[1].equals(sample.histogram)
            return "repeated" if same else "duplicate"
        if not state[PACKED] & HAS_SAMPLE and time < self.head.min_valid_ms:
            return "out_of_order"
        if not state[PACKED] & LAST_IS_HISTOGRAM and ref in self.histograms:
            self.histograms.end(ref)  # floats came since
        self.head.note_histogram(row, time)
        self.histograms.append(ref, time, sample.histogram)
        if sample.start_ms or self.starts:
            one = np.array([ref], np.int64), np.array([time], np.int64), np.array([sample.start_ms], np.int64)
            self.starts.note(*one)
        return "appended"

    def _commit_late_histogram(self, sample: rare.HistogramRecord) -> str:
        """Store a histogram older than the newest of its series, if the window allows it."""
        window = self.options.out_of_order_window_ms
        too_old = window is not None and sample.timestamp_ms < self.head.maxt_ms - window
        if too_old or sample.histogram.is_stale:
            return "out_of_order"
        row = self.head.row(sample.ref)
        found = self.late_histograms.add(sample._replace(ref=int(self.head.ref_of_row[row])))
        if found is not None:
            return "repeated" if found.histogram.equals(sample.histogram) else "duplicate"
        self._log_late_histograms([sample])
        return "backfilled"

    def _log_late_histograms(self, samples: list[rare.HistogramRecord]) -> None:
        self._log_histograms(self.wbl(), samples)

    def _commit_rare(self, gathered: Gathered) -> None:
        exemplars, metadata = (
            self._place_rare(gathered) if self.restore is None else (gathered.exemplars, gathered.metadata)
        )
        if exemplars:
            self.wal.log(
                [
                    rare.encode_exemplars(
                        [rare.ExemplarRecord(ref, e.timestamp_ms, e.value, e.labels) for ref, e in exemplars]
                    )
                ]
            )
        if metadata:
            self.wal.log([rare.encode_metadata(metadata)])

    def _place_rare(self, gathered: Gathered) -> tuple[list[tuple[int, Exemplar]], list[rare.MetadataRecord]]:
        """Exemplars and metadata; returns those that are news."""
        taken = [item for item in gathered.exemplars if self.exemplars.add(item[1])]
        changed = [m for m in gathered.metadata if self.metadata.get(m.ref) != m]
        self.metadata.update({m.ref: m for m in changed})
        return taken, changed

    def delete(self, refs: list[int], mint_ms: int, maxt_ms: int) -> None:
        """Hide samples of series of the head."""
        stones = [rare.TombstoneRecord(ref, mint_ms, maxt_ms) for ref in refs]
        if stones:
            self.wal.log([rare.encode_tombstones(stones)])
            for stone in stones:
                self.tombstones.add(*stone)
