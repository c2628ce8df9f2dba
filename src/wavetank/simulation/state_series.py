"""kube-state-metrics of a simulated cluster, made anew only for objects that have changed.

Most objects are the same from one scrape to the next. What ``wavetank.exporters.kube_state`` says of an
object depends on nothing but the object, so it holds for as long as its resourceVersion does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state import KINDS
from wavetank.exporters.kube_state import families as state_families
from wavetank.exposition.render import MetricFamily, Sample
from wavetank.kube.api import Api
from wavetank.kube.resources import BUILT_IN

__all__ = ["Piece", "StateSeries"]

_RESOURCES = {resource.kind: resource for resource in BUILT_IN if resource.kind in KINDS}


@dataclass(slots=True)
class Piece:
    """Samples of one object at one version; ``refs`` of their series are for whoever stores them."""

    version: str
    samples: list[Sample]
    refs: list[int] = field(default_factory=list)


def _samples(found: Iterable[MetricFamily]) -> list[Sample]:
    return [sample for family in found for sample in family.samples]


class StateSeries:
    """``pieces`` are together what ``families`` of all objects would be."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._itself = Piece("", _samples(state_families(dict.fromkeys(_RESOURCES, ()))))
        self._known: dict[tuple[str, str], Piece] = {}

    def pieces(self) -> Iterator[Piece]:
        known: dict[tuple[str, str], Piece] = {}
        for kind, describe in KINDS.items():
            if kind not in _RESOURCES:
                continue
            for item in self._api.bucket(_RESOURCES[kind]).objects():
                metadata = item["metadata"]
                key = (kind, metadata["uid"])
                piece = self._known.get(key)
                if piece is None or piece.version != metadata["resourceVersion"]:
                    found = Families()
                    describe(found, item)
                    piece = Piece(metadata["resourceVersion"], _samples(found.finish()))
                known[key] = piece
                yield piece
        self._known = known
        yield self._itself
