"""The head as a query sees it: float chunks, native histograms, out-of-order samples, tombstones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import Matcher
from wavetank.model.series import SeriesBatch, empty_batch
from wavetank.tsdb.decode import LooseSamples, joined
from wavetank.tsdb.head import ChunkSet, Head
from wavetank.tsdb.head_histograms import HeadHistograms
from wavetank.tsdb.late_histograms import LateHistograms
from wavetank.tsdb.out_of_order import OutOfOrderSamples
from wavetank.tsdb.plain_read import batch_of, chunks_of, copy_of
from wavetank.tsdb.postings import matching_rows
from wavetank.tsdb.querier import Budget, Found, compacted, without_deleted
from wavetank.tsdb.selections import Selected, Selections
from wavetank.tsdb.start_times import Starts, StartTimes
from wavetank.tsdb.tombstones import Tombstones

__all__ = ["HeadSource"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class HeadSource:
    """Implements ``querier.Source``; each ``find`` sees the head as of one moment between commits."""

    def __init__(
        self,
        head: Head,
        histograms: HeadHistograms,
        out_of_order: OutOfOrderSamples,
        late_histograms: LateHistograms,
        tombstones: Tombstones,
        starts: StartTimes,
    ) -> None:
        self._head = head
        self._histograms = histograms
        self._out_of_order = out_of_order
        self._late_histograms = late_histograms
        self._tombstones = tombstones
        self._starts = starts
        self._selections = Selections()
        # committed while the log is still being replayed
        self.pending: OutOfOrderSamples | None = None
        self.pending_histograms: LateHistograms | None = None

    def rows(self, matchers: Sequence[Matcher]) -> Int64s:
        """Rows that match, whether or not they have samples. The head's lock must be held."""
        self._head.index.refresh()
        return matching_rows(self._head.index, matchers)

    def collect(self, rows: Int64s, mint_ms: int, maxt_ms: int) -> tuple[ChunkSet, LooseSamples]:
        """Everything of some rows in the range, tombstones not applied. The lock must be held."""
        head = self._head
        refs = head.ref_of_row[rows]
        chunks = head.collect(rows, mint_ms, maxt_ms)
        loose = LooseSamples()
        if self._histograms:
            more, loose = self._histograms.collect(refs, mint_ms, maxt_ms)
            chunks = joined([chunks, more])
        if len(self._out_of_order):
            loose = loose.extended(LooseSamples(*self._out_of_order.of(refs, mint_ms, maxt_ms)))
        if len(self._late_histograms):
            loose = loose.extended(self._late_histograms.of(refs, mint_ms, maxt_ms))
        if self.pending is not None and len(self.pending):
            loose = loose.extended(LooseSamples(*self.pending.of(refs, mint_ms, maxt_ms)))
        if self.pending_histograms is not None and len(self.pending_histograms):
            loose = loose.extended(self.pending_histograms.of(refs, mint_ms, maxt_ms))
        return chunks, loose

    def starts(self, refs: Int64s) -> Starts | None:
        """What is known of the start timestamps of some series. The lock must be held."""
        return self._starts.of(refs) if self._starts else None

    def holds_none_before(self, maxt_ms: int) -> bool:
        """Whether it is seen at a glance that there are no samples until then."""
        head = self._head
        with head.lock:
            if self._histograms or len(self._out_of_order) or len(self._late_histograms):
                return False
            replayed = self.pending is None and self.pending_histograms is None
            return replayed and (not len(head) or head.mint_ms > maxt_ms)

    def read(
        self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget
    ) -> SeriesBatch | None:
        """All samples of the matching series in the range, if they are floats in order and nothing of them
        was deleted; None if they are to be had by ``find`` only."""
        head, key = self._head, tuple(matchers)
        selected: Selected | None = None
        while True:
            head.index.prepare(head.lock)
            with head.lock:
                table = head.table
                if selected is None or selected.table is not table:
                    selected = self._selections.known(key, table, lambda: self.rows(matchers))
                if selected is not None:
                    if not len(selected.rows):
                        return empty_batch()
                    if not self._is_plain(selected.rows, mint_ms, maxt_ms):
                        return None
                    chosen = chunks_of(head, selected.rows, mint_ms, maxt_ms)
                    if chosen is None:
                        return None
                    budget.admit_floats(min(len(selected.rows), chosen.count), chosen.samples)
                    copied = copy_of(head, chosen)
                    break
                rows = self.rows(matchers)
                looked_at = len(table)
            selected = Selected.of(table, rows, looked_at)
            self._selections.keep(key, selected)
        return batch_of(copied, selected.labels, mint_ms, maxt_ms)

    def _is_plain(self, rows: Int32s, mint_ms: int, maxt_ms: int) -> bool:
        """Whether the rows have floats in chunks and nothing else in the range. The lock must be held."""
        if self.pending is not None or self.pending_histograms is not None or self._starts:
            return False
        late = len(self._out_of_order) or len(self._late_histograms)
        if not (late or self._histograms or len(self._tombstones)):
            return True
        refs = self._head.ref_of_row[rows]
        own = refs.tolist()
        if self._histograms and self._histograms.hold_any(own):
            return False
        if len(self._tombstones) and any(ref in self._tombstones for ref in own):
            return False
        if len(self._out_of_order) and len(self._out_of_order.of(refs, mint_ms, maxt_ms)[0]):
            return False
        return not (len(self._late_histograms) and len(self._late_histograms.of(refs, mint_ms, maxt_ms)))

    def find(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget) -> Found | None:
        head = self._head
        head.index.prepare(head.lock)
        with head.lock:
            rows = self.rows(matchers)
            if not len(rows):
                return None
            chunks, loose = self.collect(rows, mint_ms, maxt_ms)
            has = np.zeros(len(rows), np.bool_)
            has[chunks.series] = True
            has[loose.series] = True
            if not has.any():
                return None
            budget.admit(int(np.count_nonzero(has)), chunks, loose)
            used = rows[has]
            place = np.cumsum(has) - 1
            chunks = replace(chunks, series=place[chunks.series])
            loose = replace(loose, series=place[loose.series])
            table = head.table
            labels = table.interned(used)
            refs = head.ref_of_row[used].tolist() if len(self._tombstones) else []
            deleted = [
                (i, self._tombstones.of(ref)) for i, ref in enumerate(refs) if ref in self._tombstones
            ] if len(self._tombstones) else []  # fmt: skip
            starts = self.starts(head.ref_of_row[used])
        chunks, loose = without_deleted(chunks, loose, deleted, mint_ms, maxt_ms)
        found = compacted(labels, chunks, loose, starts)
        if found is None:
            return None
        if len(found.labels) < len(used):  # some have lost all their samples to a deletion
            return replace(found, labels=list(found.labels))
        order = table.in_order(used)
        ranks = np.empty(len(used), np.int64)
        ranks[np.searchsorted(used, order)] = np.arange(len(used))
        return Found(
            table.interned(order),
            replace(found.chunks, series=ranks[found.chunks.series]),
            replace(found.loose, series=ranks[found.loose.series]),
            None if found.starts is None else found.starts.placed(ranks),
        )
