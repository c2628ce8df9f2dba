"""Silences: matchers that mute alerts for a time.

Mirrors silence/silence.go: states, what an update may change in place, history by expiring and creating
anew, retention. Times are Unix seconds.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from wavetank.alerting.matchers import matches
from wavetank.alerting.statelog import StateLog
from wavetank.clock import Clock
from wavetank.model.labels import Matcher, MatchType, is_valid_label_name

__all__ = ["Silence", "SilenceMatcher", "SilenceNotFound", "Silences"]


class SilenceNotFound(KeyError):
    """There is no silence of that id."""

    def __str__(self) -> str:
        return "silence not found"


class SilenceMatcher(msgspec.Struct, frozen=True, rename="camel"):
    """One condition, as the API writes it."""

    name: str
    value: str
    is_regex: bool
    is_equal: bool = True

    def compile(self) -> Matcher:
        """Raises ValueError for a regular expression that is none."""
        if self.is_regex:
            kind = MatchType.REGEXP if self.is_equal else MatchType.NOT_REGEXP
        else:
            kind = MatchType.EQUAL if self.is_equal else MatchType.NOT_EQUAL
        return Matcher(kind, self.name, self.value)


class Silence(msgspec.Struct, frozen=True):
    """One silence; without an id while it is not stored."""

    matchers: tuple[SilenceMatcher, ...]
    starts_at: float
    ends_at: float
    created_by: str = ""
    comment: str = ""
    annotations: dict[str, str] = {}
    id: str = ""
    updated_at: float = 0.0

    def state(self, now: float) -> str:
        if now < self.starts_at:
            return "pending"
        return "expired" if now > self.ends_at else "active"


class Silences:
    """All silences, on disk with every change."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        retention_seconds: float,
        *,
        count_max: int = 0,
        bytes_max: int = 0,
    ) -> None:
        self._log = StateLog(path)
        self._clock = clock
        self._retention = retention_seconds
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._silences: dict[str, Silence] = {}
        self._compiled: dict[str, tuple[Matcher, ...]] = {}
        self._made = 0
        for record in self._log.load():
            self._restore(record)

    def _restore(self, record: Any) -> None:
        try:
            silence = msgspec.convert(record, Silence)
            compiled = tuple(matcher.compile() for matcher in silence.matchers)
        except (msgspec.ValidationError, ValueError):
            self._log.damaged += 1
            return
        self._silences[silence.id] = silence
        self._compiled[silence.id] = compiled

    def __len__(self) -> int:
        return len(self._silences)

    @property
    def size(self) -> int:
        return self._log.size

    @property
    def damaged(self) -> int:
        return self._log.damaged

    def get(self, id_: str) -> Silence:
        """Raises SilenceNotFound."""
        try:
            return self._silences[id_]
        except KeyError:
            raise SilenceNotFound(id_) from None

    def all(self) -> list[Silence]:
        return list(self._silences.values())

    def count(self, state: str) -> int:
        now = self._clock.now()
        return sum(silence.state(now) == state for silence in self._silences.values())

    def muting(self, labels: Mapping[str, str]) -> list[str]:
        """Ids of the active silences that match the labels."""
        now = self._clock.now()
        return [
            id_
            for id_, silence in self._silences.items()
            if silence.state(now) == "active" and matches(self._compiled[id_], labels)
        ]

    def set(self, silence: Silence) -> Silence:
        """Create, or update the one with the same id. What would change history expires the old one and
        creates a new one. Raises SilenceNotFound, ValueError with upstream's text, OSError."""
        now = self._clock.now()
        if not silence.starts_at:
            silence = msgspec.structs.replace(silence, starts_at=now)
        _check(silence)
        old = self.get(silence.id) if silence.id else None
        if old is not None and _updatable(old, silence, now):
            return self._store(msgspec.structs.replace(silence, updated_at=now))
        if 0 < self._count_max <= len(self._silences):
            raise ValueError(
                f"exceeded maximum number of silences: {len(self._silences)} (limit: {self._count_max})"
            )
        new = msgspec.structs.replace(
            silence, id=self._new_id(silence), starts_at=max(silence.starts_at, now), updated_at=now
        )
        self._check_size(new)
        if old is not None and old.state(now) != "expired":
            self.expire(old.id)
        return self._store(new)

    def _new_id(self, silence: Silence) -> str:
        """From what is asked, when, and how often before: no two are equal, and runs can be repeated."""
        self._made += 1
        text = f"{self._clock.seed}/{self._clock.now()}/{self._made}/{len(self._silences)}/{silence!r}"
        return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))

    def _check_size(self, silence: Silence) -> None:
        size = len(msgspec.json.encode(silence))
        if 0 < self._bytes_max < size:
            raise ValueError(f"silence exceeded maximum size: {size} bytes (limit: {self._bytes_max} bytes)")

    def expire(self, id_: str) -> None:
        """End it now; one that has ended stays as it is. Raises SilenceNotFound, OSError."""
        silence = self.get(id_)
        now = self._clock.now()
        match silence.state(now):
            case "active":
                self._store(msgspec.structs.replace(silence, ends_at=now, updated_at=now))
            case "pending":
                self._store(msgspec.structs.replace(silence, starts_at=now, ends_at=now, updated_at=now))

    def _store(self, silence: Silence) -> Silence:
        compiled = tuple(matcher.compile() for matcher in silence.matchers)
        self._log.append(msgspec.to_builtins(silence), durable=True)
        self._silences[silence.id] = silence
        self._compiled[silence.id] = compiled
        return silence

    def collect(self) -> int:
        """Drop those past their retention and rewrite the file; how many that were. Raises OSError."""
        now = self._clock.now()
        gone = [id_ for id_, s in self._silences.items() if s.ends_at + self._retention <= now]
        for id_ in gone:
            del self._silences[id_], self._compiled[id_]
        self._log.rewrite(msgspec.to_builtins(silence) for silence in self._silences.values())
        return len(gone)

    def close(self) -> None:
        self._log.close()


def _check(silence: Silence) -> None:
    if not silence.matchers:
        raise ValueError("invalid silence: at least one matcher required")
    for i, matcher in enumerate(silence.matchers):
        if not is_valid_label_name(matcher.name):
            raise ValueError(
                f'invalid silence: invalid label matcher {i}: invalid label name "{matcher.name}"'
            )
        try:
            matcher.compile()
        except ValueError as error:
            raise ValueError(
                f'invalid silence: invalid label matcher {i}: invalid regular expression "{matcher.value}": '
                f"{error}"
            ) from None
    if all(matcher.compile().matches("") for matcher in silence.matchers):
        raise ValueError("invalid silence: at least one matcher must not match the empty string")
    if not silence.ends_at:
        raise ValueError("invalid silence: invalid zero end timestamp")
    if silence.ends_at < silence.starts_at:
        raise ValueError("invalid silence: end time must not be before start time")


def _updatable(old: Silence, new: Silence, now: float) -> bool:
    """Whether the change leaves what has been muted so far as it was."""
    if old.matchers != new.matchers:
        return False
    match old.state(now):
        case "active":
            return int(old.starts_at) == int(new.starts_at) and new.ends_at >= now
        case "pending":
            return new.starts_at >= now
        case _:
            return False
