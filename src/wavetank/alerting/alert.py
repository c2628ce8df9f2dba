"""One alert, and how two reports of it become one.

Mirrors types.Alert and model.Fingerprint. Times are Unix seconds; 0 stands for Go's zero time, "not given".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["Alert", "fingerprint", "merge", "overlaps", "status"]

_OFFSET = 14695981039346656037
_PRIME = 1099511628211
_MASK = (1 << 64) - 1


def fingerprint(labels: Mapping[str, str]) -> str:
    """FNV-1a of names and values in order of the names, as 16 hex digits: upstream's identity of an alert."""
    # A byte 0xFF, which UTF-8 does not have, ends every text.
    texts = [text for pair in sorted(labels.items()) for text in pair]
    joined = b"\xff".join([text.encode("utf-8", "surrogateescape") for text in texts])
    value = _OFFSET
    for byte in joined + b"\xff" if texts else b"":
        value = ((value ^ byte) * _PRIME) & _MASK
    return f"{value:016x}"


class Alert(msgspec.Struct, frozen=True):
    """``timeout``: the end is a guess, made because the sender gave none. Labels are never changed."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str] = {}
    starts_at: float = 0.0
    ends_at: float = 0.0
    updated_at: float = 0.0
    generator_url: str = ""
    timeout: bool = False
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            msgspec.structs.force_setattr(self, "id", fingerprint(self.labels))

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    def resolved(self, now: float) -> bool:
        return self.ends_at != 0 and self.ends_at <= now

    def status(self, now: float) -> str:
        return "resolved" if self.resolved(now) else "firing"


def status(alerts: Sequence[Alert], now: float) -> str:
    """``firing`` while one of them is."""
    return "resolved" if all(alert.resolved(now) for alert in alerts) else "firing"


def overlaps(old: Alert, new: Alert) -> bool:
    """Whether two reports with the same labels are of one occurrence."""
    return (old.starts_at < new.ends_at < old.ends_at) or (old.starts_at < new.starts_at < old.ends_at)


def merge(a: Alert, b: Alert, now: float) -> Alert:
    """The later report, with the earlier start and the end that is better known."""
    if b.updated_at < a.updated_at:
        a, b = b, a
    ends_at = b.ends_at
    if b.resolved(now):
        if a.resolved(now):
            ends_at = max(a.ends_at, b.ends_at)
    elif a.ends_at > b.ends_at and not a.timeout:
        ends_at = a.ends_at
    return msgspec.structs.replace(b, starts_at=min(a.starts_at, b.starts_at), ends_at=ends_at)
