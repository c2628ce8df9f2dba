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
    ) -> None:
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


def _labels(sender: Sender) -> dict[str, Any]:
    return {"remote_name": queue_name(sender.config), "url": sender.config.url}
