"""The index file of a block. Mirrors ``tsdb/index`` of prometheus/prometheus; versions 1, 2 and 3 are read,
version 2 is written."""

from __future__ import annotations

from typing import Final

__all__ = ["MAGIC", "TOC_BYTES"]

MAGIC: Final = 0xBAAAD700
TOC_BYTES: Final = 52
