"""The database: one directory, a head, blocks, and the logs between them. Mirrors ``tsdb/db.go``."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from wavetank.clock import Clock
from wavetank.model.labels import METRIC_NAME, Labels, Matcher
from wavetank.model.series import SelectHints, SeriesBatch
from wavetank.tsdb import maintenance
from wavetank.tsdb.appender import AppendCounts, Appender, Gathered
from wavetank.tsdb.block import Block
from wavetank.tsdb.errors import CorruptionError, LockedError, QueryLimitExceeded
from wavetank.tsdb.exemplars import Exemplar
from wavetank.tsdb.head_stats import HeadStats, head_stats
from wavetank.tsdb.options import Options
from wavetank.tsdb.querier import Budget, Found, Source, find_in_block, merged, read_of_block, select
from wavetank.tsdb.replay import ReplayReport
from wavetank.tsdb.restore import HEAD_IS_NOT_WHOLE, ReplayStatus
from wavetank.tsdb.store import Store
from wavetank.tsdb.take_in import take_in
from wavetank.tsdb.tombstones import write_tombstones
from wavetank.tsdb.wal.rare_records import MetadataRecord

__all__ = ["DB", "Quarantined"]

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
_LOG = logging.getLogger(__name__)
Progress = Callable[[str, float], None]
_QUARANTINE = ".quarantined"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A block that was set aside, and why."""

    directory: Path
    reason: str


class _BlockSource:
    """A block as a source; if it turns out to be damaged, it is set aside and the rest is served."""

    def __init__(self, db: DB, block: Block) -> None:
        self._db = db
        self._block = block

    def read(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget
    ) -> SeriesBatch | None:
        try:
            return read_of_block(self._block, matchers, mint_ms, maxt_ms, budget)
        except CorruptionError:
            return None  # ``find`` will say so

    def find(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget) -> Found | None:
        try:
            return find_in_block(self._block, matchers, mint_ms, maxt_ms, budget)
        except CorruptionError as error:
            self._db.quarantine(self._block, str(error))
            return None


