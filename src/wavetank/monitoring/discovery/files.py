"""``static_configs`` and ``file_sd_configs``.

Mirrors discovery/file: JSON or YAML lists of groups, patterns in the last part of the path, groups of a
file that vanished removed, and the last good content kept while a file is broken. Changes are noticed by
looking at modification times every few seconds, not by inotify.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.monitoring.config.discovery import FileSD, StaticConfig
from wavetank.monitoring.discovery.group import Publish, TargetGroup
from wavetank.monitoring.discovery.metrics import Took
from wavetank.yamlfile import load_documents

__all__ = ["FileDiscovery", "StaticDiscovery", "parse_groups", "read_groups"]

_LOOK_SECONDS: Final = 2.0
_LOG = logging.getLogger(__name__)


class StaticDiscovery:
    """Groups that never change."""

    def __init__(self, configs: Sequence[StaticConfig]) -> None:
        self._groups = [
            TargetGroup(str(i), [{"__address__": target} for target in config.targets], config.labels)
            for i, config in enumerate(configs)
        ]

    async def run(self, publish: Publish) -> None:
        publish(self._groups)


class FileDiscovery:
    """Groups in files."""

    def __init__(
        self,
        config: FileSD,
        clock: Clock,
        count_failure: Callable[[], None] = lambda: None,
        took: Took = lambda seconds: None,
    ) -> None:
        self._count_failure = count_failure
        self._took = took
        self._config = config
        self._clock = clock
        self._stamps: dict[Path, float] = {}
        self._sources: dict[Path, int] = {}

    async def run(self, publish: Publish) -> None:
        wait = min(_LOOK_SECONDS, self._config.refresh_interval.seconds)
        while True:
            began = self._clock.monotonic()
            if groups := self.look():
                publish(groups)
            self._took(self._clock.monotonic() - began)
            await self._clock.sleep(wait)

    def times(self) -> dict[str, float]:
        """When each file that was read changed, in Unix seconds."""
        return {str(path): stamp for path, stamp in self._stamps.items()}

    def look(self) -> list[TargetGroup]:
        """The groups that changed since the last look."""
        changed: list[TargetGroup] = []
        stamps = {path: path.stat().st_mtime for path in self._files() if path.exists()}
        for path, stamp in stamps.items():
            if self._stamps.get(path) == stamp:
                continue
            try:
                groups = read_groups(path)
            except InputError as error:
                self._count_failure()
                _LOG.error("file discovery keeps the old targets: %s", error)
                continue
            finally:
                self._stamps[path] = stamp
            changed += groups
            changed += [TargetGroup(f"{path}:{i}") for i in range(len(groups), self._sources.get(path, 0))]
            self._sources[path] = len(groups)
        for path in [known for known in self._stamps if known not in stamps]:
            changed += [TargetGroup(f"{path}:{i}") for i in range(self._sources.pop(path, 0))]
            del self._stamps[path]
        return changed

    def _files(self) -> list[Path]:
        found: list[Path] = []
        for pattern in map(Path, self._config.files):
            found += sorted(pattern.parent.glob(pattern.name))
        return found


def read_groups(path: Path) -> list[TargetGroup]:
    """The groups in a file. Raises InputError with the place."""
    documents = load_documents(path)
    value = documents[0].value if documents else []
    try:
        return parse_groups(value, str(path), {"__meta_filepath": str(path)})
    except ValueError as error:
        raise InputError(str(error), at=path) from None


def parse_groups(value: Any, source: str, labels: Mapping[str, str]) -> list[TargetGroup]:
    """Groups from the JSON form that files and HTTP endpoints share. Raises ValueError."""
    if not isinstance(value, list):
        raise ValueError("expected a list of target groups")
    groups = []
    for i, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise ValueError(f"nil target group item found (index {i})")
        if unknown := set(entry) - {"targets", "labels"}:
            raise ValueError(f"unknown field {min(unknown)!r} in target group {i}; known: targets, labels")
        targets, own = entry.get("targets") or [], entry.get("labels") or {}
        if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
            raise ValueError(f"targets of group {i} must be a list of text")
        if not isinstance(own, dict):
            raise ValueError(f"labels of group {i} must be a mapping")
        merged = {**{str(k): str(v) for k, v in own.items()}, **labels}
        groups.append(TargetGroup(f"{source}:{i}", [{"__address__": target} for target in targets], merged))
    return groups
