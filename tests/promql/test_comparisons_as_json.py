"""A comparison between vectors keeps the left side's values: over a range, and as the API writes them."""

from __future__ import annotations

import json

import pytest

from wavetank.clock import VirtualClock
from wavetank.model.labels import Labels
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.promqltest.memory import MemoryStorage
from wavetank.promql.result_json import encode_result


@pytest.mark.parametrize("query", ["m > m offset 1m", "m != n", "m >= on(a) group_left n", "m and m > n"])
def test_over_a_range(query: str) -> None:
    storage = MemoryStorage()
    for k in range(60):
        storage.add(Labels.of(__name__="m", a="x"), k * 60_000, float(k))
        storage.add(Labels.of(__name__="n", a="x"), k * 60_000, -1.0)
    engine = Engine(EngineOptions(), VirtualClock(3600))
    result = engine.query_range(storage, query, 600_000, 1_800_000, 60_000)
    (series,) = json.loads(encode_result(result))["result"]
    assert [value for _, value in series["values"]] == [str(k) for k in range(10, 31)]
