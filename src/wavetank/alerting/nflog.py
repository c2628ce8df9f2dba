"""The notification log: what each integration was last told of each group.

Mirrors nflog/nflog.go and the decision of notify's dedup stage. An entry is kept until it cannot matter any
more, at most for the retention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from wavetank.alerting.statelog import StateLog

__all__ = ["FIRST_NOTIFICATION", "Entry", "NotificationLog", "Standing", "reason_to_notify"]

FIRST_NOTIFICATION: Final = "first notification"

_COMPACT_FACTOR = 4  # the file is rewritten when it has this many times the records that hold
_COMPACT_MIN = 1000


class Entry(msgspec.Struct, frozen=True):
    """``key`` is group key, receiver, integration and its index, joined. ``data`` is the integration's."""

    key: str
    timestamp: float
    firing: frozenset[str]
    resolved: frozenset[str]
    expires_at: float
    data: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Standing:
    """What a group's alerts are now."""

    firing: frozenset[str]
    resolved: frozenset[str]


def reason_to_notify(
    entry: Entry | None, now: Standing, *, send_resolved: bool, repeat_seconds: float, at: float
) -> str | None:
    """Upstream's text of why to notify; None not to."""
    if entry is None:
        return FIRST_NOTIFICATION if now.firing else None
    if not now.firing <= entry.firing:
        # After all was resolved the group begins anew.
        return "new alerts added" if entry.firing else FIRST_NOTIFICATION
    if not now.firing:
        # Whatever send_resolved says: the firing alerts must leave the log.
        return "all alerts resolved" if entry.firing else None
    if send_resolved and not now.resolved <= entry.resolved:
        return "some alerts resolved"
    return "repeat interval elapsed" if entry.timestamp < at - repeat_seconds else None


class NotificationLog:
    """In memory, and on disk with every change. A disk that refuses is reported by ``write_failed``."""

    def __init__(self, path: Path, retention_seconds: float) -> None:
        self._log = StateLog(path)
        self._retention = retention_seconds
        self._entries: dict[str, Entry] = {}
        self._records = 0
        self.write_errors = 0
        for record in self._log.load():
            self._records += 1
            try:
                entry = msgspec.convert(record, Entry)
            except msgspec.ValidationError:
                self._log.damaged += 1
                continue
            self._entries[entry.key] = entry

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        return self._log.size

    @property
    def damaged(self) -> int:
        return self._log.damaged

    def query(self, key: str, now: float) -> Entry | None:
        entry = self._entries.get(key)
        return None if entry is None or entry.expires_at <= now else entry

    def record(
        self,
        key: str,
        standing: Standing,
        now: float,
        repeat_seconds: float,
        data: Mapping[str, str] | None = None,
    ) -> None:
        """Note a notification. Raises OSError if it could not be written; it holds in memory."""
        lasts = min(self._retention, 2 * repeat_seconds)
        entry = Entry(key, now, standing.firing, standing.resolved, now + lasts, dict(data or {}))
        self._entries[key] = entry
        self._records += 1
        self._log.append(_record(entry), durable=False)

    def collect(self, now: float) -> int:
        """Drop what has expired and rewrite the file where it has grown; how many were dropped."""
        gone = [key for key, entry in self._entries.items() if entry.expires_at <= now]
        for key in gone:
            del self._entries[key]
        if gone or self._records > max(_COMPACT_MIN, _COMPACT_FACTOR * len(self._entries)):
            self.snapshot()
        return len(gone)

    def snapshot(self) -> None:
        """Rewrite the file. Raises OSError."""
        self._log.rewrite(_record(entry) for entry in self._entries.values())
        self._records = len(self._entries)

    def close(self) -> None:
        self._log.close()


def _record(entry: Entry) -> dict[str, object]:
    data = {"data": entry.data} if entry.data else {}
    return {
        "key": entry.key,
        "timestamp": entry.timestamp,
        "firing": sorted(entry.firing),
        "resolved": sorted(entry.resolved),
        "expires_at": entry.expires_at,
        **data,
    }
