"""Deltas added up: what ``--enable-feature=otlp-deltatocumulative`` keeps of each stream of data points.

Mirrors the deltatocumulative processor of opentelemetry-collector-contrib with its default settings, which
Prometheus uses. The first data point of a stream begins it; later ones are added, unless they are not newer
than what is known or began before the stream did: those are left out. A stream that nothing came of for five
minutes is forgotten and begins anew. Streams are bounded here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.limits import OTLP_DELTA_STREAMS_MAX, REMOTE_HISTOGRAM_BUCKETS_MAX

__all__ = ["Totals"]

_STALE_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 60.0
_SCALE_MIN: Final = -10  # what OpenTelemetry merges down to; Prometheus takes no scale below -4


@dataclass(slots=True)
class _Stream:
    """``point`` is the sum of all until now, as a message of the request's kind."""

    point: Any
    seen_at: float


class Totals:
    """What each stream comes to. May be used from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: dict[Hashable, _Stream] = {}
        self._looked_at = clock.monotonic()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, key: Hashable, kind: str, point: Any) -> Any:
        """The total of a stream, this data point included, at its time. Raises ValueError where it is left
        out. ``kind`` is the name of the metric's data in OTLP."""
        with self._lock:
            now = self._clock.monotonic()
            self._forget(now)
            stream = self._streams.get(key)
            if stream is None:
                if len(self._streams) >= OTLP_DELTA_STREAMS_MAX:
                    raise ValueError(f"more than {OTLP_DELTA_STREAMS_MAX} streams of deltas")
                stream = self._streams[key] = _Stream(_copy(point), now)
                return _copy(stream.point)
            stream.seen_at = now
            total = stream.point
            if point.start_time_unix_nano < total.start_time_unix_nano:
                raise ValueError(
                    "a delta began before its series did: do several processes send the same series?"
                )
            if point.time_unix_nano <= total.time_unix_nano:
                raise ValueError("a delta is not newer than its series")
            _ADD[kind](total, point)
            total.time_unix_nano = point.time_unix_nano
            total.flags = point.flags
            del total.exemplars[:]
            total.exemplars.extend(point.exemplars)
            return _copy(total)

    def _forget(self, now: float) -> None:
        """Let go of streams that ended, once a minute."""
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        self._streams = {k: s for k, s in self._streams.items() if now - s.seen_at <= _STALE_SECONDS}


def _copy(point: Any) -> Any:
    made = type(point)()
    made.CopyFrom(point)
    return made


def _add_number(total: Any, point: Any) -> None:
    if total.WhichOneof("value") == point.WhichOneof("value") == "as_int":
        total.as_int = _wrapped(total.as_int + point.as_int)
    else:
        total.as_double = _number(total) + _number(point)


def _number(point: Any) -> float:
    return float(point.as_int) if point.WhichOneof("value") == "as_int" else float(point.as_double)


def _wrapped(value: int) -> int:
    """As 64 bits hold it."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _add_histogram(total: Any, point: Any) -> None:
    if list(total.explicit_bounds) != list(point.explicit_bounds) or len(total.bucket_counts) != len(
        point.bucket_counts
    ):
        start = total.start_time_unix_nano
        total.CopyFrom(point)  # other buckets cannot be added: the series begins anew
        total.start_time_unix_nano = start
        return
    for i, count in enumerate(point.bucket_counts):
        total.bucket_counts[i] = (total.bucket_counts[i] + count) % (1 << 64)
    _add_sums(total, point)


def _add_sums(total: Any, point: Any) -> None:
    total.count = (total.count + point.count) % (1 << 64)
    if total.HasField("sum") and point.HasField("sum"):
        total.sum += point.sum
    else:
        total.ClearField("sum")


def _add_exponential(total: Any, point: Any) -> None:
    """At the coarser scale and the wider zero bucket of the two."""
    scale = min(total.scale, point.scale)
    sides = []
    for mine, theirs in ((total.positive, point.positive), (total.negative, point.negative)):
        found: dict[int, int] = {}
        for buckets, down in ((mine, total.scale - scale), (theirs, point.scale - scale)):
            for i, count in enumerate(buckets.bucket_counts):
                if count:
                    index = (buckets.offset + i) >> down
                    found[index] = found.get(index, 0) + count
        sides.append(found)
    used = [index for found in sides for index in found]
    while used and _width(sides) > REMOTE_HISTOGRAM_BUCKETS_MAX and scale > _SCALE_MIN:
        scale -= 1
        sides = [_halved(found) for found in sides]
    if _width(sides) > REMOTE_HISTOGRAM_BUCKETS_MAX:
        raise ValueError(f"{_width(sides)} buckets")
    for buckets, found in ((total.positive, sides[0]), (total.negative, sides[1])):
        del buckets.bucket_counts[:]
        buckets.offset = min(found, default=0)
        if found:
            buckets.bucket_counts.extend(found.get(i, 0) for i in range(min(found), max(found) + 1))
    total.scale = scale
    total.zero_count = (total.zero_count + point.zero_count) % (1 << 64)
    total.zero_threshold = max(total.zero_threshold, point.zero_threshold)
    _add_sums(total, point)


def _width(sides: list[dict[int, int]]) -> int:
    return max((max(found) - min(found) + 1 for found in sides if found), default=0)


def _halved(found: dict[int, int]) -> dict[int, int]:
    out: dict[int, int] = {}
    for index, count in found.items():
        out[index >> 1] = out.get(index >> 1, 0) + count
    return out


_ADD: Final[dict[str, Callable[[Any, Any], None]]] = {
    "sum": _add_number,
    "histogram": _add_histogram,
    "exponential_histogram": _add_exponential,
}
