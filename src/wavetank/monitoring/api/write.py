"""``/write``: receiving remote write 1.0.

Follows https://prometheus.io/docs/specs/prw/remote_write_spec/: snappy (block format) over a protobuf
WriteRequest. Samples that cannot be stored are answered with 400, so that the sender drops them. Native
histograms and exemplars of a request are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import cramjam
import numpy as np
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from wavetank.limits import REMOTE_WRITE_BYTES_MAX, REQUEST_BODY_BYTES_MAX
from wavetank.model.labels import Labels
from wavetank.monitoring.api.params import read_body
from wavetank.monitoring.api.services import Services

__all__ = ["WriteError", "decode_write", "receive"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WriteError(ValueError):
    """The body is not a WriteRequest."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WriteError("varint is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message; fixed and length-delimited values as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise WriteError(f"wire type {kind} is not known")
        if at + size > len(data):
            raise WriteError("message is cut off")
        yield number, data[at : at + size]
        at += size


def _label(data: bytes) -> tuple[str, str]:
    name = value = ""
    for number, found in _fields(data):
        if isinstance(found, bytes) and number in (1, 2):
            text = found.decode("utf-8")
            name, value = (text, value) if number == 1 else (name, text)
    return name, value


def _sample(data: bytes) -> tuple[int, float]:
    value, timestamp = 0.0, 0
    for number, found in _fields(data):
        if number == 1 and isinstance(found, bytes) and len(found) == 8:
            value = struct.unpack("<d", found)[0]
        elif number == 2 and isinstance(found, int):
            timestamp = found - (1 << 64) if found >> 63 else found
    return timestamp, value


Series = tuple[Labels, list[tuple[int, float]]]


def decode_write(data: bytes) -> list[Series]:
    """The series of a WriteRequest, with (timestamp ms, value) of each sample. Raises WriteError."""
    series: list[Series] = []
    try:
        for number, found in _fields(data):
            if number != 1 or not isinstance(found, bytes):
                continue
            pairs, samples = [], []
            for inner, value in _fields(found):
                if inner == 1 and isinstance(value, bytes):
                    pairs.append(_label(value))
                elif inner == 2 and isinstance(value, bytes):
                    samples.append(_sample(value))
            names = [name for name, _ in pairs]
            if len(set(names)) < len(names) or "" in names:
                raise WriteError("label names must be given and unique")
            series.append((Labels.of(pairs), samples))
    except UnicodeDecodeError:
        raise WriteError("labels must be UTF-8") from None
    return series


def unpack(body: bytes) -> bytes:
    """Snappy's block format. Raises WriteError for what is broken or would be too large."""
    size, _ = _varint(body, 0)
    if size > REMOTE_WRITE_BYTES_MAX:
        raise WriteError(f"decoded body is larger than {REMOTE_WRITE_BYTES_MAX} bytes")
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise WriteError(f"snappy: {error}") from None


async def receive(services: Services, request: Request) -> Response:
    """Store what was sent."""
    kind = request.headers.get("content-type", "application/x-protobuf").replace(" ", "")
    if kind not in ("application/x-protobuf", "application/x-protobuf;proto=prometheus.WriteRequest"):
        return PlainTextResponse(f"{kind} protobuf message is not accepted by this server\n", 415)
    if request.headers.get("content-encoding", "snappy") != "snappy":
        return PlainTextResponse("only snappy is accepted\n", 415)
    body = await read_body(request, REQUEST_BODY_BYTES_MAX)
    try:
        series = decode_write(unpack(body))
    except WriteError as error:
        return PlainTextResponse(f"{error}\n", 400)
    refused = _store(services, series)
    services.written(sum(len(samples) for _, samples in series), len(body))
    if refused:
        return PlainTextResponse(f"{refused} samples were refused: out of order or duplicate\n", 400)
    return Response(status_code=204)


def _store(services: Services, series: list[Series]) -> int:
    """Append all samples; how many could not be stored."""
    db = services.db
    appender = db.appender()
    for labels, samples in series:
        ref = db.series_ref(labels) if labels.name else 0
        if not ref or not samples:
            continue
        times, values = zip(*samples, strict=True)
        appender.append_batch(
            np.full(len(samples), ref, np.int64),
            np.array(times, np.int64),
            np.array(values, np.float64),
        )
    counts = appender.commit()
    return counts.out_of_order + counts.duplicate
