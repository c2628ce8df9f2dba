"""Remote write: from the log to a receiver, with nothing lost on the way.

Mirrors storage/remote/queue_manager.go. One task follows the log; its samples go to shards by series, so
that a series' samples stay in order; a shard gathers a batch, sends it, and tries again with growing pauses
until the receiver takes or refuses it. As nothing is read beyond what the shards can hold, an outage costs
no memory: the log is the queue. The number of shards follows the rate.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from wavetank.clock import Clock
from wavetank.model.labels import Labels
from wavetank.monitoring.config.model import RemoteWrite
from wavetank.monitoring.http_client import HTTPClient
from wavetank.monitoring.relabel import Relabeling
from wavetank.monitoring.remote.codec import MetadataEntry, pack
from wavetank.monitoring.remote.payload import metadata_request
from wavetank.monitoring.remote.progress import Mark, Progress, load_position
from wavetank.monitoring.remote.shard import Counts, Sendable, Shard, post
from wavetank.monitoring.remote.wal_tail import Slice, WalTail
from wavetank.monitoring.tracing import Tracer
from wavetank.monitoring.tracing.span import Value

__all__ = ["Sender", "queue_name"]

_LOG = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.1  # how often the end of the log is looked at
_RESHARD_SECONDS: Final = 10.0
_SAVE_SECONDS: Final = 1.0
_HEADROOM: Final = 1.5  # shards beyond what the rate needs


def queue_name(config: RemoteWrite) -> str:
    """The queue's name, or a hash of its URL where it has none; names its file."""
    return config.name or hashlib.sha256(config.url.encode()).hexdigest()[:6]


