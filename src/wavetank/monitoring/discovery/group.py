"""Target groups: what every discovery mechanism gives.

Mirrors discovery/targetgroup. A group is known by its source; a later group of the same source replaces
it, and one without targets removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Discoverer", "Publish", "TargetGroup"]


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """Targets with labels of their own (always ``__address__``) and labels they share."""

    source: str
    targets: Sequence[Mapping[str, str]] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


Publish = Callable[[Sequence[TargetGroup]], None]


class Discoverer(Protocol):
    """Runs until cancelled and publishes groups as they change. Errors are retried and counted inside."""

    async def run(self, publish: Publish) -> None: ...
