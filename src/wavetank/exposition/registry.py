"""Metrics of our own processes. The concepts and names are prometheus_client's; the code is a page.

A metric with label names is a parent of children, one per combination of label values. Light: no NumPy, no
Numba; safe from any thread.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from wavetank.exposition.render import MetricFamily, Sample, render_openmetrics, render_text
from wavetank.model.quoting import format_float_g

__all__ = ["DEFAULT_BUCKETS", "Counter", "Gauge", "Histogram", "Registry", "Summary"]

DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_Key = tuple[str, ...]


class _Vector:
    """Label names, and the children by label values."""

    def __init__(self, name: str, help: str, label_names: Sequence[str]) -> None:
        self.name = name
        self.help = help
        self.label_names = tuple(label_names)
        self.lock = threading.Lock()

    def key(self, values: tuple[object, ...], named: dict[str, object]) -> _Key:
        if named:
            values = (*values, *(named[n] for n in self.label_names[len(values) :]))
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has labels {self.label_names}, not {len(values)} values")
        return tuple(map(str, values))

    def labelled(self, key: _Key) -> dict[str, str]:
        return dict(zip(self.label_names, key, strict=True))


class Counter:
    """A value that only rises; exposed with the suffix ``_total`` as named."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self._vector = _Vector(name, help, labels)
        self._values: dict[_Key, float] = {} if labels else {(): 0.0}

    def inc(self, amount: float = 1.0, *values: object, **labels: object) -> None:
        """Add ``amount`` to the child with these label values."""
        if amount < 0:
            raise ValueError(f"counter {self._vector.name} cannot fall by {-amount}")
        key = self._vector.key(values, labels)
        with self._vector.lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def family(self) -> MetricFamily:
        return _simple_family(self._vector, "counter", self._values)


class Gauge:
    """A value that is set."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self._vector = _Vector(name, help, labels)
        self._values: dict[_Key, float] = {} if labels else {(): 0.0}

    def set(self, value: float, *values: object, **labels: object) -> None:
        key = self._vector.key(values, labels)
        with self._vector.lock:
            self._values[key] = value

    def inc(self, amount: float = 1.0, *values: object, **labels: object) -> None:
        key = self._vector.key(values, labels)
        with self._vector.lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def remove(self, *values: object, **labels: object) -> None:
        """Drop a child, so that it is no longer exposed."""
        with self._vector.lock:
            self._values.pop(self._vector.key(values, labels), None)

    def family(self) -> MetricFamily:
        return _simple_family(self._vector, "gauge", self._values)


def _simple_family(vector: _Vector, kind: str, values: dict[_Key, float]) -> MetricFamily:
    with vector.lock:
        items = list(values.items())
    samples = [Sample(vector.name, vector.labelled(key), value) for key, value in items]
    return MetricFamily(vector.name, kind, vector.help, samples=samples)


class Histogram:
    """Observations counted in buckets with inclusive upper bounds."""

    def __init__(
        self, name: str, help: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> None:
        self._vector = _Vector(name, help, labels)
        self._bounds = [*sorted(b for b in buckets if b != math.inf), math.inf]
        self._counts: dict[_Key, list[int]] = {}
        self._sums: dict[_Key, float] = {}
        if not labels:
            self._counts[()] = [0] * len(self._bounds)
            self._sums[()] = 0.0

    def observe(self, value: float, *values: object, **labels: object) -> None:
        key = self._vector.key(values, labels)
        bucket = bisect.bisect_left(self._bounds, value)
        with self._vector.lock:
            counts = self._counts.get(key)
            if counts is None:
                counts = self._counts[key] = [0] * len(self._bounds)
            counts[min(bucket, len(counts) - 1)] += 1
            self._sums[key] = self._sums.get(key, 0.0) + value

    def family(self) -> MetricFamily:
        with self._vector.lock:
            items = [(key, list(counts), self._sums[key]) for key, counts in self._counts.items()]
        name = self._vector.name
        samples = []
        for key, counts, total in items:
            labels = self._vector.labelled(key)
            seen = 0
            for bound, count in zip(self._bounds, counts, strict=True):
                seen += count
                samples.append(Sample(name + "_bucket", {**labels, "le": format_float_g(bound)}, seen))
            samples.append(Sample(name + "_sum", labels, total))
            samples.append(Sample(name + "_count", labels, seen))
        return MetricFamily(name, "histogram", self._vector.help, samples=samples)


class Summary:
    """Observations with the quantiles of the newest ``WINDOW`` of them, as sum and count of all."""

    QUANTILES = (0.01, 0.05, 0.5, 0.9, 0.99)
    WINDOW = 500

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self._vector = _Vector(name, help, labels)
        self._newest: dict[_Key, deque[float]] = {}
        self._totals: dict[_Key, tuple[float, int]] = {}

    def observe(self, value: float, *values: object, **labels: object) -> None:
        key = self._vector.key(values, labels)
        with self._vector.lock:
            self._newest.setdefault(key, deque(maxlen=self.WINDOW)).append(value)
            total, count = self._totals.get(key, (0.0, 0))
            self._totals[key] = total + value, count + 1

    def family(self) -> MetricFamily:
        with self._vector.lock:
            items = [(key, sorted(newest), *self._totals[key]) for key, newest in self._newest.items()]
        name = self._vector.name
        samples = []
        for key, newest, total, count in items:
            labels = self._vector.labelled(key)
            for quantile in self.QUANTILES:
                value = newest[min(len(newest) - 1, int(quantile * len(newest)))]
                samples.append(Sample(name, {**labels, "quantile": format_float_g(quantile)}, value))
            samples.append(Sample(name + "_sum", labels, total))
            samples.append(Sample(name + "_count", labels, count))
        return MetricFamily(name, "summary", self._vector.help, samples=samples)


_Metric = TypeVar("_Metric", Counter, Gauge, Histogram, Summary)


class Registry:
    """All metrics of a process, in the order of their creation. A name stands for one metric."""

    def __init__(self) -> None:
        self._metrics: dict[str, Counter | Gauge | Histogram | Summary] = {}
        self._collectors: list[Callable[[], Iterable[MetricFamily]]] = []
        self._lock = threading.Lock()

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        return self._added(name, Counter(name, help, labels))

    def gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> Gauge:
        return self._added(name, Gauge(name, help, labels))

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> Histogram:
        return self._added(name, Histogram(name, help, labels, buckets))

    def summary(self, name: str, help: str, labels: Sequence[str] = ()) -> Summary:
        return self._added(name, Summary(name, help, labels))

    def _added(self, name: str, metric: _Metric) -> _Metric:
        with self._lock:
            if name in self._metrics:
                raise ValueError(f"metric {name} is registered already")
            self._metrics[name] = metric
        return metric

    def collector(self, collect: Callable[[], Iterable[MetricFamily]]) -> None:
        """Add families that are made at each gathering."""
        self._collectors.append(collect)

    def gather(self) -> list[MetricFamily]:
        """Families now; those without a sample are left out."""
        with self._lock:
            metrics = list(self._metrics.values())
        families = [m.family() for m in metrics]
        for collect in self._collectors:
            families.extend(collect())
        return [f for f in families if f.samples]

    def text(self) -> bytes:
        """The body of ``/metrics`` in text format."""
        return render_text(self.gather())

    def openmetrics(self) -> bytes:
        """The body of ``/metrics`` in OpenMetrics."""
        return render_openmetrics(self.gather())
