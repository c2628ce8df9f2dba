"""Vector matching over ranges: rows are paired once, yet what clashes is judged step by step."""

import numpy as np
import pytest

from wavetank.model.labels import Labels
from wavetank.promql.engine import Engine, QueryError
from wavetank.promql.promqltest.memory import MemoryStorage

SECOND = 1000
MINUTE = 60 * SECOND


def store(**series: list[float | None]) -> MemoryStorage:
    """``name__label=value`` series, one sample a ten minutes, None for none."""
    out = MemoryStorage()
    for key, values in series.items():
        name, *labels = key.split("__")
        pairs = dict(pair.split("_") for pair in labels)
        points = [(i * 10 * MINUTE, v) for i, v in enumerate(values) if v is not None]
        out.add_series(Labels.of(pairs, __name__=name), points)
    return out


def run(storage: MemoryStorage, text: str) -> dict[str, list[float]]:
    result = Engine().query_range(storage, text, 0, 30 * MINUTE, 10 * MINUTE)
    values = np.where(result.mask, result.values, np.nan)
    return {str(lb): row.tolist() for lb, row in zip(result.labels, values, strict=True)}


def test_one_side_may_change_its_series_over_time() -> None:
    data = store(
        a__i_x=[1, 2, 3, 4],
        info__i_x__pod_old=[1, 1, None, None],
        info__i_x__pod_new=[None, None, 1, 1],
    )
    got = run(data, "a * on (i) group_left (pod) info")
    nan = pytest.approx([float("nan")] * 2, nan_ok=True)
    assert got['{i="x", pod="old"}'][:2] == [1, 2]
    assert got['{i="x", pod="old"}'][2:] == nan
    assert got['{i="x", pod="new"}'][2:] == [3, 4]


def test_one_side_may_not_have_two_series_at_once() -> None:
    data = store(
        a__i_x=[1, 2, 3, 4], info__i_x__pod_old=[1, 1, 1, None], info__i_x__pod_new=[None, None, 1, 1]
    )
    with pytest.raises(QueryError, match="found duplicate series for the match group"):
        run(data, "a * on (i) group_left (pod) info")


def test_two_on_the_many_side_need_group_left() -> None:
    data = store(a__i_x__j_1=[1, 1, 1, 1], a__i_x__j_2=[None, 1, None, None], b__i_x=[1, 1, 1, 1])
    with pytest.raises(QueryError, match="many-to-one matching must be explicit"):
        run(data, "a + on (i) b")
    assert len(run(data, "a + on (i) group_left () b")) == 2


def test_results_that_cannot_be_told_apart() -> None:
    data = store(a__i_x__j_1=[1, 1, 1, 1], a__i_x__j_2=[1, 1, 1, 1], b__i_x=[1, 1, 1, 1])
    with pytest.raises(QueryError, match="grouping labels must ensure unique matches"):
        run(data, "a + on (i) group_left (j) b")


def test_or_takes_from_the_right_only_where_the_left_has_nothing() -> None:
    data = store(a__i_x=[1, None, 3, None], b__i_x=[10, 20, 30, 40])
    got = run(data, "a or b")
    np.testing.assert_equal(got['a{i="x"}'], [1, np.nan, 3, np.nan])
    np.testing.assert_equal(got['b{i="x"}'], [np.nan, 20, np.nan, 40])


def test_names_that_fall_together_are_one_series_if_never_at_once() -> None:
    data = store(a__i_x=[1, None, 3, None], b__i_x=[None, 20, None, 40])
    assert run(data, '-{__name__=~"a|b"}') == {'{i="x"}': [-1, -20, -3, -40]}
    clash = store(a__i_x=[1, None, 3, None], b__i_x=[10, 20, None, 40])
    with pytest.raises(QueryError, match="vector cannot contain metrics with the same labelset"):
        run(clash, '-{__name__=~"a|b"}')


def test_two_hundred_followers_do_not_multiply() -> None:
    data = MemoryStorage()
    for i in range(200):
        data.add_series(Labels.of(__name__="info", i="x", pod=str(i)), [(i * SECOND * 600, 1.0)])
    data.add_series(Labels.of(__name__="a", i="x"), [(i * SECOND * 600, 1.0) for i in range(200)])
    result = Engine().query_range(data, "a * on (i) group_left (pod) info", 0, 120_000 * SECOND, 600 * SECOND)
    assert len(result.labels) == 200
    assert int(result.mask.sum()) == 200
