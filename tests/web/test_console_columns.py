"""What the console's graph reads: a block of numbers and the JSON behind it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.promql.result import Result
from wavetank.web.columns import encode_columns

STEPS = np.array([1_000, 2_000, 3_000], np.int64)


def read(body: bytes) -> tuple[np.ndarray, dict]:
    length = int.from_bytes(body[:8], "little")
    return np.frombuffer(body[8 : 8 + length], "<f8"), json.loads(body[8 + length :])


def result(values: list[list[float]], mask: list[list[bool]] | None = None) -> Result:
    labels = [Labels.of(__name__="up", instance=str(i)) for i in range(len(values))]
    made = np.array(values, float).reshape(len(values), len(STEPS))
    held = np.ones(made.shape, bool) if mask is None else np.array(mask)
    return Result("matrix", labels, STEPS, made, held)


def test_series_lie_one_after_the_other_on_the_steps_of_the_query() -> None:
    block, told = read(encode_columns(result([[1, 2, 3], [4, 5, 6]]), 1000, 0))
    assert block.tolist() == [1, 2, 3, 4, 5, 6]
    assert told["columns"][1] == {"__name__": "up", "instance": "1"}
    assert (told["startMs"], told["stepMs"], told["points"], told["total"]) == (1000, 1000, 3, 2)


def test_what_is_missing_or_not_finite_is_nan() -> None:
    block, _ = read(encode_columns(result([[1, np.inf, 3]], [[True, True, False]]), 1000, 0))
    assert block[0] == 1 and np.isnan(block[1:]).all()


def test_a_limit_cuts_series_and_tells_how_many_there_were() -> None:
    block, told = read(encode_columns(result([[1, 2, 3], [4, 5, 6]]), 1000, 1))
    assert len(block) == 3 and len(told["columns"]) == 1 and told["total"] == 2


@pytest.mark.parametrize("limit", [0, 5])
def test_no_series_is_an_empty_block(limit: int) -> None:
    block, told = read(encode_columns(result([]), 1000, limit))
    assert len(block) == 0 and told["columns"] == [] and told["total"] == 0


def test_native_histograms_come_as_the_api_writes_them() -> None:
    found = result([[0, 0, 0]])
    held = np.full((1, 3), None, object)
    held[0, 1] = FloatHistogram()
    found.histograms = held
    block, told = read(encode_columns(found, 1000, 0))
    assert len(block) == 0 and "columns" not in told
    assert told["result"][0]["histograms"][0][0] == 2