class DB:
    """A time series database. One writer at a time; queries from any thread.

    ``select``, ``series``, ``label_names`` and ``label_values`` are what PromQL asks of a storage. Times are
    inclusive milliseconds. ``compact`` does all upkeep that is due; call it every minute or so.
    """

    def __init__(self, path: Path, options: Options, clock: Clock) -> None:
        self.path = path
        self.options = options
        self.clock = clock
        self.store = Store(path, options)
        self.quarantined: list[Quarantined] = []
        self.maintenance_lock = threading.Lock()
        self.last_append = clock.monotonic()
        self._blocks: list[Block] = []
        self._lock_file: IO[bytes] | None = None
        self._restoring: threading.Thread | None = None

    # --- life ---------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: Path | str,
        options: Options,
        clock: Clock,
        *,
        progress: Progress | None = None,
        background: bool = False,
    ) -> DB:
        """Open or create a directory. ``progress`` hears ``(phase, fraction)`` during replay.

        With ``background`` replay goes on in a thread after this returns: samples are accepted as soon as the
        series of the log are known, queries answer with a warning, and upkeep waits (``wait_until_whole``).
        Damaged blocks are set aside and named in ``quarantined``; damage in the log is in ``replays``.
        Raises LockedError if another process has the directory open.
        """
        root = Path(path)
        root.mkdir(parents=True, exist_ok=True)
        db = cls(root, options, clock)
        if options.lock_file:
            db._take_lock()
        for leftover in [
            *root.glob("*.tmp-for-creation"),
            *root.glob("*.tmp-for-deletion"),
            *root.glob("*.tmp"),
        ]:
            shutil.rmtree(leftover, ignore_errors=True)
        db._load_blocks()
        newest = max((b.meta.max_time for b in db._blocks if not b.meta.from_out_of_order), default=None)
        db.store.begin_restore(-(1 << 62) if newest is None else newest)
        began = clock.monotonic()

        def restore() -> None:
            db.store.run_restore(
                progress or (lambda phase, fraction: None), lambda: clock.monotonic() - began
            )

        if background:
            db._restoring = threading.Thread(target=db._restored, args=(restore,), name="replay", daemon=True)
            db._restoring.start()
        else:
            restore()
        return db

    def _restored(self, restore: Callable[[], None]) -> None:
        try:
            restore()
        except Exception:
            _LOG.exception("replay of %s failed: the head is not whole", self.path)

    @property
    def is_whole(self) -> bool:
        """Whether replay is over, so that answers lack nothing."""
        return self.store.restore is None

    @property
    def replay_status(self) -> ReplayStatus:
        """How far replay is."""
        return self.store.replay_status

    def wait_until_whole(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the end of replay; returns whether it came. Raises CorruptionError if replay failed."""
        restore = self.store.restore
        if restore is None:
            return True
        ended = restore.ended.wait(timeout_seconds)
        if restore.error is not None:
            raise CorruptionError(f"replay failed: {restore.error}", at=self.path)
        return ended and not restore.stop.is_set()

    def _take_lock(self) -> None:
        self._lock_file = (self.path / "lock").open("wb")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock_file.close()
            raise LockedError(
                "data directory is locked by another process", at=self.path, fix="stop the other process"
            ) from None

    def _load_blocks(self) -> None:
        superseded: set[str] = set()
        for meta in sorted(self.path.glob("*/meta.json")):
            directory = meta.parent
            if len(directory.name) != 26:
                continue
            try:
                block = Block(directory)
            except (CorruptionError, OSError) as error:
                self._set_aside(directory, str(error))
                continue
            self._blocks.append(block)
            superseded |= {p.ulid for p in block.meta.compaction.parents}
        # A crash between writing a merged block and deleting its parents leaves both: the parents go.
        for block in [b for b in self._blocks if b.meta.ulid in superseded]:
            self.remove_block(block)
        self._blocks.sort(key=lambda b: (b.meta.min_time, b.meta.max_time))

    def close(self) -> None:
        """Release the directory; what was committed is there at the next open."""
        if self.options.flush_on_close and self.wait_until_whole():
            maintenance.flush_all(self)
        if self._restoring is not None:
            if self.store.restore is not None:
                self.store.restore.stop.set()
            self._restoring.join()
        with self.maintenance_lock, self.store.head.lock:
            self.store.close()
            for block in self._blocks:
                block.close()
            if self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None

    @property
    def replays(self) -> list[ReplayReport]:
        """What opening found in the log and the out-of-order log."""
        return self.store.reports

    @property
    def counts(self) -> AppendCounts:
        """What became of all samples since the open."""
        return self.store.counts

    def reconfigure(self, options: Options) -> None:
        """Take retention, the encoding of new float chunks and the room for exemplars from now on."""
        self.options = replace(
            self.options,
            retention_ms=options.retention_ms,
            retention_bytes=options.retention_bytes,
            retention_percent=options.retention_percent,
            retention_rules=options.retention_rules,
            float_chunks=options.float_chunks,
            exemplars_max=options.exemplars_max,
        )
        self.store.exemplars.resize(options.exemplars_max)

    # --- writing ------------------------------------------------------------------------------------

    def appender(self) -> Appender:
        """Samples gathered in it become visible, and durable, together at ``commit``."""
        return Appender(self)

    def commit(self, gathered: Gathered) -> AppendCounts:
        """What ``Appender.commit`` calls."""
        self.last_append = self.clock.monotonic()
        return self.store.commit(gathered)

    def series_ref(self, labels: Labels) -> int:
        """Get or create a series; 0 if the soft cap on active series does not allow another."""
        return self.store.series_ref(labels)

    def series_refs(self, keys: Bytes, offsets: Int64s) -> Int64s:
        """Many at once, by series key (``series_table.key_of``): flat bytes and int64[n + 1] offsets."""
        return self.store.series_refs(keys, offsets)

    def known_refs(self, refs: Int64s) -> npt.NDArray[np.bool_]:
        """Which refs still stand for a series; the others' labels must be resolved again."""
        with self.store.head.lock:
            return self.store.head.known(refs)

    # --- reading ------------------------------------------------------------------------------------

    @property
    def blocks(self) -> list[Block]:
        """Blocks now open, by time."""
        return list(self._blocks)

    def _sources(self, mint_ms: int, maxt_ms: int) -> list[Source]:
        in_blocks = self.store.source.holds_none_before(maxt_ms)  # asked first: samples move one way only
        sources: list[Source] = [_BlockSource(self, b) for b in self._blocks if b.overlaps(mint_ms, maxt_ms)]
        if sources and in_blocks:
            return sources
        return [*sources, self.store.source]

    def select(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, hints: SelectHints | None = None
    ) -> SeriesBatch:
        """All samples of the matching series in the range, in columns, sorted by labels.

        Raises QueryLimitExceeded (a CheckFailed) beyond the sample limit or the deadline of ``hints``.
        """
        check = self._check(hints)
        sources = self._sources(mint_ms, maxt_ms)
        maximum = self.options.query_samples_max
        whole = self.is_whole
        try:
            batch = select(sources, matchers, mint_ms, maxt_ms, hints=hints, samples_max=maximum, check=check)
            if whole or maxt_ms < self.store.head.min_valid_ms:
                return batch
            return replace(batch, warnings=[*batch.warnings, HEAD_IS_NOT_WHOLE])
        except CorruptionError:
            # A chunk whose checksum is right but whose bits are not: find the block, then answer without it.
            self._find_culprit(matchers, mint_ms, maxt_ms)
            sources = self._sources(mint_ms, maxt_ms)
            return select(sources, matchers, mint_ms, maxt_ms, hints=hints, samples_max=maximum, check=check)

    def _check(self, hints: SelectHints | None) -> Callable[[], None] | None:
        """What a long selection calls now and then, to be ended."""
        if hints is None or (hints.check is None and not hints.deadline):
            return None
        deadline, ask = hints.deadline, hints.check

        def check() -> None:
            if ask is not None:
                ask()
            if deadline and self.clock.monotonic() > deadline:
                raise QueryLimitExceeded("query timed out in the storage")

        return check

    def _find_culprit(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> None:
        for block in [b for b in self._blocks if b.overlaps(mint_ms, maxt_ms)]:
            try:
                select([_BlockSource(self, block)], matchers, mint_ms, maxt_ms)
            except CorruptionError as error:
                self.quarantine(block, str(error))

    def _found(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> list[Labels]:
        budget = Budget()
        found = [s.find(matchers, mint_ms, maxt_ms, budget) for s in self._sources(mint_ms, maxt_ms)]
        present = [f for f in found if f is not None]
        return list(merged(present).labels) if present else []

    def series(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> list[Labels]:
        """Label sets of series with chunks in the range, sorted."""
        return self._found(matchers, mint_ms, maxt_ms)

    def label_names(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> list[str]:
        """Names of labels, sorted. Without matchers the indexes answer, whatever the range inside a block."""
        if matchers:
            return sorted({n for labels in self._found(matchers, mint_ms, maxt_ms) for n, _ in labels})
        names: set[str] = set()
        for block in self._blocks:
            if block.overlaps(mint_ms, maxt_ms):
                names.update(block.index.names())
        with self.store.head.lock:
            self.store.head.index.refresh()
            names.update(self.store.head.index.names())
        return sorted(names)

    def label_values(self, name: str, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> list[str]:
        """Values of a label, sorted. Without matchers the indexes answer."""
        if matchers:
            every = {labels.get(name) for labels in self._found(matchers, mint_ms, maxt_ms)}
            return sorted(every - {""})
        values: set[str] = set()
        for block in self._blocks:
            if block.overlaps(mint_ms, maxt_ms):
                values.update(block.index.values(name))
        with self.store.head.lock:
            self.store.head.index.refresh()
            values.update(self.store.head.index.values(name))
        return sorted(values - {""})

    def exemplars(
        self, selectors: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]:
        """Exemplars of series that satisfy any of the selectors, by series."""
        with self.store.head.lock:
            return self.store.exemplars.select(selectors, mint_ms, maxt_ms)

    def metadata(self, metric: str | None = None) -> dict[str, list[MetadataRecord]]:
        """What is known of metrics in the head, by metric name; distinct entries only."""
        head = self.store.head
        found: dict[str, list[MetadataRecord]] = {}
        with head.lock:
            for ref, entry in self.store.metadata.items():
                row = head.row(ref)
                if row < 0:
                    continue
                (labels,) = head.table.labels([row])
                name = labels.get(METRIC_NAME)
                entries = found.setdefault(name, [])
                if metric in (None, name) and all(e[1:] != entry[1:] for e in entries):
                    entries.append(entry)
        return {name: entries for name, entries in found.items() if entries}

    def head_stats(self, limit: int = 10) -> HeadStats:
        """What ``/api/v1/status/tsdb`` shows."""
        with self.store.head.lock:
            return head_stats(self.store.head, limit)

    # --- deleting -----------------------------------------------------------------------------------

    def delete(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> None:
        """Hide the samples of matching series in the range; ``clean_tombstones`` frees the space."""
        self.store.wait_for_series()
        with self.maintenance_lock, self.store.head.lock:
            for block in self._blocks:
                if not block.overlaps(mint_ms, maxt_ms):
                    continue
                ids, entries = block.find(matchers)
                low, high = entries.mint, entries.maxt
                inside = (low <= maxt_ms) & (high >= mint_ms)
                hit = np.unique(
                    np.repeat(np.arange(len(ids)), np.diff(entries.chunk_offsets))[inside]
                ).tolist()
                for i in hit:
                    block.tombstones.add(int(ids[i]), mint_ms, maxt_ms)
                if hit:
                    write_tombstones(block.directory / "tombstones", block.tombstones)
                    block.meta.stats.num_tombstones = len(block.tombstones)
            refs = self.store.head.ref_of_row[self.store.source.rows(matchers)].tolist()
            self.store.delete(refs, mint_ms, maxt_ms)

    def clean_tombstones(self) -> None:
        """Rewrite the blocks that have tombstones, without what they delete."""
        with self.maintenance_lock:
            maintenance.rewrite_deleted(self)

    # --- upkeep -------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Do what is due: take in new blocks, flush the head, write late samples, merge, apply retention."""
        if not self.is_whole:
            return  # nothing is due before the head is whole
        with self.maintenance_lock:
            take_in(self)
            maintenance.run(self)

    def flush(self) -> None:
        """Write everything of the head as blocks now, as before a shutdown or a snapshot."""
        self.wait_until_whole()
        maintenance.flush_all(self)

    def snapshot(self, directory: Path | str, *, with_head: bool = True) -> Path:
        """A copy of the database in ``directory``: blocks hard-linked, the head written as one more block."""
        self.wait_until_whole()
        with self.maintenance_lock:
            return maintenance.snapshot(self, Path(directory), with_head=with_head)

    def add_block(self, directory: Path) -> Block:
        """Serve a block that was written into the data directory. Raises CorruptionError."""
        block = Block(directory)
        with self.store.head.lock:
            blocks = [*self._blocks, block]
            blocks.sort(key=lambda b: (b.meta.min_time, b.meta.max_time))
            self._blocks = blocks
        return block

    def replace_blocks(self, old: Sequence[Block], new: Path | None) -> None:
        """Serve one block instead of several, and delete those."""
        made = None if new is None else Block(new)
        with self.store.head.lock:
            blocks = [b for b in self._blocks if b not in old] + ([made] if made else [])
            blocks.sort(key=lambda b: (b.meta.min_time, b.meta.max_time))
            self._blocks = blocks
        for block in old:
            self._delete_directory(block)

    def remove_block(self, block: Block) -> None:
        """Serve it no longer, and delete it."""
        with self.store.head.lock:
            self._blocks = [b for b in self._blocks if b is not block]
        self._delete_directory(block)

    @staticmethod
    def _delete_directory(block: Block) -> None:
        # Queries that still read it hold its mappings, which outlive the files.
        doomed = block.directory.with_name(block.directory.name + ".tmp-for-deletion")
        block.directory.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def quarantine(self, block: Block, reason: str) -> None:
        """Set a damaged block aside: it is renamed, named in ``quarantined``, and no longer served."""
        with self.store.head.lock:
            if block not in self._blocks:
                return
            self._blocks = [b for b in self._blocks if b is not block]
            self._set_aside(block.directory, reason)

    def _set_aside(self, directory: Path, reason: str) -> None:
        aside = directory.with_name(directory.name + _QUARANTINE)
        directory.rename(aside)
        _LOG.error("block %s is damaged and set aside as %s: %s", directory.name, aside.name, reason)
        self.quarantined.append(Quarantined(aside, reason))
