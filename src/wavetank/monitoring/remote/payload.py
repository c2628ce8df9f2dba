"""Write requests from columns: what one POST carries.

Pure. Labels are rendered once per series and kept as bytes (1.0) or as texts (2.0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.remote.codec import MetadataEntry, fill_histogram
from wavetank.monitoring.remote.messages import METADATA_TYPES, Request, WriteRequest

__all__ = ["Item", "metadata_request", "request_v1", "request_v2"]

Describe = Callable[[str], MetadataEntry | None]


@dataclass(slots=True)
class Item:
    """One series' share of a request."""

    labels: Labels
    samples: list[tuple[int, float]] = field(default_factory=list)
    histograms: list[tuple[int, FloatHistogram]] = field(default_factory=list)
    exemplars: list[tuple[Labels, float, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.samples) + len(self.histograms) + len(self.exemplars)


def request_v1(items: Sequence[Item]) -> bytes:
    """A prometheus.WriteRequest."""
    request = WriteRequest()
    for item in items:
        series = request.timeseries.add()
        for name, value in item.labels:
            series.labels.add(name=name, value=value)
        for at_ms, sample in item.samples:
            series.samples.add(value=sample, timestamp=at_ms)
        for at_ms, histogram in item.histograms:
            fill_histogram(series.histograms.add(), at_ms, histogram)
        for labels, sample, at_ms in item.exemplars:
            exemplar = series.exemplars.add(value=sample, timestamp=at_ms)
            for name, value in labels:
                exemplar.labels.add(name=name, value=value)
    data: bytes = request.SerializeToString()
    return data


class _Symbols:
    """The table of texts of a 2.0 request; the first is the empty one."""

    def __init__(self) -> None:
        self.texts = [""]
        self._number = {"": 0}

    def __call__(self, text: str) -> int:
        number = self._number.get(text)
        if number is None:
            number = self._number[text] = len(self.texts)
            self.texts.append(text)
        return number

    def refs(self, labels: Labels) -> list[int]:
        return [self(text) for pair in labels for text in pair]


_NO_METADATA: Final = MetadataEntry("unknown", "", "")


def request_v2(items: Sequence[Item], describe: Describe) -> bytes:
    """An io.prometheus.write.v2.Request; ``describe`` says what is known of a metric."""
    request = Request()
    symbols = _Symbols()
    for item in items:
        series = request.timeseries.add(labels_refs=symbols.refs(item.labels))
        for at_ms, sample in item.samples:
            series.samples.add(value=sample, timestamp=at_ms)
        for at_ms, histogram in item.histograms:
            fill_histogram(series.histograms.add(), at_ms, histogram)
        for labels, sample, at_ms in item.exemplars:
            series.exemplars.add(labels_refs=symbols.refs(labels), value=sample, timestamp=at_ms)
        known = describe(item.labels.name) or _NO_METADATA
        series.metadata.type = METADATA_TYPES.index(known.type) if known.type in METADATA_TYPES else 0
        series.metadata.help_ref = symbols(known.help)
        series.metadata.unit_ref = symbols(known.unit)
    request.symbols.extend(symbols.texts)
    data: bytes = request.SerializeToString()
    return data


def metadata_request(entries: Mapping[str, MetadataEntry]) -> bytes:
    """A WriteRequest that carries metadata only, as 1.0 sends it now and then."""
    request = WriteRequest()
    for name, entry in entries.items():
        request.metadata.add(
            type=METADATA_TYPES.index(entry.type) if entry.type in METADATA_TYPES else 0,
            metric_family_name=name,
            help=entry.help,
            unit=entry.unit,
        )
    data: bytes = request.SerializeToString()
    return data
