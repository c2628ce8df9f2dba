"""The groups that were pushed, and whether one more push fits them.

Mirrors storage/diskmetricstore.go: what PUT and POST replace, the times of the last success and failure,
which inconsistencies refuse a push. The file is written at most every ``interval`` seconds and at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from wavetank.errors import InputError
from wavetank.exposition.render import MetricFamily, Sample
from wavetank.limits import PUSH_GROUPS_MAX
from wavetank.monitoring.pushgateway.push import Family, PushedSample

__all__ = ["Group", "Groups", "Inconsistent", "TooManyGroups"]

_SUCCESS: Final = "push_time_seconds"
_FAILURE: Final = "push_failure_time_seconds"
_HELP: Final = {
    _SUCCESS: "Last Unix time when changing this group in the Pushgateway succeeded.",
    _FAILURE: "Last Unix time when changing this group in the Pushgateway failed.",
}
_VERSION: Final = 1
_Key = tuple[tuple[str, str], ...]
_Series = tuple[str, tuple[tuple[str, str], ...]]


class Inconsistent(ValueError):
    """A push that contradicts itself or what is there."""


class TooManyGroups(ValueError):
    """There is no room for another group."""


class Group(msgspec.Struct):
    """All families under one grouping key."""

    labels: dict[str, str]
    families: dict[str, Family]

    @property
    def last_push_successful(self) -> bool:
        return self._time(_FAILURE) < self._time(_SUCCESS)

    def _time(self, name: str) -> float:
        family = self.families.get(name)
        return family.samples[0].value if family is not None else 0.0


class _File(msgspec.Struct):
    """In MessagePack: JSON has no NaN."""

    version: int
    groups: list[Group]


class Groups:
    """Groups by key. ``own`` are the server's own families: a push may not clash with those either."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises InputError for a file that cannot be read."""
        self._path = path
        self._groups: dict[_Key, Group] = {}
        self.own: dict[str, str] = {}
        self.changes = 0
        self._written = 0
        if path is not None and path.exists():
            self._load(path)

    def __len__(self) -> int:
        return len(self._groups)

    def all(self) -> list[Group]:
        return list(self._groups.values())

    def push(
        self,
        labels: Mapping[str, str],
        families: Mapping[str, Family],
        now: float,
        *,
        replace: bool,
        check: bool,
    ) -> None:
        """Take a push. Raises Inconsistent, and then only the time of the failure is noted."""
        group = self._group(labels)
        kept = {} if replace else group.families
        merged = {**kept, **families}
        if check:
            try:
                self._check(labels, merged)
            except Inconsistent:
                self.failed(labels, now)
                raise
        failure = group.families.get(_FAILURE) or _time_family(_FAILURE, labels, 0.0, now)
        merged[_SUCCESS] = _time_family(_SUCCESS, labels, now, now)
        merged[_FAILURE] = failure
        group.families = merged
        self._groups[_key(labels)] = group
        self.changes += 1

    def failed(self, labels: Mapping[str, str], now: float) -> None:
        """Note that a push to this group failed. Raises TooManyGroups."""
        group = self._group(labels)
        group.families[_FAILURE] = _time_family(_FAILURE, labels, now, now)
        group.families.setdefault(_SUCCESS, _time_family(_SUCCESS, labels, 0.0, now))
        self._groups[_key(labels)] = group
        self.changes += 1

    def _group(self, labels: Mapping[str, str]) -> Group:
        found = self._groups.get(_key(labels))
        if found is None:
            if len(self._groups) >= PUSH_GROUPS_MAX:
                raise TooManyGroups(f"more than {PUSH_GROUPS_MAX} groups")
            found = Group(dict(labels), {})
        return found

    def delete(self, labels: Mapping[str, str]) -> None:
        if self._groups.pop(_key(labels), None) is not None:
            self.changes += 1

    def wipe(self) -> None:
        self._groups.clear()
        self.changes += 1

    def _check(self, labels: Mapping[str, str], families: Mapping[str, Family]) -> None:
        """Raises Inconsistent for a second type of a name, and for a series that is there twice."""
        others = [group for key, group in self._groups.items() if key != _key(labels)]
        for name, family in families.items():
            seen: set[_Series] = set()
            for sample in family.samples:
                series = (sample.name, tuple(sample.labels.items()))
                if series in seen:
                    raise Inconsistent(_twice(sample))
                seen.add(series)
            if (own := self.own.get(name)) is not None:
                raise Inconsistent(f"metric {name} is one of the Pushgateway's own, a {own}")
            for group in others:
                other = group.families.get(name)
                if other is None:
                    continue
                if other.type != family.type:
                    raise Inconsistent(
                        f'gathered metric family {name} has inconsistent types: "{other.type}" and '
                        f'"{family.type}"'
                    )
                for sample in other.samples:
                    if (sample.name, tuple(sample.labels.items())) in seen:
                        raise Inconsistent(_twice(sample))

    def families(self) -> list[MetricFamily]:
        """All groups merged by name, sorted; of several help texts the first stays."""
        merged: dict[str, tuple[Family, list[Sample]]] = {}
        for group in self._groups.values():
            for name, family in group.families.items():
                _, samples = merged.setdefault(name, (family, []))
                samples += [Sample(s.name, s.labels, s.value) for s in family.samples]
        return [
            MetricFamily(name, merged[name][0].type, merged[name][0].help, samples=merged[name][1])
            for name in sorted(merged)
        ]

    def _load(self, path: Path) -> None:
        try:
            file = msgspec.msgpack.decode(path.read_bytes(), type=_File)
        except OSError as error:
            raise InputError(f"cannot read the persistence file: {error.strerror}", at=path) from None
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
            raise InputError(
                "not a persistence file of wavetank pushgateway",
                at=path,
                fix="upstream's files are not read: move it away, jobs will push again",
            ) from None
        if file.version != _VERSION:
            raise InputError(f"persistence file of version {file.version}", at=path)
        self._groups = {_key(group.labels): group for group in file.groups}

    @property
    def unsaved(self) -> bool:
        return self._path is not None and self.changes != self._written

    def save(self) -> None:
        """Write the file, atomically. Raises OSError."""
        if self._path is None:
            return
        changes = self.changes
        temporary = self._path.with_name(self._path.name + ".in_progress")
        with temporary.open("wb") as file:
            file.write(msgspec.msgpack.encode(_File(_VERSION, self.all())))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        self._written = changes


def _key(labels: Mapping[str, str]) -> _Key:
    return tuple(sorted(labels.items()))


def _twice(sample: PushedSample) -> str:
    pairs: Iterable[str] = (f'label:{{name:"{n}" value:"{v}"}}' for n, v in sample.labels.items())
    shown = " ".join(pairs)
    return (
        f'collected metric "{sample.name}" {{ {shown} }} was collected before with the same name and label '
        "values"
    )


def _time_family(name: str, labels: Mapping[str, str], value: float, now: float) -> Family:
    merged = {"instance": "", **labels}
    sample = PushedSample(name, {label: merged[label] for label in sorted(merged)}, value)
    return Family(name, "gauge", _HELP[name], (sample,), now)
