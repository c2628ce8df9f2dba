"""Storing what a target exposed: series references, staleness, limits, and the series about the scrape.

Mirrors scrapeCache and scrapeLoop.append of scrape/scrape.go. A scrape is stored whole or not at all; series
that were there before and are not now get a staleness marker at the scrape's time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.exposition.fresh_series import FixedLabels, FreshSeries
from wavetank.exposition.samples import Metadata, ScrapedExemplar, ScrapedHistogram
from wavetank.exposition.scrape_cache import Scrape, ScrapeCache
from wavetank.model.labels import Labels
from wavetank.model.value import STALE_NAN, STALE_NAN_BITS
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.scrape.classic import ClassicParts, Switches
from wavetank.monitoring.scrape.fetch import ScrapeFailed
from wavetank.monitoring.scrape.resolution import limited
from wavetank.monitoring.scrape.series import Mutate, adds_only, report_labels
from wavetank.tsdb.db import DB
from wavetank.tsdb.series_table import key_of

__all__ = ["Appended", "TargetStore"]

_LOG = logging.getLogger(__name__)
_FUTURE_MS: Final = 10 * 60_000  # samples later than this are refused
_REPORT: Final = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
_EXTRA_REPORT: Final = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")
_NONE: Final = np.zeros(0, np.int64)
_NO_VALUES: Final = np.zeros(0, np.float64)


@dataclass(frozen=True, slots=True)
class Appended:
    """What a scrape brought: samples exposed, left after relabelling, and series new to this target."""

    scraped: int = 0
    kept: int = 0
    added: int = 0


def _stale(count: int) -> npt.NDArray[np.float64]:
    """Staleness markers; by their bits, which are not any NaN's."""
    return np.full(count, STALE_NAN_BITS, np.uint64).view(np.float64)


def _with(refs: npt.NDArray[np.int64], others: set[int]) -> npt.NDArray[np.int64]:
    """int64[n] with the others among them, each once; there are almost never any."""
    return np.union1d(refs, np.array(sorted(others), np.int64)) if others else refs


def switches_of(config: ScrapeConfig) -> Switches:
    """A job's own, where no label of a target says otherwise."""
    return Switches(
        bool(config.scrape_native_histograms),
        bool(config.convert_classic_histograms_to_nhcb),
        bool(config.always_scrape_classic_histograms),
    )


