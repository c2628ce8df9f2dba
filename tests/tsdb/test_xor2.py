"""XOR2 chunks, bit by bit as the format's description has them: no encoder of ours made these."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from wavetank.model.value import STALE_NAN_BITS
from wavetank.tsdb.chunkenc.xor2 import decode_xor2

STALE = "stale"
#: (bits, time, value) of the samples from the second on; times begin at 1000 ms with the value 1.0.
SAMPLES: list[tuple[str, int, float | str]] = [
    # delta 15 as uvarint; value `110`: new window, 1 leading zero, 11 significant bits
    ("00001111" "110 00001 001011 11111111111", 1015, 2.0),
    ("0", 1030, 2.0),  # time goes on, value the same
    ("10 1 01100 000001 1", 1045, 3.0),  # time goes on, new window of one bit after twelve zeros
    ("110 0000000000101 0", 1065, 3.0),  # 13 bits: delta grows by five; value the same
    ("11111", 1085, STALE),  # time goes on, staleness marker
    ("1110 11111111111111110110 10 1", 1095, 2.0),  # 20 bits: ten less; the window again, on the old baseline
    ("11110" + format(100_000, "064b") + "111", 101_105, STALE),  # 64 bits; a marker after a value code
    ("10 0 1", 201_115, 3.0),
]  # fmt: skip


def chunk(header: int, start: bytes, samples: list[tuple[str, int, float | str]]) -> bytes:
    bits = "".join(text for text, _, _ in samples).replace(" ", "")
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    # count, header, time 1000 as zigzag varint, value 1.0
    return struct.pack(">HB", len(samples) + 1, header) + b"\xd0\x0f" + struct.pack(">d", 1.0) + start + body


def decoded(data: bytes, count: int) -> tuple[int, list[int], list[int]]:
    times, values = np.zeros(count, np.int64), np.zeros(count)
    run: Any = decode_xor2
    one = [np.array([n], np.int64) for n in (0, len(data), count, 0)]
    fault = run(np.frombuffer(bytearray(data), np.uint8), *one, times, values, 0, 1)
    return int(fault), times.tolist(), values.view(np.uint64).tolist()


def bits_of(value: float | str) -> int:
    return STALE_NAN_BITS if value == STALE else int.from_bytes(struct.pack(">d", value), "big")


@pytest.mark.parametrize(("header", "start"), [(0, b""), (0x80, b"\xc8\x01")])
def test_every_code_of_the_format(header: int, start: bytes) -> None:
    """With a start timestamp of the first sample, which is passed over, and without."""
    fault, times, values = decoded(chunk(header, start, SAMPLES), 9)
    assert fault == -1
    assert times == [1000, *(t for _, t, _ in SAMPLES)]
    assert values == [bits_of(1.0), *(bits_of(v) for _, _, v in SAMPLES)]


@pytest.mark.parametrize("size", [3, 9, 12, 13, 15, 20, 27])
def test_a_chunk_cut_off_is_a_fault(size: int) -> None:
    fault, _, _ = decoded(chunk(0, b"", SAMPLES)[:size], 9)
    assert fault == 0
