"""Special float values. Mirrors prometheus/model/value.

A staleness marker is one particular NaN; compare bits, never values.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["NORMAL_NAN", "NORMAL_NAN_BITS", "STALE_NAN", "STALE_NAN_BITS", "is_stale_nan"]

STALE_NAN_BITS: Final = 0x7FF0000000000002
NORMAL_NAN_BITS: Final = 0x7FF8000000000001
STALE_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
NORMAL_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", NORMAL_NAN_BITS))[0]


def is_stale_nan(value: float) -> bool:
    return bool(struct.unpack("<Q", struct.pack("<d", value))[0] == STALE_NAN_BITS)