class TargetStore:
    """One target's memory of its series."""

    def __init__(
        self,
        db: DB,
        config: ScrapeConfig,
        labels: Labels,
        mutate: Mutate,
        switches: Switches | None = None,
    ) -> None:
        """``switches`` is what relabelling made of the job's own."""
        self.metadata: Mapping[str, Metadata] = {}
        self._db = db
        self._config = config
        self._labels = labels
        self._mutate = mutate
        self._switches = switches or switches_of(config)
        plain = adds_only(config) and not self._switches.needed
        self._fixed = FixedLabels(labels) if plain else None  # all that is done to series
        self._parts = ClassicParts(self._switches)
        self._part_refs: dict[int, int] = {}
        self._parts_seen: set[int] = set()
        self._added = 0  # series of histograms that are new to this target
        self._cache = self._new_cache()
        self._pending = db.appender()
        self._inherited: set[int] = set()
        self._reports: dict[str, int] = {}
        self._histograms: dict[Labels, int] = {}
        self._histograms_seen: set[int] = set()

    def _new_cache(self) -> ScrapeCache:
        options = self._db.options
        return ScrapeCache(
            track_explicit=self._config.track_timestamps_staleness,
            read_starts=options.created_zeros or options.start_storage,
        )

    def append(self, body: bytes, content_type: str, now_ms: int) -> Appended:
        """Gather a scrape, which ``report`` then stores. Raises InputError for a body that is not an
        exposition, ScrapeFailed for one that breaks a limit; nothing is gathered then."""
        scrape = self._cache.parse(
            body,
            content_type,
            default_timestamp_ms=now_ms,
            fallback=self._config.fallback_scrape_protocol or None,
        )
        if scrape.metadata is not None:
            self.metadata = scrape.metadata
        try:
            added = self._bind(scrape)
            histograms = self._native(scrape)
            refs, converted, left_out = self._classic(scrape, {found.labels for _, found in histograms})
            histograms += converted
            keep = refs > 0
            kept = int(np.count_nonzero(keep)) + len(histograms)
            if self._config.sample_limit and kept > self._config.sample_limit:
                raise ScrapeFailed("sample limit exceeded")
        except ScrapeFailed:
            self._start_over(scrape)
            raise
        times = scrape.timestamps_ms
        if not self._config.honor_timestamps:
            times = np.full(len(refs), now_ms, np.int64)
        if scrape.explicit.any():
            keep &= times <= now_ms + _FUTURE_MS
        others: set[int] = set()
        if self._inherited:
            others |= self._inherited - set(refs.tolist())
            self._inherited = set()
        seen = {ref for ref, _ in histograms}
        others |= self._histograms_seen - seen
        self._histograms_seen = seen
        others |= self._parts_gone(scrape, refs)
        gone = _with(self._cache.vanished(), others)
        self._gather(
            refs[keep],
            times[keep],
            scrape.values[keep],
            gone,
            now_ms,
            histograms,
            self._exemplars(scrape, refs, histograms),
            None if scrape.start_timestamps_ms is None else scrape.start_timestamps_ms[keep],
        )
        added, self._added = added + self._added, 0
        return Appended(len(refs) - left_out + len(histograms), kept, added)

    def _start_over(self, scrape: Scrape) -> None:
        """A limit is broken. Series that are new with this scrape are not stored, and must be new again at
        the next; those that were there before end here."""
        before = set(self._cache.last_refs().tolist())
        self._inherited |= before - set(scrape.refs[scrape.new_samples].tolist())
        self._cache = self._new_cache()
        self._parts = ClassicParts(self._switches)
        self._part_refs.clear()

    def _classic(
        self, scrape: Scrape, native: set[Labels]
    ) -> tuple[npt.NDArray[np.int64], list[tuple[int, ScrapedHistogram]], int]:
        """References of the samples, the classic histograms that are stored as native ones, and how many
        classic samples are left out for them."""
        refs = scrape.refs
        if not self._switches.needed:
            return refs, [], 0
        out, converted = self._parts.sorted_out(refs, scrape.values, native)
        refs = refs.copy()
        as_it_is = np.flatnonzero((refs < -1) & ~out)
        refs[as_it_is] = [self._part_ref(ref) for ref in refs[as_it_is].tolist()]
        refs[out] = 0
        found = []
        for each in converted:
            ref = self._histogram_ref(each.labels)
            if ref:
                at_ms, explicit = int(scrape.timestamps_ms[each.sample]), bool(scrape.explicit[each.sample])
                start_ms = (
                    0 if scrape.start_timestamps_ms is None else int(scrape.start_timestamps_ms[each.sample])
                )
                found.append((ref, ScrapedHistogram(each.labels, at_ms, explicit, each.histogram, start_ms)))
        return refs, found, int(np.count_nonzero(out))

    def _part_ref(self, part: int) -> int:
        """What a part of a classic histogram is stored as where it is stored as it is."""
        ref = self._part_refs.get(part)
        if ref is None:
            stored = self._mutate(self._parts.labels(part))
            ref = self._part_refs[part] = 0 if stored is None else self._db.series_ref(stored)
            self._added += ref > 0
        return ref

    def _parts_gone(self, scrape: Scrape, refs: npt.NDArray[np.int64]) -> set[int]:
        """Parts stored at the scrape before and not at this one: the cache does not know their references."""
        if not self._switches.needed:
            return set()
        implicit = ~scrape.explicit | self._config.track_timestamps_staleness
        seen = set(refs[(scrape.refs < -1) & (refs > 0) & implicit].tolist())
        gone = self._parts_seen - seen
        self._parts_seen = seen
        return gone

    def _native(self, scrape: Scrape) -> list[tuple[int, ScrapedHistogram]]:
        """Native histograms with their references; none unless the job asks for them."""
        found = []
        for histogram in scrape.histograms if self._switches.native else ():
            ref = self._histogram_ref(histogram.labels)
            if ref:
                found.append((ref, self._within_limits(histogram)))
        return found

    def _histogram_ref(self, labels: Labels) -> int:
        """What a native histogram is stored as; 0 if it is dropped."""
        ref = self._histograms.get(labels)
        if ref is None:
            stored = self._mutate(labels)
            ref = 0 if stored is None else self._db.series_ref(stored)
            self._histograms[labels] = ref
            self._added += ref > 0
        return ref

    def _within_limits(self, scraped: ScrapedHistogram) -> ScrapedHistogram:
        """At a resolution that the job's limits allow. Raises ScrapeFailed where there is none."""
        limit, factor = (
            self._config.native_histogram_bucket_limit,
            self._config.native_histogram_min_bucket_factor,
        )
        if not limit and factor <= 1:
            return scraped
        return replace(scraped, histogram=limited(scraped.histogram, limit, factor))

    def _exemplars(
        self,
        scrape: Scrape,
        refs: npt.NDArray[np.int64],
        histograms: Sequence[tuple[int, ScrapedHistogram]],
    ) -> list[tuple[int, Labels, ScrapedExemplar]]:
        """Exemplars of stored series. Those of a classic histogram's buckets are also its histogram's, unless
        that brought some of its own."""
        of_labels = {each.labels: ref for ref, each in histograms if not each.exemplars}
        exposed = scrape.refs if of_labels else refs
        every = [(ref, exemplar) for ref, each in histograms for exemplar in each.exemplars]
        for exemplar in scrape.exemplars:
            part = int(exposed[exemplar.index])
            every += [(int(refs[exemplar.index]), exemplar), (self._whole_ref(part, of_labels), exemplar)]
        stored = self._labels_of({ref for ref, _ in every if ref > 0})
        return [(ref, stored[ref], exemplar) for ref, exemplar in every if ref in stored]

    def _labels_of(self, refs: Iterable[int]) -> dict[int, Labels]:
        """What series are stored as: kept by the storage alone, for exemplars are rare."""
        head = self._db.store.head
        with head.lock:
            rows = {ref: head.row(ref) for ref in refs}
            return {ref: head.table.labels([row])[0] for ref, row in rows.items() if row >= 0}

    def _whole_ref(self, part: int, of_labels: Mapping[Labels, int]) -> int:
        """The stored histogram that a part belongs to, 0 if none."""
        return of_labels.get(self._parts.name(part), 0) if part < -1 and of_labels else 0

    def _bind(self, scrape: Scrape) -> int:
        """Give the series that were never seen before their references; how many are stored."""
        if not scrape.new:
            return 0
        if isinstance(scrape.new, FreshSeries) and self._fixed is not None:
            return self._bind_keys(scrape, scrape.new, self._fixed)
        parts = [self._parts.learn(exposed, self.metadata) for _, exposed in scrape.new]
        every = [
            None if part else self._mutate(exposed)
            for part, (_, exposed) in zip(parts, scrape.new, strict=True)
        ]
        refs = iter(self._refs_of([labels for labels in every if labels is not None]))
        added = 0
        for (index, _), stored, part in zip(scrape.new, every, parts, strict=True):
            ref = part if stored is None else next(refs)
            self._cache.bind(scrape, index, ref)
            added += ref > 0
        return added

    def _bind_keys(self, scrape: Scrape, fresh: FreshSeries, fixed: FixedLabels) -> int:
        """As ``_bind`` where series just get the target's labels: without making any."""
        if 0 < self._config.sample_limit < len(scrape.entries):
            raise ScrapeFailed("sample limit exceeded")
        keys, offsets = fresh.keys(fixed)
        left = np.flatnonzero(np.diff(offsets) == 0).tolist()
        refs = self._db.series_refs(keys, offsets)  # 0 for those that are left
        if left:
            stored = [self._mutate(fresh[i][1]) for i in left]
            refs[left] = self._refs_of([labels for labels in stored if labels is not None])
        self._cache.bind_all(scrape, fresh.samples, refs)
        return int(np.count_nonzero(refs))

    def _refs_of(self, series: Sequence[Labels]) -> list[int]:
        """Their references, all asked for at once: that is several times as fast as one by one."""
        keys = [key_of(labels) for labels in series]
        offsets = np.zeros(len(keys) + 1, np.int64)
        np.cumsum([len(key) for key in keys], out=offsets[1:])
        found: list[int] = self._db.series_refs(
            np.frombuffer(bytearray(b"".join(keys)), np.uint8), offsets
        ).tolist()
        return found

    def _gather(
        self,
        refs: npt.NDArray[np.int64],
        times: npt.NDArray[np.int64],
        values: npt.NDArray[np.float64],
        gone: npt.NDArray[np.int64],
        now_ms: int,
        histograms: Sequence[tuple[int, ScrapedHistogram]] = (),
        exemplars: Sequence[tuple[int, Labels, ScrapedExemplar]] = (),
        starts: npt.NDArray[np.int64] | None = None,
    ) -> None:
        appender = self._pending
        if len(refs):
            appender.append_batch(refs, times, values, starts)
        if len(gone):
            appender.append_batch(gone, np.full(len(gone), now_ms, np.int64), _stale(len(gone)))
        for ref, found in histograms:
            honoured = found.explicit_timestamp and self._config.honor_timestamps
            at_ms = found.timestamp_ms if honoured else now_ms
            appender.append_histogram(ref, None, at_ms, found.histogram, found.start_timestamp_ms)
        for ref, series, exemplar in exemplars:
            at_ms = now_ms if exemplar.timestamp_ms is None else exemplar.timestamp_ms
            appender.append_exemplar(ref, series, exemplar.labels, at_ms, exemplar.value)

    def mark_stale(self, now_ms: int) -> None:
        """The target cannot be scraped: its series end here."""
        gone = _with(self._cache.missed(), self._inherited | self._histograms_seen | self._parts_seen)
        self._inherited, self._histograms_seen, self._parts_seen = set(), set(), set()
        self._gather(_NONE, _NONE, _NO_VALUES, gone, now_ms)

    def report(
        self,
        now_ms: int,
        *,
        up: bool,
        seconds: float,
        appended: Appended,
        timeout_seconds: float,
        body_bytes: int,
    ) -> None:
        """Store the series about a scrape."""
        values = [float(up), seconds, appended.scraped, appended.kept, appended.added]
        names: tuple[str, ...] = _REPORT
        if self._config.extra_scrape_metrics:
            names += _EXTRA_REPORT
            values += [timeout_seconds, self._config.sample_limit, body_bytes]
        for name, value in zip(names, values, strict=True):
            self._pending.append(self._report_ref(name), None, now_ms, float(value))
        self._commit()

    def _commit(self) -> None:
        """Store what was gathered: a scrape and the series about it become visible together."""
        if self._pending.commit().unknown_series:
            # The storage has let go of series without samples; learn them anew at the next scrape.
            self._cache = self._new_cache()
            self._reports.clear()
            self._histograms.clear()
            self._parts = ClassicParts(self._switches)
            self._part_refs.clear()

    def _report_ref(self, name: str) -> int:
        ref = self._reports.get(name)
        if ref is None:
            ref = self._reports[name] = self._db.series_ref(report_labels(name, self._labels))
        return ref

    def end(self, now_ms: int) -> None:
        """The target is gone: its series and those about it end at ``now_ms``."""
        self.mark_stale(now_ms)
        for ref in self._reports.values():
            self._pending.append(ref, None, now_ms, STALE_NAN)
        try:
            self._commit()
        except OSError as error:
            _LOG.error("the end of %s is not marked: %s", self._labels, error)

    def take_over(self, old: TargetStore) -> None:
        """Continue with the series of the store this one replaces after a reload."""
        self._inherited = old._inherited.union(old._cache.all_refs().tolist())
        self._histograms_seen, self._parts_seen = set(old._histograms_seen), set(old._parts_seen)
