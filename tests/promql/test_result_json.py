"""The JSON of results: number texts against the one-at-a-time formatter, and whole documents."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.model.quoting import format_float
from wavetank.promql.engine import Engine
from wavetank.promql.float_text import STAMP_BYTES, write_stamps
from wavetank.promql.promqltest.memory import MemoryStorage
from wavetank.promql.result import Result
from wavetank.promql.result_json import encode_result, format_time


def matrix(values: list[float]) -> Result:
    row = np.array([values])
    return Result("matrix", [Labels.of(a="b")], np.arange(len(values)), row, np.ones(row.shape, bool))


def texts(values: list[float]) -> list[str]:
    [series] = json.loads(encode_result(matrix(values)))["result"]
    return [value for _, value in series["values"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (9.5e-7, "9.5e-7"),
        (1e-10, "1e-10"),
        (5e-324, "5e-324"),
        (123456789.0, "123456789"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_number_texts(value: float, text: str) -> None:
    assert format_float(value) == text
    assert texts([value]) == [text]


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_kernel_agrees_with_the_reference(values: list[float]) -> None:
    assert texts(values) == [format_float(v) for v in values]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_texts_read_back(value: float) -> None:
    assert float(texts([value])[0]) == value


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20))
def test_the_kernel_writes_times_as_the_reference(times: list[int]) -> None:
    stamps = np.zeros((len(times), STAMP_BYTES), np.uint8)
    lengths = np.zeros(len(times), np.int64)
    write_stamps(np.array(times, np.int64), stamps, lengths)
    written = [stamps[i, :n].tobytes().decode() for i, n in enumerate(lengths.tolist())]
    assert written == [f'[{format_time(t)},"' for t in times]


def test_times_have_three_decimals_or_none() -> None:
    assert [format_time(t) for t in (0, 1500, 1000, 1, -1, -2500)] == [
        "0", "1.500", "1", "0.001", "-0.001", "-2.500",
    ]  # fmt: skip


def storage() -> MemoryStorage:
    out = MemoryStorage()
    out.add_series(Labels.of(__name__="up", job='a"b\u00e9'), [(0, 1.0), (60_000, 0.5)])
    out.add_series(Labels.of(__name__="down"), [(60_000, 2.0)])
    histogram = FloatHistogram(0, 3, 4.5, 0.001, 1, ((0, 2),), (1, 1), ((0, 1),), (0,))
    out.add(Labels.of(__name__="h"), 0, histogram=histogram)
    return out


def encoded(text: str, ts_ms: int = 60_000) -> object:
    return json.loads(encode_result(Engine().query_instant(storage(), text, ts_ms)))


def test_documents() -> None:
    metric = {"__name__": "up", "job": 'a"b\u00e9'}
    assert encoded("up") == {"resultType": "vector", "result": [{"metric": metric, "value": [60, "0.5"]}]}
    assert encoded("1 + 1") == {"resultType": "scalar", "result": [60, "2"]}
    assert encoded('"x"') == {"resultType": "string", "result": [60, "x"]}
    assert encoded("nothing") == {"resultType": "vector", "result": []}
    assert encoded("up[2m]") == {
        "resultType": "matrix",
        "result": [{"metric": metric, "values": [[0, "1"], [60, "0.5"]]}],
    }


def test_histograms_list_their_filled_buckets() -> None:
    expected = {
        "count": "3",
        "sum": "4.5",
        "buckets": [[3, "-0.001", "0.001", "1"], [0, "0.5", "1", "1"], [0, "1", "2", "1"]],
    }
    assert encoded("h") == {
        "resultType": "vector",
        "result": [{"metric": {"__name__": "h"}, "histogram": [60, expected]}],
    }
    ranged = Engine().query_range(storage(), "h", 0, 60_000, 60_000)
    [series] = json.loads(encode_result(ranged))["result"]
    assert series == {"metric": {"__name__": "h"}, "histograms": [[0, expected], [60, expected]]}


def test_matrix_leaves_gaps_out() -> None:
    result = Engine().query_range(storage(), '{__name__=~"up|down"}', 0, 60_000, 30_000)
    rows = json.loads(encode_result(result))["result"]
    assert [r["metric"]["__name__"] for r in rows] == ["down", "up"]
    assert rows[0]["values"] == [[60, "2"]]
    assert rows[1]["values"] == [[0, "1"], [30, "1"], [60, "0.5"]]


def test_large_matrices_are_written_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(600, dtype=np.float64).reshape(20, 30)
    labels = [Labels.of(i=str(i)) for i in range(20)]
    result = Result("matrix", labels, np.arange(30) * 1000, values, values % 7 != 0)
    whole = encode_result(result)
    monkeypatch.setattr("wavetank.promql.result_json._BLOCK_BYTES", 4000)
    assert encode_result(result) == whole
    assert len(json.loads(whole)["result"]) == 20


def test_text_that_is_not_utf8_is_still_json() -> None:
    result = Engine().query_instant(storage(), 'label_replace(up, "x", "a\\xffb", "", "")', 60_000)
    assert json.loads(encode_result(result))["result"][0]["metric"]["x"] == "a?b"
