"""``wavetank.analysis.query.Query`` over a database in this process: no server between."""

from __future__ import annotations

from urllib.parse import parse_qs

import numpy as np

from wavetank.analysis.query import Series
from wavetank.errors import InputError
from wavetank.model.labels import Labels
from wavetank.promql.ast import VectorSelector
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.parser import parse_expr
from wavetank.promql.result import Result
from wavetank.promql.storage import Queryable

__all__ = ["EngineQuery"]


class EngineQuery:
    """Answers at once; coroutines only because the seam has them."""

    def __init__(self, storage: Queryable) -> None:
        self._storage = storage
        # No deadline: it would be an instant of this machine's clock, which the storage does not go by, and
        # what comes of a simulation must not depend on how fast the machine is.
        self._engine = Engine(EngineOptions(timeout_seconds=0.0))

    def vector(self, text: str, ts_ms: int) -> list[tuple[Labels, float]]:
        """As the rules ask: a scalar is one sample without labels."""
        result = self._engine.query_instant(self._storage, text, ts_ms)
        if result.type == "scalar":
            return [(Labels(), result.scalar)]
        return [(labels, value) for labels, _, value in result.vector() if isinstance(value, float)]

    async def get(self, path: str) -> list[dict[str, str]]:
        """``series?match[]=...``, which is what the metrics adapter asks for; times are those given."""
        endpoint, _, query = path.partition("?")
        asked = parse_qs(query)
        selector = parse_expr(asked["match[]"][0]) if endpoint == "series" else None
        if not isinstance(selector, VectorSelector):
            raise InputError(f"{path} is not served in a simulation")
        start = int(float(asked.get("start", ["0"])[0]) * 1000)
        return [dict(labels) for labels in self._storage.series(selector.matchers, start, 1 << 62)]

    async def instant(self, expr: str, at: float) -> list[Series]:
        return _series(self._engine.query_instant(self._storage, expr, round(at * 1000)))

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        found = self._engine.query_range(
            self._storage, expr, round(start * 1000), round(end * 1000), round(step * 1000)
        )
        return _series(found)


def _series(result: Result) -> list[Series]:
    """The rows of a result that have values."""
    times = np.asarray(result.steps, np.float64) / 1000
    if result.type == "scalar":
        return [Series({}, times.tolist(), np.atleast_1d(result.values).ravel().tolist())]
    found = []
    for row, labels in enumerate(result.labels):
        known = result.mask[row]
        values = result.values[row][known]
        if len(values):
            found.append(Series(dict(labels), times[known].tolist(), values.tolist()))
    return found
