"""Chunk encodings, one module each. Mirrors ``tsdb/chunkenc`` of prometheus/prometheus."""

from __future__ import annotations

from typing import Final

__all__ = [
    "FLOAT_HISTOGRAM",
    "FLOAT_HISTOGRAM_ST",
    "HISTOGRAM",
    "HISTOGRAM_ST",
    "XOR",
    "XOR2",
]

XOR: Final = 1
HISTOGRAM: Final = 2
FLOAT_HISTOGRAM: Final = 3
XOR2: Final = 4
HISTOGRAM_ST: Final = 5
FLOAT_HISTOGRAM_ST: Final = 6
