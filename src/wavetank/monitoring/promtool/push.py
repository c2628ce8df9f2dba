"""``promtool push metrics``: an exposition sent by remote write.

Mirrors cmd/promtool/metrics.go: samples without a timestamp get the time of sending.
"""

from __future__ import annotations

from collections.abc import Mapping

from wavetank.errors import CheckFailed
from wavetank.exposition import parse
from wavetank.model.labels import Labels
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.promtool.transport import send
from wavetank.monitoring.remote.codec import MetadataEntry, pack
from wavetank.monitoring.remote.payload import Item, metadata_request, request_v1

__all__ = ["push", "write_request"]


def write_request(body: bytes, labels: Mapping[str, str], now_ms: int) -> bytes:
    """The WriteRequest of a text exposition. Raises InputError for one that does not parse."""
    found = parse(body, "text/plain; version=0.0.4", default_timestamp_ms=now_ms)
    items: dict[Labels, Item] = {}
    for own, at_ms, value in zip(
        found.labels, found.timestamps_ms.tolist(), found.values.tolist(), strict=True
    ):
        series = Labels.of({**own.to_dict(), **labels})
        items.setdefault(series, Item(series)).samples.append((at_ms, value))
    metadata = {name: MetadataEntry(m.type, m.help, m.unit) for name, m in found.metadata.items()}
    # Messages of the same kind may be joined: their fields add up.
    return request_v1(list(items.values())) + metadata_request(metadata)


def push(
    url: str,
    request: bytes,
    headers: Mapping[str, str],
    timeout_seconds: float,
    http: HTTPClientConfig | None = None,
) -> None:
    """Send. Raises CheckFailed where it is refused, InputError where the server is not reached."""
    sent = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "User-Agent": "promtool/3.14.0",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
        **headers,
    }
    status, body = send("POST", url, sent, pack(request), http=http, timeout_seconds=timeout_seconds)
    if status >= 300:
        text = body[:512].decode("utf-8", "replace").strip()
        raise CheckFailed(f"server returned HTTP status {status}: {text}")
