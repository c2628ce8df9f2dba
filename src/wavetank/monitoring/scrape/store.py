"""Storing what a target exposed: series references, staleness, limits, and the series about the scrape.

Mirrors scrapeCache and scrapeLoop.append of scrape/scrape.go. A scrape is stored whole or not at all; series
that were there before and are not now get a staleness marker at the scrape's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from wavetank.exposition.samples import Metadata, ScrapedSamples
from wavetank.model.labels import Labels
from wavetank.model.value import STALE_NAN
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.scrape.fetch import ScrapeFailed
from wavetank.monitoring.scrape.series import Mutate, report_labels
from wavetank.tsdb.db import DB

__all__ = ["Appended", "TargetStore"]

_FUTURE_MS: Final = 10 * 60_000  # samples later than this are refused
_DROPPED: Final = -1
_REPORT: Final = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
_EXTRA_REPORT: Final = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")
_CACHE_SLACK: Final = 1000


@dataclass(frozen=True, slots=True)
class Appended:
    """What a scrape brought: samples exposed, left after relabelling, and series new to this target."""

    scraped: int = 0
    kept: int = 0
    added: int = 0


class TargetStore:
    """One target's memory of its series."""

    def __init__(self, db: DB, config: ScrapeConfig, labels: Labels, mutate: Mutate) -> None:
        self.metadata: Mapping[str, Metadata] = {}
        self._db = db
        self._config = config
        self._labels = labels
        self._mutate = mutate
        self._refs: dict[Labels, int] = {}
        self._current: set[int] = set()
        self._reports: dict[str, int] = {}

    def append(self, samples: ScrapedSamples, now_ms: int) -> Appended:
        """Store a scrape. Raises ScrapeFailed, having stored nothing, if it breaks a limit."""
        known = self._refs
        refs_list, added = [], 0
        for labels in samples.labels:
            ref = known.get(labels)
            if ref is None:
                ref = self._add(labels)
                added += ref != _DROPPED
            refs_list.append(ref)
        refs = np.array(refs_list, np.int64)
        keep = refs != _DROPPED
        kept = int(keep.sum())
        if self._config.sample_limit and kept > self._config.sample_limit:
            raise ScrapeFailed("sample limit exceeded")
        times = samples.timestamps_ms
        tracked = keep
        if not self._config.honor_timestamps:
            times = np.full(len(refs), now_ms, np.int64)
        elif not self._config.track_timestamps_staleness:
            tracked = keep & ~samples.explicit
        keep = keep & (times <= now_ms + _FUTURE_MS)
        current = set(refs[tracked].tolist())
        self._commit(refs[keep], times[keep], samples.values[keep], self._current - current, now_ms)
        self._current = current
        self.metadata = samples.metadata
        self._trim(samples)
        return Appended(len(refs), kept, added)

    def _add(self, exposed: Labels) -> int:
        stored = self._mutate(exposed)
        ref = _DROPPED if stored is None else self._db.series_ref(stored) or _DROPPED
        self._refs[exposed] = ref
        return ref

    def _commit(
        self,
        refs: np.ndarray[tuple[int], np.dtype[np.int64]],
        times: np.ndarray[tuple[int], np.dtype[np.int64]],
        values: np.ndarray[tuple[int], np.dtype[np.float64]],
        gone: set[int],
        now_ms: int,
    ) -> None:
        appender = self._db.appender()
        if len(refs):
            appender.append_batch(refs, times, values)
        for ref in gone:
            appender.append(ref, None, now_ms, STALE_NAN)
        if appender.commit().unknown_series:
            # The storage has let go of series without samples; learn them anew at the next scrape.
            self._refs.clear()
            self._reports.clear()

    def _trim(self, samples: ScrapedSamples) -> None:
        """Forget series that are no longer exposed once they are the most of what is remembered."""
        if len(self._refs) > 2 * len(samples) + _CACHE_SLACK:
            self._refs = {labels: self._refs[labels] for labels in samples.labels if labels in self._refs}

    def mark_stale(self, now_ms: int) -> None:
        """The target cannot be scraped: its series end here."""
        appender = self._db.appender()
        for ref in self._current:
            appender.append(ref, None, now_ms, STALE_NAN)
        appender.commit()
        self._current = set()

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
        appender = self._db.appender()
        for name, value in zip(names, values, strict=True):
            appender.append(self._report_ref(name), None, now_ms, float(value))
        if appender.commit().unknown_series:
            self._reports.clear()

    def _report_ref(self, name: str) -> int:
        ref = self._reports.get(name)
        if ref is None:
            ref = self._reports[name] = self._db.series_ref(report_labels(name, self._labels))
        return ref

    def end(self, now_ms: int) -> None:
        """The target is gone: its series and those about it end at ``now_ms``."""
        self.mark_stale(now_ms)
        appender = self._db.appender()
        for ref in self._reports.values():
            appender.append(ref, None, now_ms, STALE_NAN)
        appender.commit()

    def take_over(self, old: TargetStore) -> None:
        """Continue with the series of the store this one replaces after a reload."""
        self._current = old._current
