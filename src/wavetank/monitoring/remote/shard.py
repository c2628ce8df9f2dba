"""One lane of a remote write queue: gathers a batch, sends it until it is taken or refused.

Mirrors shards and sendWriteRequestWithBackoff of storage/remote/queue_manager.go.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wavetank.clock import Clock
from wavetank.limits import REMOTE_ANSWER_BYTES_MAX
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.config.model import RemoteWrite
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient
from wavetank.monitoring.remote.codec import MetadataEntry, pack
from wavetank.monitoring.remote.payload import Item, request_v1, request_v2
from wavetank.monitoring.remote.progress import Mark
from wavetank.monitoring.tracing.span import CLIENT, Value
from wavetank.tsdb.wal.rare_records import ExemplarRecord

__all__ = ["Answer", "Counts", "Sendable", "Shard", "post"]

_LOG = logging.getLogger(__name__)
_RETRY_AFTER_SECONDS_MAX: Final = 60.0

# ref, labels as sent, time in ms, what, and the stretch of the log it came from
Sendable = tuple[int, Labels, int, float | FloatHistogram | ExemplarRecord, Mark]
Describe = Callable[[str], MetadataEntry | None]


@dataclass(slots=True)
class Counts:
    """What became of a queue's samples, of all kinds."""

    sent: int = 0
    failed: int = 0
    retried: int = 0
    dropped: int = 0
    bytes: int = 0
    requests: int = 0
    metadata_sent: int = 0
    metadata_failed: int = 0
    busy_seconds: float = 0.0
    queued_ms: int = 0  # the newest sample that was queued
    highest_ms: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said: nothing, or a problem that may or may not go away."""

    problem: str = ""
    again: bool = False
    after_seconds: float = 0.0


async def post(client: HTTPClient, config: RemoteWrite, body: bytes, attempt: int = 0) -> Answer:
    """One request. ``attempt`` is 0 for the first."""
    v2 = "v2" in config.protobuf_message
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": f"application/x-protobuf;proto={config.protobuf_message}"
        if v2
        else "application/x-protobuf",
        "User-Agent": "Prometheus/3.14.0",
        "X-Prometheus-Remote-Write-Version": "2.0.0" if v2 else "0.1.0",
        **config.headers,
    }
    if attempt:
        headers["Retry-Attempt"] = str(attempt)
    with client.tracer.span("Remote Store", kind=CLIENT) as span:
        answer = await _posted(client, config, headers, body)
        if span is not None:
            span.error = answer.problem
        return answer


async def _posted(client: HTTPClient, config: RemoteWrite, headers: Mapping[str, str], body: bytes) -> Answer:
    try:
        async with client.request(
            "POST",
            config.url,
            headers=headers,
            data=body,
            timeout_seconds=config.remote_timeout.seconds,
        ) as response:
            if response.status // 100 == 2:
                return Answer()
            text = (await response.content.read(REMOTE_ANSWER_BYTES_MAX)).decode("utf-8", "replace")
            again = response.status // 100 == 5 or (
                response.status == 429 and config.queue_config.retry_on_http_429
            )
            return Answer(
                f"server returned HTTP status {response.status}: {text.strip()}",
                again,
                _seconds(response.headers.get("Retry-After", "")),
            )
    except FETCH_ERRORS as error:
        return Answer(str(error) or type(error).__name__, True)


def _seconds(text: str) -> float:
    """Retry-After where it is a number; dates are passed over."""
    return min(float(text), _RETRY_AFTER_SECONDS_MAX) if text.isdigit() else 0.0


class Shard:
    """A bounded queue and the task that empties it."""

    def __init__(
        self,
        config: RemoteWrite,
        client: HTTPClient,
        clock: Clock,
        counts: Counts,
        done: Callable[[dict[Mark, int]], None],
        describe: Describe | None,
    ) -> None:
        self.failing = False
        self._config = config
        self._client = client
        self._clock = clock
        self._counts = counts
        self._done = done
        self._describe = describe
        self._waiting: deque[Sendable] = deque()
        self._room = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def put(self, items: Sequence[Sendable]) -> None:
        """Queue; waits while the queue is at its capacity."""
        capacity = self._config.queue_config.capacity
        async with self._room:
            await self._room.wait_for(lambda: len(self._waiting) < capacity)
            self._waiting.extend(items)
            if items:
                self._counts.queued_ms = max(self._counts.queued_ms, items[-1][2])
            self._room.notify_all()

    async def _run(self) -> None:
        while True:
            batch = await self._gather()
            await self._send(batch)
            pending: dict[Mark, int] = {}
            for *_, mark in batch:
                pending[mark] = pending.get(mark, 0) + 1
            self._done(pending)

    async def _gather(self) -> list[Sendable]:
        """A full batch, or what there is when the deadline passes."""
        queue = self._config.queue_config
        size = queue.max_samples_per_send
        async with self._room:
            await self._room.wait_for(lambda: bool(self._waiting))
            try:
                async with asyncio.timeout(queue.batch_send_deadline.seconds):
                    await self._room.wait_for(lambda: len(self._waiting) >= size)
            except TimeoutError:
                pass
            batch = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            self._room.notify_all()
        return batch

    async def _send(self, batch: list[Sendable]) -> None:
        """Until it is taken or refused."""
        counts = self._counts
        body = await asyncio.to_thread(self._body, batch)
        queue = self._config.queue_config
        pause = queue.min_backoff.seconds
        for attempt in itertools.count():
            began = self._clock.monotonic()
            said: dict[str, Value] = {
                "request_size": len(body),
                "samples": len(batch),
                "try": attempt,
                "remote_name": self._config.name,
                "remote_url": self._config.url,
            }
            with self._client.tracer.span("Remote Send Batch", said, root=True) as span:
                answer = await post(self._client, self._config, body, attempt)
                if span is not None:
                    span.error = answer.problem
            counts.requests += 1
            if not answer.problem:
                counts.busy_seconds += self._clock.monotonic() - began
                counts.sent += len(batch)
                counts.bytes += len(body)
                counts.highest_ms = max(counts.highest_ms, *(entry[2] for entry in batch))
                self.failing = False
                return
            counts.last_error = answer.problem
            if not answer.again:
                counts.failed += len(batch)
                self.failing = False
                _LOG.error("remote write to %s refused: %s", self._config.url, answer.problem)
                return
            if not self.failing:
                _LOG.warning("remote write to %s is tried again: %s", self._config.url, answer.problem)
            self.failing = True
            counts.retried += len(batch)
            await self._clock.sleep(answer.after_seconds or pause)
            pause = min(pause * 2, queue.max_backoff.seconds)

    def _body(self, batch: list[Sendable]) -> bytes:
        items: dict[int, Item] = {}
        for ref, labels, at_ms, what, _ in batch:
            item = items.get(ref)
            if item is None:
                item = items[ref] = Item(labels)
            if isinstance(what, float):
                item.samples.append((at_ms, what))
            elif isinstance(what, FloatHistogram):
                item.histograms.append((at_ms, what))
            else:
                item.exemplars.append((what.labels, what.value, at_ms))
        listed = list(items.values())
        data = request_v1(listed) if self._describe is None else request_v2(listed, self._describe)
        return pack(data)
