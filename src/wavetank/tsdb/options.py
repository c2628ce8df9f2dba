"""How a database behaves. Names and defaults as Prometheus' ``tsdb.Options`` and its flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["HOUR_MS", "Compression", "Options"]

Compression = Literal["none", "snappy", "zstd"]
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Options:
    """Times are in milliseconds, sizes in bytes; zero means no limit.

    retention_percent       how much of its disk the database may take; whole blocks go, oldest first
    out_of_order_window_ms  how much older than the newest sample of the head a sample may be. None takes
                            samples of any age, which Prometheus cannot.
    series_max              soft cap on active series: samples of further new series are dropped and counted
    flush_on_close          write the head as blocks when closing, instead of leaving it to the log
    head_chunks_in_memory   full chunks kept in memory before they are written to ``chunks_head`` together
    idle_flush_ms           flush the head when nothing was appended for this long; 0 never
    """

    min_block_ms: int = 2 * HOUR_MS
    max_block_ms: int = 31 * 24 * HOUR_MS
    retention_ms: int = 15 * 24 * HOUR_MS
    retention_bytes: int = 0
    retention_percent: float = 0.0
    out_of_order_window_ms: int | None = None
    series_max: int = 0
    exemplars_max: int = 100_000
    wal_compression: Compression = "snappy"
    wal_segment_bytes: int = 128 * 1024 * 1024
    lock_file: bool = True
    flush_on_close: bool = False
    idle_flush_ms: int = 0
    query_samples_max: int = 50_000_000
    head_chunks_in_memory: int = 2048
