"""A result as the HTTP API's ``data`` object.

Mirrors ``web/api/v1/json_codec.go`` of prometheus/prometheus: times in seconds with up to three decimals,
values as strings, native histograms with their filled buckets. Matrices of floats are written by a kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from wavetank.model.histogram import Bucket, FloatHistogram
from wavetank.model.labels import Labels
from wavetank.model.quoting import format_float
from wavetank.promql.float_text import FLOAT_BYTES_MAX, STAMP_BYTES, power_table, write_matrix, write_stamps
from wavetank.promql.result import Result
from wavetank.promql.vector import Bools, Floats, Ints

__all__ = ["encode_result", "format_time"]

_FEW_VALUES: Final = 8
_BLOCK_BYTES: Final = 64 << 20  # the kernel's buffer is never much larger


def encode_result(result: Result) -> bytes:
    """``{"resultType":...,"result":...}``."""
    head = b'{"resultType":"' + result.type.encode() + b'","result":['
    match result.type:
        case "string":
            body: list[bytes | memoryview] = [format_time(int(result.steps[0])).encode(), _json(result.text)]
        case "scalar":
            value = format_float(result.scalar)
            body = [f'{format_time(int(result.steps[0]))},"{value}"'.encode()]
        case "vector":
            body = list(_vector_rows(result))
        case "matrix":
            body = list(_matrix(result))
    # One join: a matrix may be many megabytes.
    parts: list[bytes | memoryview] = [head]
    for i, part in enumerate(body):
        parts += (b",", part) if i else (part,)
    return b"".join([*parts, b"]}"])


def format_time(ts_ms: int) -> str:
    """Seconds; milliseconds as exactly three decimals, or none."""
    sign = "-" if ts_ms < 0 else ""
    seconds, rest = divmod(abs(ts_ms), 1000)
    return f"{sign}{seconds}.{rest:03d}" if rest else f"{sign}{seconds}"


def _json(text: str) -> bytes:
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        return msgspec.json.encode(text.encode("utf-8", "replace").decode())


def _metric(labels: Labels) -> bytes:
    try:
        return msgspec.json.encode(dict(labels.pairs))
    except UnicodeEncodeError:
        return b"{" + b",".join(_json(n) + b":" + _json(v) for n, v in labels) + b"}"


def _vector_rows(result: Result) -> Iterator[bytes]:
    for labels, ts_ms, value in result.vector():
        if isinstance(value, FloatHistogram):
            sample = f'"histogram":[{format_time(ts_ms)},{_histogram(value)}]'
        else:
            sample = f'"value":[{format_time(ts_ms)},"{format_float(value)}"]'
        yield b'{"metric":' + _metric(labels) + b"," + sample.encode() + b"}"


def _histogram(h: FloatHistogram) -> str:
    buckets = ",".join(_bucket(b) for b in h.buckets() if b.count != 0)
    tail = f',"buckets":[{buckets}]' if buckets else ""
    return f'{{"count":"{format_float(h.count)}","sum":"{format_float(h.sum)}"{tail}}}'


def _bucket(b: Bucket) -> str:
    rule = (3 if b.upper_inclusive else 1) if b.lower_inclusive else 0 if b.upper_inclusive else 2
    return f'[{rule},"{format_float(b.lower)}","{format_float(b.upper)}","{format_float(b.count)}"]'


def _matrix(result: Result) -> Iterator[bytes | memoryview]:
    """The series, one or many in each part."""
    if result.raw is not None or result.histograms is not None:
        yield from _series_rows(result)
        return
    if not len(result.labels):
        return
    if result.values.size <= _FEW_VALUES:
        yield from _few_rows(result)
        return
    steps = np.ascontiguousarray(result.steps, np.int64)
    stamps = np.empty((len(steps), STAMP_BYTES), np.uint8)
    lengths = np.empty(len(steps), np.int64)
    write_stamps(steps, stamps, lengths)
    heads = [b'{"metric":' + _metric(labels) + b',"values":[' for labels in result.labels]
    width = STAMP_BYTES + FLOAT_BYTES_MAX + 3
    rows = max(1, _BLOCK_BYTES // (width * len(stamps)))
    values, mask = np.ascontiguousarray(result.values), np.ascontiguousarray(result.mask)
    for first in range(0, len(heads), rows):
        part = slice(first, first + rows)
        yield _block(heads[part], stamps, lengths, values[part], mask[part])


def _few_rows(result: Result) -> Iterator[bytes]:
    """Of so few values that calling a kernel would take longer."""
    times = [format_time(t) for t in result.steps.tolist()]
    rows = zip(result.labels, result.values.tolist(), result.mask.tolist(), strict=True)
    for labels, values, mask in rows:
        samples = [
            f'[{time},"{format_float(value)}"]'
            for time, value, has in zip(times, values, mask, strict=True)
            if has
        ]
        yield b'{"metric":' + _metric(labels) + b',"values":[' + ",".join(samples).encode() + b"]}"


def _block(
    heads: list[bytes], stamps: npt.NDArray[np.uint8], lengths: Ints, values: Floats, mask: Bools
) -> memoryview:
    joined = b"".join(heads)
    width = STAMP_BYTES + FLOAT_BYTES_MAX + 3
    out = np.empty(len(joined) + 3 * len(heads) + int(np.count_nonzero(mask)) * width + STAMP_BYTES, np.uint8)
    ends = list(itertools.accumulate(map(len, heads)))
    length = write_matrix(
        values,
        mask,
        np.frombuffer(bytearray(joined), np.uint8),
        np.array(ends, np.int64),
        stamps,
        lengths,
        power_table(),
        out,
    )
    return out[:length].data


def _series_rows(result: Result) -> Iterator[bytes]:
    """Row by row: series with histograms, or with times of their own."""
    for labels, times, values, histograms in result.series():
        floats, samples = [], []
        for i, (ts, value) in enumerate(zip(times.tolist(), values.tolist(), strict=True)):
            histogram = None if histograms is None else histograms[i]
            if histogram is None:
                floats.append(f'[{format_time(ts)},"{format_float(value)}"]')
            else:
                samples.append(f"[{format_time(ts)},{_histogram(histogram)}]")
        parts = [b'{"metric":' + _metric(labels)]
        if floats:
            parts.append(f'"values":[{",".join(floats)}]'.encode())
        if samples:
            parts.append(f'"histograms":[{",".join(samples)}]'.encode())
        yield b",".join(parts) + b"}"