class Sender:
    """One ``remote_write`` section at work."""

    def __init__(
        self,
        config: RemoteWrite,
        external_labels: Mapping[str, str],
        data: Path,
        clock: Clock,
        metadata: Callable[[], Mapping[str, MetadataEntry]],
        tracer: Tracer | None = None,
    ) -> None:
        self.config = config
        self.external_labels = dict(external_labels)
        self.counts = Counts()
        self._clock = clock
        self._metadata = metadata
        self._described: Mapping[str, MetadataEntry] = {}
        self._relabeling = Relabeling(config.write_relabel_configs)
        self._client = HTTPClient(config, clock, round_robin_dns=config.round_robin_dns, tracer=tracer)
        path = data / "remote" / f"{hashlib.sha256(queue_name(config).encode()).hexdigest()[:16]}.json"
        start = load_position(path)
        self._tail = WalTail(data / "wal", start)
        self._progress = Progress(path, self._tail.position)
        self._labels: dict[int, Labels | None] = {}
        self._checkpoint = -2
        self._shards: list[Shard] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._measured = (0.0, 0, 0.0)

    @property
    def shards(self) -> int:
        return len(self._shards)

    @property
    def segment(self) -> int:
        """The segment of the log that is read."""
        return self._tail.position.segment

    @property
    def pending(self) -> int:
        return self._progress.pending

    @property
    def caught_up(self) -> bool:
        """Whether nothing that was read waits, in the segment that is being written."""
        return self._progress.idle and self._tail.at_end()

    def start(self) -> None:
        self._progress.save()
        self._open_shards(self.config.queue_config.min_shards)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._keep_saving())]
        if self.config.metadata_config.send and "v2" not in self.config.protobuf_message:
            self._tasks.append(asyncio.create_task(self._send_metadata()))

    async def close(self, flush_seconds: float) -> None:
        """Send what was read, for a moment; what is not acknowledged is read again at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        deadline = self._clock.monotonic() + flush_seconds
        while (
            not self._progress.idle
            and self._clock.monotonic() < deadline
            and not any(shard.failing for shard in self._shards)
        ):
            await self._clock.sleep(0.01)
        await self._close_shards()
        self._save()
        await self._client.close()

    # --- reading ------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        resharded = self._clock.monotonic()
        self._measured = (resharded, 0, 0.0)
        while True:
            try:
                found = await asyncio.to_thread(self._next)
            except OSError as error:
                _LOG.error("remote write %s cannot read the log: %s", queue_name(self.config), error)
                found = None
            if found is None:
                await self._clock.sleep(_POLL_SECONDS)
            else:
                await self._hand_out(found)
            if self._clock.monotonic() - resharded >= _RESHARD_SECONDS:
                await self._reshard()
                resharded = self._clock.monotonic()

    def _next(self) -> Slice | None:
        """The next stretch of the log, its series learned."""
        checkpoint = self._tail.checkpoint()
        if checkpoint != self._checkpoint:
            self._checkpoint = checkpoint
            self._labels = {}
            for ref, labels in self._tail.known_series():
                self._labels[ref] = self._outgoing(labels)
        found = self._tail.read()
        for problem in self._tail.skipped:
            _LOG.error("remote write %s passes over a part of the log: %s", queue_name(self.config), problem)
        self._tail.skipped.clear()
        if found is not None:
            for ref, labels in found.series:
                self._labels[ref] = self._outgoing(labels)
        return found

    def _outgoing(self, labels: Labels) -> Labels | None:
        """Labels as they are sent; None for a series that is not."""
        named = labels.to_dict()
        for name, value in self.external_labels.items():
            named.setdefault(name, value)
        kept = self._relabeling(named)
        return Labels.of({n: v for n, v in kept.items() if v}) if kept else None

    async def _hand_out(self, found: Slice) -> None:
        """Give a stretch to the shards; waits while they are full."""
        shards = self._shards
        count = len(shards)
        parts: list[list[Sendable]] = [[] for _ in shards]
        mark = Mark(found.after, 0)
        age = self.config.queue_config.sample_age_limit
        oldest = round(self._clock.now() * 1000) - int(age) if age else -(1 << 62)
        get = self._labels.get
        for ref, at_ms, value in zip(
            found.refs.tolist(), found.times_ms.tolist(), found.values.tolist(), strict=True
        ):
            labels = get(ref)
            if labels is None:
                continue
            if at_ms < oldest:
                self.counts.dropped += 1
                continue
            parts[ref % count].append((ref, labels, at_ms, value, mark))
        if self.config.send_native_histograms:
            for record in found.histograms:
                labels = get(record.ref)
                if labels is not None and record.timestamp_ms >= oldest:
                    part = parts[record.ref % count]
                    part.append((record.ref, labels, record.timestamp_ms, record.histogram, mark))
        if self.config.send_exemplars:
            for exemplar in found.exemplars:
                labels = get(exemplar.ref)
                if labels is not None:
                    part = parts[exemplar.ref % count]
                    part.append((exemplar.ref, labels, exemplar.timestamp_ms, exemplar, mark))
        mark.pending = sum(map(len, parts))
        self._progress.add(mark)
        for shard, part in zip(shards, parts, strict=True):
            await shard.put(part)

    # --- shards -------------------------------------------------------------------------------------

    def _open_shards(self, count: int) -> None:
        describe = self._describe if "v2" in self.config.protobuf_message else None
        self._shards = [
            Shard(self.config, self._client, self._clock, self.counts, self._progress.done, describe)
            for _ in range(count)
        ]
        for shard in self._shards:
            shard.start()

    async def _close_shards(self) -> None:
        await asyncio.gather(*(shard.stop() for shard in self._shards))

    async def _reshard(self) -> None:
        """As many shards as the rate needs: how much is read a second, times how long a sample takes."""
        since, sent, busy = self._measured
        now = self._clock.monotonic()
        counts = self.counts
        self._measured = (now, counts.sent, counts.busy_seconds)
        if any(shard.failing for shard in self._shards) or counts.sent <= sent:
            return
        seconds_each = (counts.busy_seconds - busy) / (counts.sent - sent)
        rate = (counts.sent - sent) / max(now - since, 1e-9)
        backlog = self._progress.pending / _RESHARD_SECONDS
        queue = self.config.queue_config
        wanted = math.ceil((rate + backlog) * seconds_each * _HEADROOM)
        wanted = min(max(wanted, queue.min_shards), queue.max_shards)
        if abs(wanted - self.shards) <= 0.3 * self.shards:
            return
        # Series move between shards: none may have samples on its way meanwhile.
        while not self._progress.idle:
            await self._clock.sleep(_POLL_SECONDS)
        await self._close_shards()
        _LOG.info("remote write %s: %d shards", queue_name(self.config), wanted)
        self._open_shards(wanted)

    def _describe(self, name: str) -> MetadataEntry | None:
        found = self._described.get(name)
        for suffix in ("_bucket", "_count", "_sum", "_total"):
            if found is None and name.endswith(suffix):
                found = self._described.get(name.removesuffix(suffix))
        return found

    # --- beside -------------------------------------------------------------------------------------

    async def _keep_saving(self) -> None:
        while True:
            self._described = self._metadata()
            await self._clock.sleep(_SAVE_SECONDS)
            self._save()

    def _save(self) -> None:
        try:
            self._progress.save()
        except OSError as error:
            _LOG.error("remote write %s cannot save its position: %s", queue_name(self.config), error)

    async def _send_metadata(self) -> None:
        settings = self.config.metadata_config
        while True:
            entries = list(self._metadata().items())
            for first in range(0, len(entries), settings.max_samples_per_send):
                part = dict(entries[first : first + settings.max_samples_per_send])
                said: dict[str, Value] = {
                    "metadata": len(part),
                    "remote_name": queue_name(self.config),
                    "remote_url": self.config.url,
                }
                with self._client.tracer.span("Remote Metadata Send Batch", said, root=True):
                    answer = await post(self._client, self.config, pack(metadata_request(part)))
                if answer.problem:
                    self.counts.metadata_failed += len(part)
                else:
                    self.counts.metadata_sent += len(part)
            await self._clock.sleep(settings.send_interval.seconds)
