"""Keys of new series are those of the labels that the parser reads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.exposition.fresh_series import FixedLabels, FreshSeries
from wavetank.exposition.scrape_cache import ScrapeCache
from wavetank.exposition.text import parse_series
from wavetank.model.labels import Labels
from wavetank.tsdb.series_table import key_of

TARGET = Labels.of(instance="10.0.0.1:9100", job="node")
TEXT = "text/plain; version=0.0.4"
NAMES = st.sampled_from(["a", "le", "quantile", "job", "zone", "b_1", "A", "__name__", "_"])
VALUES = st.one_of(
    st.lists(st.sampled_from([*"ab1.0 {},=+-eInf", "\\\\", "\\n", '\\"', "\u00e4"]), max_size=8).map("".join),
    st.sampled_from(["1", "0.5", "10", "0.00001", "1e3", "+Inf", "1.50", "007", "0", "1.0", "x" * 200]),
)
SERIES = st.builds(
    lambda name, pairs, comma: (
        name + ("{" + ",".join(f'{n}="{v}"' for n, v in pairs) + comma + "}" if pairs else "")
    ),
    st.sampled_from(["m", "m_total", "Z:x", "zz"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.sampled_from(["", ","]),
)


def fresh(lines: list[str], kind: str = "gauge") -> FreshSeries | list[tuple[int, Labels]]:
    body = f"# TYPE m {kind}\n" + "".join(line + " 1\n" for line in lines)
    new = ScrapeCache().parse(body.encode(), TEXT, default_timestamp_ms=0).new
    assert isinstance(new, FreshSeries) or not lines
    return new


def keys(found: FreshSeries, fixed: Labels) -> list[bytes]:
    raw, offsets = found.keys(FixedLabels(fixed))
    return [raw[a:b].tobytes() for a, b in itertools.pairwise(offsets.tolist())]


@settings(max_examples=200)
@given(
    st.lists(SERIES, min_size=1, max_size=4, unique=True), st.sampled_from(["gauge", "histogram", "summary"])
)
def test_keys_are_those_of_the_labels(lines: list[str], kind: str) -> None:
    found = fresh(lines, kind)
    assert isinstance(found, FreshSeries)
    made = keys(found, TARGET)
    for i, (line, key) in enumerate(zip(lines, made, strict=True)):
        exposed = parse_series(line.encode(), kind)
        assert found[i] == (i, exposed)
        if key:
            assert not {name for name, _ in exposed} & {"instance", "job"}
            assert key == key_of(Labels.of(exposed.pairs, **TARGET.to_dict()))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('m{path="/v1/\\"items\\"\\n\\\\",code="200"}', "counter"),
        ('m_bucket{le="1",path="a"}', "histogram"),
        ('m_bucket{le="0.25"}', "histogram"),
        ('m_bucket{le="+Inf"}', "histogram"),
        ('m{quantile="0.99",empty=""}', "summary"),
        ("m", "gauge"),
        ("m{}", "gauge"),
        ('m{a="b",}', "gauge"),
        ('m{text="' + "x" * 300 + '"}', "gauge"),
    ],
)
def test_the_common_notation_needs_no_parser(line: str, kind: str) -> None:
    found = fresh([line], kind)
    assert isinstance(found, FreshSeries)
    exposed = parse_series(line.encode(), kind)
    assert keys(found, TARGET) == [key_of(Labels.of(exposed.pairs, **TARGET.to_dict()))]


@pytest.mark.parametrize(
    "line", ['m{job="x"}', 'm{a="1",a="2"}', 'm{a="\u00e4"}', 'm{ a="1" }', 'm{__name__="x"}']
)
def test_what_is_not_common_is_left_to_it(line: str) -> None:
    found = fresh([line])
    assert isinstance(found, FreshSeries)
    assert keys(found, TARGET) == [b""]
    assert found[0][1] == parse_series(line.encode(), "gauge")
    assert np.array_equal(found.samples, [0])
