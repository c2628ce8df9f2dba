"""All remote write queues of a configuration.

Mirrors WriteStorage of storage/remote/write.go: a reload leaves queues that did not change at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from wavetank.clock import Clock
from wavetank.exposition.render import MetricFamily, Sample
from wavetank.monitoring.config import Config
from wavetank.monitoring.remote.codec import MetadataEntry
from wavetank.monitoring.remote.sender import Sender, queue_name
from wavetank.monitoring.tracing import Tracer

__all__ = ["Queues"]


class Queues:
    """``apply`` fits the running senders to a configuration."""

    def __init__(
        self,
        data: Path,
        clock: Clock,
        metadata: Callable[[], Mapping[str, MetadataEntry]],
        flush_seconds: float,
        tracer: Tracer | None = None,
        newest_ms: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``newest_ms`` gives the time of the newest stored sample, which queues are behind of."""
        self._newest_ms = newest_ms
        self.senders: list[Sender] = []
        self._data = data
        self._clock = clock
        self._metadata = metadata
        self._flush_seconds = flush_seconds
        self._tracer = tracer

    async def apply(self, config: Config) -> None:
        external = dict(config.globals.external_labels)
        before, self.senders = self.senders, []
        kept: list[Sender] = []
        for section in config.remote_write:
            for sender in before:
                if sender.config == section and sender.external_labels == external and sender not in kept:
                    kept.append(sender)
                    break
        await asyncio.gather(*(s.close(self._flush_seconds) for s in before if s not in kept))
        for section in config.remote_write:
            found = next((s for s in kept if s.config == section), None)
            if found is None:
                found = Sender(section, external, self._data, self._clock, self._metadata, self._tracer)
                found.start()
            self.senders.append(found)

    async def close(self) -> None:
        await asyncio.gather(*(sender.close(self._flush_seconds) for sender in self.senders))
        self.senders.clear()

    def families(self) -> Iterable[MetricFamily]:
        """``prometheus_remote_storage_*``."""
        table: tuple[tuple[str, str, Callable[[Sender], float]], ...] = (
            ("samples_total", "counter", lambda s: s.counts.sent + s.counts.failed),
            ("samples_failed_total", "counter", lambda s: s.counts.failed),
            ("samples_retried_total", "counter", lambda s: s.counts.retried),
            ("samples_dropped_total", "counter", lambda s: s.counts.dropped),
            ("metadata_total", "counter", lambda s: s.counts.metadata_sent + s.counts.metadata_failed),
            ("metadata_failed_total", "counter", lambda s: s.counts.metadata_failed),
            ("bytes_total", "counter", lambda s: s.counts.bytes),
            ("samples_pending", "gauge", lambda s: s.pending),
            ("shards", "gauge", lambda s: s.shards),
            ("shards_desired", "gauge", lambda s: s.shards),
            ("shards_min", "gauge", lambda s: s.config.queue_config.min_shards),
            ("shards_max", "gauge", lambda s: s.config.queue_config.max_shards),
            ("shard_capacity", "gauge", lambda s: s.config.queue_config.capacity),
            ("max_samples_per_send", "gauge", lambda s: s.config.queue_config.max_samples_per_send),
            (
                "queue_highest_timestamp_seconds",
                "gauge",
                lambda s: s.counts.queued_ms / 1000,
            ),
            (
                "queue_highest_sent_timestamp_seconds",
                "gauge",
                lambda s: s.counts.highest_ms / 1000,
            ),
        )
        for suffix, kind, value in table:
            name = f"prometheus_remote_storage_{suffix}"
            samples = [Sample(name, _labels(sender), float(value(sender))) for sender in self.senders]
            if samples:
                yield MetricFamily(name, kind, samples=samples)
        yield from self._whole()

    def _whole(self) -> Iterable[MetricFamily]:
        """What is about all queues together, or about following the log."""
        if not self.senders:
            return
        name = "prometheus_remote_storage_samples_in_total"
        read = sum(s.counts.sent + s.counts.failed + s.counts.dropped + s.pending for s in self.senders)
        yield MetricFamily(name, "counter", samples=[Sample(name, {}, float(read))])
        name = "prometheus_remote_storage_highest_timestamp_in_seconds"
        yield MetricFamily(name, "gauge", samples=[Sample(name, {}, self._newest_ms() / 1000)])
        name = "prometheus_wal_watcher_current_segment"
        at = [Sample(name, {"consumer": queue_name(s.config)}, float(s.segment)) for s in self.senders]
        yield MetricFamily(name, "gauge", samples=at)


def _labels(sender: Sender) -> dict[str, Any]:
    return {"remote_name": queue_name(sender.config), "url": sender.config.url}
