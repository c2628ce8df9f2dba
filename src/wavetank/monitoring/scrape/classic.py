"""Classic histograms of a target, where they may be stored otherwise than as they come.

Mirrors model/textparse/nhcbparse.go and the classic part of protobufparse.go. Of a histogram that has native
buckets too, and whose job takes those, the classic series are left out; one that has none becomes a native
histogram with custom buckets where the job converts. ``always_scrape_classic_histograms`` keeps the classic
series beside either.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.exposition.samples import Metadata
from wavetank.model.classic_histogram import ClassicHistogram
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import BUCKET_LABEL, METRIC_NAME, Labels

__all__ = ["ClassicParts", "Converted", "Switches"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
_BUCKET, _COUNT, _SUM = range(3)
_KINDS: Final = {"bucket": _BUCKET, "count": _COUNT, "sum": _SUM}
_FIRST_REF: Final = -2  # refs of parts go down from here; -1 and 0 mean other things to the cache


@dataclass(frozen=True, slots=True)
class Switches:
    """What a target's histograms are stored as; relabelling may set it target by target."""

    native: bool = False
    convert: bool = False
    always_classic: bool = False

    @property
    def needed(self) -> bool:
        """Whether classic histograms must be told from other series at all."""
        return self.native or self.convert


@dataclass(frozen=True, slots=True)
class Converted:
    """A classic histogram as a native one; ``sample`` is the index of one of its samples in the scrape."""

    labels: Labels
    histogram: FloatHistogram
    sample: int


@dataclass(frozen=True, slots=True)
class _Part:
    labels: Labels
    group: int
    kind: int
    bound: float


class ClassicParts:
    """The series of a target that are parts of classic histograms, by refs below -1."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._parts: list[_Part] = []
        self._groups: dict[Labels, int] = {}
        self._names: list[Labels] = []

    def learn(self, labels: Labels, metadata: Mapping[str, Metadata]) -> int:
        """What to bind a new series to: its part's ref, 0 if it is no part of a classic histogram."""
        if not self._switches.needed:
            return 0
        base, _, suffix = labels.name.rpartition("_")
        kind = _KINDS.get(suffix)
        if kind is None or base not in metadata or metadata[base].type != "histogram":
            return 0
        bound = 0.0
        if kind == _BUCKET:
            try:
                bound = float(labels.get(BUCKET_LABEL))
            except ValueError:
                return 0
            if math.isnan(bound):
                return 0
        name = labels.without(BUCKET_LABEL).replace(**{METRIC_NAME: base})
        group = self._groups.setdefault(name, len(self._groups))
        if group == len(self._names):
            self._names.append(name)
        self._parts.append(_Part(labels, group, kind, bound))
        return _FIRST_REF - len(self._parts) + 1

    def labels(self, ref: int) -> Labels:
        """The exposed labels of a part."""
        return self._parts[_FIRST_REF - ref].labels

    def name(self, ref: int) -> Labels:
        """The labels of the histogram that a part belongs to."""
        return self._names[self._parts[_FIRST_REF - ref].group]

    def sorted_out(
        self, refs: Int64s, values: Float64s, native: Collection[Labels]
    ) -> tuple[npt.NDArray[np.bool_], list[Converted]]:
        """Which samples are not stored as they are, and the histograms made of them.

        ``native`` are the histograms of the scrape that are stored with native buckets. A classic histogram
        whose counts contradict each other is left out, as upstream does.
        """
        none = np.zeros(len(refs), np.bool_)
        if not self._parts:
            return none, []
        at = np.flatnonzero(refs <= _FIRST_REF)
        if not len(at):
            return none, []
        taken = {self._groups[each] for each in native if each in self._groups}
        if not taken and not self._switches.convert:
            return none, []
        found: dict[int, tuple[ClassicHistogram, int]] = {}
        for i, ref, value in zip(at.tolist(), refs[at].tolist(), values[at].tolist(), strict=True):
            part = self._parts[_FIRST_REF - ref]
            if part.group in taken or not self._switches.convert:
                none[i] = part.group in taken
                continue
            none[i] = True
            histogram, _ = found.setdefault(part.group, (ClassicHistogram(), i))
            if part.kind == _BUCKET:
                histogram.buckets.setdefault(part.bound, value)
            elif part.kind == _COUNT:
                histogram.count = value
            else:
                histogram.sum = value
        if self._switches.always_classic:
            none[:] = False
        made = []
        for group, (histogram, i) in found.items():
            try:
                made.append(Converted(self._names[group], histogram.native(), i))
            except ValueError:
                continue
        return none, made
