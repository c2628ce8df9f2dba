"""What can go wrong with stored data, by name. Mirrors the error values of ``storage`` and ``tsdb``."""

from __future__ import annotations

from wavetank.errors import CheckFailed, InputError

__all__ = [
    "CorruptionError",
    "DuplicateSample",
    "LockedError",
    "NotHistogram",
    "OutOfBounds",
    "OutOfOrder",
    "QueryLimitExceeded",
    "SeriesLimitReached",
    "StorageError",
]


class StorageError(InputError):
    """Base of everything the storage raises on purpose."""


class CorruptionError(StorageError):
    """Bytes on disk that are not what the format says; the message names file and offset."""


class LockedError(StorageError):
    """Another process has this data directory open."""


class SampleRejected(StorageError):
    """One sample was not taken; a batch counts these instead of raising them."""


class OutOfOrder(SampleRejected):
    """Older than the newest sample of its series, with no out-of-order window open."""


class OutOfBounds(SampleRejected):
    """Older than what the head, or the out-of-order window, still takes."""


class DuplicateSample(SampleRejected):
    """A second value for a timestamp that already has a different one."""


class NotHistogram(SampleRejected):
    """A native histogram whose buckets do not add up or whose spans do not fit them."""


class SeriesLimitReached(SampleRejected):
    """The soft cap on active series is reached: the newest series is dropped and counted."""


class QueryLimitExceeded(CheckFailed):
    """A query asked for more samples or memory than it may use; it fails alone, with the estimate."""
