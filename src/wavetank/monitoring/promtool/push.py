"""``promtool push metrics``: an exposition sent by remote write, 1.0 or 2.0.

Mirrors cmd/promtool/metrics.go and util/fmtutil: samples without a timestamp get the time of sending, a
``job`` label of the exposition becomes ``exported_job``, and a histogram without a +Inf bucket gets one.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from wavetank.clock import Clock, pause
from wavetank.errors import CheckFailed, InputError
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.model.quoting import format_float
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.promtool.families import Family, families
from wavetank.monitoring.promtool.transport import send
from wavetank.monitoring.remote.codec import MetadataEntry, pack
from wavetank.monitoring.remote.payload import Item, metadata_request, request_v1, request_v2

__all__ = ["MESSAGES", "Receiver", "write_request"]

MESSAGES: Final = ("prometheus.WriteRequest", "io.prometheus.write.v2.Request")
_BACKOFF_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 10.0)


def write_request(body: bytes, labels: Mapping[str, str], now_ms: int, message: str = MESSAGES[0]) -> bytes:
    """The message of a text exposition. Raises InputError for one that does not parse."""
    items: dict[Labels, Item] = {}
    metadata: dict[str, MetadataEntry] = {}
    for family in families(body):
        kind = "unknown" if family.type == "untyped" else family.type
        metadata[family.name] = MetadataEntry(kind, family.help, "")
        for name, own, at_ms, value in _samples(family):
            series = _labels(name, own, labels)
            item = items.setdefault(series, Item(series))
            item.samples.append((now_ms if at_ms is None else at_ms, value))
    if message == MESSAGES[0]:
        # Messages of the same kind may be joined: their fields add up.
        return request_v1(list(items.values())) + metadata_request(metadata)
    return request_v2(list(items.values()), lambda name: _described(metadata, name))


def _samples(family: Family) -> Iterator[tuple[str, Labels, int | None, float]]:
    for _, samples in family.metrics:
        yield from samples
        if family.type == "histogram" and not any(own.get("le") == "+Inf" for _, own, _, _ in samples):
            for name, own, at_ms, value in samples:
                if name == f"{family.name}_count":
                    yield f"{family.name}_bucket", Labels.of(own, le="+Inf"), at_ms, value


def _labels(name: str, own: Labels, more: Mapping[str, str]) -> Labels:
    """The exposition's labels win; bounds are written as Go prints a float: 1, not 1.0."""
    shown = {}
    for label, value in own:
        label = "exported_job" if label == "job" else label
        shown[label] = format_float(float(value)) if label in ("le", "quantile") and _number(value) else value
    return Labels.of({**more, **shown, METRIC_NAME: name})


def _number(text: str) -> bool:
    try:
        return text != "+Inf" and float(text) is not None
    except ValueError:
        return False


def _described(metadata: Mapping[str, MetadataEntry], name: str) -> MetadataEntry | None:
    for suffix in ("", "_bucket", "_sum", "_count"):
        if name.endswith(suffix) and (found := metadata.get(name.removesuffix(suffix))):
            return found
    return None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where to send. ``path`` is put behind the URL's own path unless that ends with it."""

    url: str
    path: str
    message: str
    headers: Mapping[str, str]
    timeout_seconds: float
    http: HTTPClientConfig | None = None

    def address(self) -> str:
        """Raises InputError."""
        parts = urllib.parse.urlsplit(self.url if "://" in self.url else f"http://{self.url}")
        if parts.scheme not in ("http", "https"):
            raise InputError(f"{self.url!r} is not an HTTP URL")
        own = parts.path.rstrip("/")
        wanted = "/" + self.path.strip("/")
        if not own.endswith(wanted):
            own = f"{own}{wanted}"
        return urllib.parse.urlunsplit(parts._replace(path=own))

    def push(self, request: bytes, clock: Clock) -> None:
        """Send; 5xx, 429 and a receiver out of reach are tried again until the timeout.

        Raises CheckFailed where it is refused, InputError where the server is not reached.
        """
        waits = iter(_BACKOFF_SECONDS)
        end = clock.now() + self.timeout_seconds
        while True:
            try:
                self._once(request)
                return
            except _Again as error:
                wait = next(waits, _BACKOFF_SECONDS[-1])
                if clock.now() + wait >= end:
                    raise error.cause from None
                pause(wait)

    def _once(self, request: bytes) -> None:
        first = self.message == MESSAGES[0]
        sent = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf" + ("" if first else f";proto={self.message}"),
            "User-Agent": "promtool/3.14.0",
            "X-Prometheus-Remote-Write-Version": "0.1.0" if first else "2.0.0",
            **self.headers,
        }
        address = self.address()
        try:
            status, body = send(
                "POST",
                address,
                sent,
                pack(request),
                http=self.http,
                timeout_seconds=self.timeout_seconds,
            )
        except InputError as error:
            raise _Again(error) from None
        if status >= 300:
            text = body[:512].decode("utf-8", "replace").strip()
            refused = CheckFailed(f"server returned HTTP status {status}: {text}")
            if status == 429 or status >= 500:
                raise _Again(refused)
            raise refused


class _Again(Exception):
    """Worth another try; ``cause`` is what to say if there is none."""

    def __init__(self, cause: CheckFailed | InputError) -> None:
        super().__init__(str(cause))
        self.cause = cause
