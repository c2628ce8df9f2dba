"""What a source has beside samples: exemplars and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from wavetank.limits import IMPORT_PUSH_SAMPLES
from wavetank.model.labels import Labels
from wavetank.monitoring.remote.codec import MetadataEntry
from wavetank.monitoring.remote.payload import Item, metadata_request, request_v1

__all__ = ["Extras", "extras_request"]


@dataclass(slots=True)
class Extras:
    """Exemplars as series, labels, value and milliseconds; metadata by metric."""

    exemplars: list[tuple[Labels, Labels, float, int]] = field(default_factory=list)
    metadata: dict[str, MetadataEntry] = field(default_factory=dict)

    def with_labels(self, more: dict[str, str]) -> Extras:
        """The same, with labels put on every series."""
        if not more:
            return self
        exemplars = [(Labels.of(series, **more), *rest) for series, *rest in self.exemplars]
        return Extras(exemplars, self.metadata)  # type: ignore[arg-type]


def extras_request(extras: Extras) -> Iterator[bytes]:
    """Remote write requests that carry them."""
    ordered = sorted(extras.exemplars, key=lambda exemplar: exemplar[3])
    for first in range(0, len(ordered), IMPORT_PUSH_SAMPLES):
        by_series: dict[Labels, Item] = {}
        for series, labels, value, at_ms in ordered[first : first + IMPORT_PUSH_SAMPLES]:
            by_series.setdefault(series, Item(series)).exemplars.append((labels, value, at_ms))
        yield request_v1(list(by_series.values()))
    if extras.metadata:
        yield metadata_request(extras.metadata)
