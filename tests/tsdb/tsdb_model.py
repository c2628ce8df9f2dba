"""What a database should hold, kept beside it and compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from wavetank.model.labels import Labels, Matcher, MatchType
from wavetank.tsdb.db import DB

BASE_MS = 1_699_999_200_000  # a multiple of two hours
EVER = (-(1 << 60), 1 << 60)


def matching(name: str, value: str, kind: MatchType = MatchType.EQUAL) -> list[Matcher]:
    return [Matcher(kind, name, value)]


class Model:
    """What the database should hold: value by series and time; writes go to both."""

    def __init__(self, db: DB, series: int = 20) -> None:
        self.db = db
        self.random = np.random.default_rng(7)
        self.labels = [
            Labels.of(__name__=f"metric_{i % 3}", series=str(i), job="test") for i in range(series)
        ]
        self.truth: list[dict[int, float]] = [{} for _ in self.labels]

    def refs(self) -> Any:
        return np.array([self.db.series_ref(labels) for labels in self.labels], np.int64)

    def write(self, first: int, last: int, step_ms: int = 15_000) -> None:
        """One sample per series and step of ``first`` to ``last``, with jitter."""
        refs = self.refs()
        for step in range(first, last):
            times = BASE_MS + step * step_ms + self.random.integers(0, 15, len(refs))
            values = np.cumsum(self.random.normal(size=len(refs)))
            appender = self.db.appender()
            appender.append_batch(refs, times, values)
            counts = appender.commit()
            assert counts.appended == len(refs), counts
            for own, t, v in zip(self.truth, times.tolist(), values.tolist(), strict=True):
                own[t] = v

    def write_late(self, count: int, low_ms: int, high_ms: int) -> None:
        """Samples at random times of the past."""
        refs = self.refs()
        appender = self.db.appender()
        for _ in range(count):
            i = int(self.random.integers(len(refs)))
            t = int(self.random.integers(low_ms, high_ms))
            if t not in self.truth[i]:
                self.truth[i][t] = v = float(self.random.normal())
                appender.append(int(refs[i]), None, t, v)
        counts = appender.commit()
        assert counts.out_of_order == counts.duplicate == 0, counts

    def delete(self, index: int, low_ms: int, high_ms: int) -> None:
        self.db.delete(matching("series", str(index)), low_ms, high_ms)
        self.truth[index] = {t: v for t, v in self.truth[index].items() if not low_ms <= t <= high_ms}

    def check(self, low_ms: int = EVER[0], high_ms: int = EVER[1]) -> None:
        """A query returns exactly what was written."""
        batch = self.db.select(matching("job", "test"), low_ms, high_ms)
        assert list(batch.labels) == sorted(batch.labels)
        found = {}
        for i, labels in enumerate(batch.labels):
            part = slice(batch.offsets[i], batch.offsets[i + 1])
            found[labels] = (batch.timestamps_ms[part].tolist(), batch.values[part].tolist())
        for labels, own in zip(self.labels, self.truth, strict=True):
            inside = sorted((t, v) for t, v in own.items() if low_ms <= t <= high_ms)
            got = found.pop(labels, ([], []))
            assert got == ([t for t, _ in inside], [v for _, v in inside]), labels
        assert not found

    def reopen(self) -> None:
        self.db.close()
        self.db = DB.open(self.db.path, self.db.options, self.db.clock)
