"""The head as a query sees it: float chunks, native histograms, out-of-order samples, tombstones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from wavetank.model.labels import Matcher
from wavetank.tsdb.decode import LooseSamples, joined
from wavetank.tsdb.head import ChunkSet, Head
from wavetank.tsdb.head_histograms import HeadHistograms
from wavetank.tsdb.label_orders import LabelOrders
from wavetank.tsdb.late_histograms import LateHistograms
from wavetank.tsdb.out_of_order import OutOfOrderSamples
from wavetank.tsdb.postings import matching_rows
from wavetank.tsdb.querier import Budget, Found, compacted, without_deleted
from wavetank.tsdb.start_times import Starts, StartTimes
from wavetank.tsdb.tombstones import Tombstones

__all__ = ["HeadSource"]

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
        self._orders = LabelOrders()
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

    def find(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int, budget: Budget) -> Found | None:
        head = self._head
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
        ranks = self._orders.of(table, tuple(matchers), used, labels)
        return Found(
            labels.reordered(ranks),
            replace(found.chunks, series=ranks[found.chunks.series]),
            replace(found.loose, series=ranks[found.loose.series]),
            None if found.starts is None else found.starts.placed(ranks),
        )
