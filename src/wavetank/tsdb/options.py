"""How a database behaves. Names and defaults as Prometheus' ``tsdb.Options`` and its flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from wavetank.model.labels import Matcher

__all__ = ["HOUR_MS", "Compression", "Downsample", "FloatEncoding", "Keep", "Options", "RetentionRule"]

Compression = Literal["none", "snappy", "zstd"]
Keep = Literal["last", "min", "max", "avg"]
FloatEncoding = Literal["xor", "xor2"]
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Downsample:
    """One sample every ``to_ms`` in blocks older than ``after_ms``: the last, or the min, max or avg."""

    after_ms: int
    to_ms: int
    keep: Keep = "last"


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What is kept of the series that all ``matchers`` choose. ``time_ms`` 0 is the database's own."""

    matchers: tuple[Matcher, ...] = ()
    time_ms: int = 0
    downsample: tuple[Downsample, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """Times are in milliseconds, sizes in bytes; zero means no limit.

    retention_percent       how much of its disk the database may take; whole blocks go, oldest first
    retention_rules         other retention, and downsampling, of series by matchers; the first match decides
    out_of_order_window_ms  how much older than the newest sample of the head a sample may be. None takes
                            samples of any age, which Prometheus cannot.
    series_max              soft cap on active series: samples of further new series are dropped and counted
    flush_on_close          write the head as blocks when closing, instead of leaving it to the log
    created_zeros           append a zero where a counter began (created-timestamp-zero-ingestion)
    start_storage           keep start timestamps of samples in the log and in blocks (st-storage); blocks
                            hold those of floats in XOR2 chunks
    float_chunks            encoding of float chunks in new blocks; 2.x reads "xor" only
    histogram_starts        keep those of native histograms in blocks (histograms-st-encoding)
    snapshot_on_close       write what is in memory when closing, so that the next open need not read the log
                            (memory-snapshot-on-shutdown)
    head_chunks_in_memory   full chunks kept in memory before they are written to ``chunks_head`` together
    uploads_file            where another program notes the blocks it has copied; others of the first level
                            are not merged (--storage.tsdb.delay-compact-file.path)
    idle_flush_ms           flush the head when nothing was appended for this long; 0 never
    """

    min_block_ms: int = 2 * HOUR_MS
    max_block_ms: int = 31 * 24 * HOUR_MS
    retention_ms: int = 15 * 24 * HOUR_MS
    retention_bytes: int = 0
    retention_percent: float = 0.0
    retention_rules: tuple[RetentionRule, ...] = ()
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
    created_zeros: bool = False
    start_storage: bool = False
    float_chunks: FloatEncoding = "xor"
    histogram_starts: bool = False
    snapshot_on_close: bool = False
    uploads_file: Path | None = None
