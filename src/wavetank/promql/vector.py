"""The engine's one data structure: series times steps.

An instant vector evaluated over a range of steps is a matrix: one row per series, one column per step. A
scalar is a single row. Operators work on whole matrices; a mask says where a series has a sample. Native
histograms, which are rare, live in a parallel matrix of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wavetank.model.interned import InternedLabels
from wavetank.model.labels import Labels
from wavetank.promql.failures import QueryError

__all__ = [
    "Bools",
    "Floats",
    "Ints",
    "Objects",
    "Steps",
    "Vector",
    "any_in_rows",
    "empty_vector",
    "is_present",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Objects: TypeAlias = npt.NDArray[Any]

_NOTHING: Objects = np.array(None, object)
SAME_LABELSET = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, slots=True)
class Steps:
    """The instants of an evaluation, in ms; ``interval`` is 1 for a single one."""

    times: Ints
    interval: int

    @classmethod
    def of(cls, start: int, end: int, interval: int) -> Steps:
        count = (end - start) // interval + 1 if end >= start else 0
        return cls(np.arange(start, start + count * interval, interval, dtype=np.int64), interval)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def first(self) -> int:
        return int(self.times[0])

    @property
    def last(self) -> int:
        return int(self.times[-1])


@dataclass(slots=True)
class Vector:
    """An instant vector at each of k steps.

    labels      n label sets, one per row
    values      float64[n, k]; meaningless where there is no float
    mask        bool[n, k]: whether there is a sample
    drop        bool[n]: whether the metric's name goes at the end (delayed name removal)
    histograms  None, or object[n, k]: a FloatHistogram or None
    is_histogram  None, or bool[n, k]: where ``histograms`` has one
    """

    labels: Sequence[Labels]
    values: Floats
    mask: Bools
    drop: Bools
    histograms: Objects | None = None
    is_histogram: Bools | None = None

    @classmethod
    def of_floats(
        cls, labels: Sequence[Labels], values: Floats, mask: Bools, drop: Bools | None = None
    ) -> Vector:
        return cls(labels, values, mask, np.zeros(len(labels), np.bool_) if drop is None else drop)

    @property
    def float_mask(self) -> Bools:
        """bool[n, k]: where there is a float sample."""
        return self.mask if self.is_histogram is None else self.mask & ~self.is_histogram

    @property
    def size_samples(self) -> int:
        count = int(np.count_nonzero(self.mask))
        if self.histograms is not None:
            assert self.is_histogram is not None
            count += sum(h.size_samples - 1 for h in self.histograms[self.is_histogram])
        return count

    @property
    def size_bytes(self) -> int:
        cells = self.values.size * 9
        return cells if self.histograms is None else cells + self.histograms.size * 9

    def rows(self, index: npt.NDArray[Any] | slice) -> Vector:
        """A choice of rows, by indexes or a mask."""
        labels: Sequence[Labels]
        if isinstance(self.labels, InternedLabels) and isinstance(index, np.ndarray):
            labels = self.labels.subset(index) if index.dtype == np.bool_ else self.labels.take(index)
        else:
            labels = [self.labels[i] for i in np.arange(len(self.labels))[index].tolist()]
        return Vector(
            labels,
            self.values[index],
            self.mask[index],
            self.drop[index],
            None if self.histograms is None else self.histograms[index],
            None if self.is_histogram is None else self.is_histogram[index],
        )

    def without_empty(self) -> Vector:
        """Only the rows that have a sample at some step."""
        mask = self.mask
        if mask.size and np.count_nonzero(mask) == mask.size:
            return self
        filled = any_in_rows(mask)
        return self if filled.all() else self.rows(filled)

    def named(self, labels: Sequence[Labels]) -> Vector:
        """The same under other labels."""
        return Vector(labels, self.values, self.mask, self.drop, self.histograms, self.is_histogram)

    def with_mask(self, mask: Bools) -> Vector:
        return Vector(self.labels, self.values, mask, self.drop, self.histograms, self.is_histogram)

    def broadcast(self, steps: int) -> Vector:
        """One step repeated, as views."""
        shape = (len(self.labels), steps)
        return Vector(
            self.labels,
            np.broadcast_to(self.values, shape),
            np.broadcast_to(self.mask, shape),
            self.drop,
            None if self.histograms is None else np.broadcast_to(self.histograms, shape),
            None if self.is_histogram is None else np.broadcast_to(self.is_histogram, shape),
        )


def any_in_rows(mask: Bools) -> Bools:
    """bool[n]: whether a row of bool[n, k] has any; of an instant query's it is the one column."""
    return mask[:, 0] if mask.shape[1] == 1 else np.asarray(mask.any(axis=1))


def is_present(objects: Objects) -> Bools:
    """Where an array of objects holds something."""
    return np.not_equal(objects, _NOTHING).astype(np.bool_)


def empty_vector(steps: int) -> Vector:
    return Vector.of_floats([], np.zeros((0, steps)), np.zeros((0, steps), np.bool_))


def stack(vectors: Sequence[Vector]) -> Vector:
    """The rows of all, one below the other."""
    present = [v for v in vectors if len(v.labels)] or list(vectors[:1])
    if len(present) == 1:
        return present[0]
    histograms = is_histogram = None
    if any(v.histograms is not None for v in present):
        histograms = np.concatenate([_histograms_of(v) for v in present])
        is_histogram = np.concatenate([_is_histogram_of(v) for v in present])
    return Vector(
        [label for v in present for label in v.labels],
        np.concatenate([v.values for v in present]),
        np.concatenate([v.mask for v in present]),
        np.concatenate([v.drop for v in present]),
        histograms,
        is_histogram,
    )


def _histograms_of(vector: Vector) -> Objects:
    return np.full(vector.values.shape, None, object) if vector.histograms is None else vector.histograms


def _is_histogram_of(vector: Vector) -> Bools:
    return np.zeros(vector.mask.shape, np.bool_) if vector.is_histogram is None else vector.is_histogram


def merge_same_labels(vector: Vector, *, message: str = SAME_LABELSET) -> Vector:
    """Rows with equal labels become one, if they never have a sample at the same step; else QueryError."""
    first_of: dict[Labels, int] = {}
    target = [first_of.setdefault(label, i) for i, label in enumerate(vector.labels)]
    if len(first_of) == len(target):
        return vector
    values, mask = vector.values.copy(), vector.mask.copy()
    histograms = None if vector.histograms is None else vector.histograms.copy()
    is_histogram = None if vector.is_histogram is None else vector.is_histogram.copy()
    for row, into in enumerate(target):
        if row == into:
            continue
        here = vector.mask[row]
        if (mask[into] & here).any():
            raise QueryError(message)
        values[into] = np.where(here, vector.values[row], values[into])
        mask[into] |= here
        if histograms is not None and is_histogram is not None and vector.histograms is not None:
            histograms[into][here] = vector.histograms[row][here]
            is_histogram[into][here] = vector.is_histogram[row][here]  # type: ignore[index]
    merged = Vector(vector.labels, values, mask, vector.drop, histograms, is_histogram)
    return merged.rows(np.array(sorted(first_of.values()), np.int64))


def refuse_same_labels(vector: Vector) -> None:
    """QueryError if two rows have equal labels, whatever their samples."""
    if len(set(vector.labels)) != len(vector.labels):
        raise QueryError(SAME_LABELSET)
