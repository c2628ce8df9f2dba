"""Strings and numbers as Go prints them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.model.labels import Labels, Matcher, MatchType, braced
from wavetank.model.quoting import format_float_f, format_float_g, quote


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\n\t\a\x7f\x00", '"\\n\\t\\a\\x7f\\x00"'),
        ("\u00e9\u70ac", '"\u00e9\u70ac"'),
        ("\u200b", '"\\u200b"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("value", "f", "g"),
    [
        (0.0, "0", "0"),
        (-0.0, "-0", "-0"),
        (1.5, "1.5", "1.5"),
        (100000.0, "100000", "100000"),
        (1000000.0, "1000000", "1e+06"),
        (123456789.0, "123456789", "1.23456789e+08"),
        (0.0001, "0.0001", "0.0001"),
        (0.00001, "0.00001", "1e-05"),
        (1e22, "10000000000000000000000", "1e+22"),
        (2.5e-10, "0.00000000025", "2.5e-10"),
        (math.inf, "+Inf", "+Inf"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_numbers(value: float, f: str, g: str) -> None:
    assert format_float_f(value) == f
    assert format_float_g(value) == g


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back(value: float) -> None:
    assert float(format_float_f(value)) == value
    assert float(format_float_g(value)) == value


def test_labels_and_matchers_print() -> None:
    utf8 = Labels.of({"__name__": "a.b", "c.d": "x", "e": 'y"'})
    assert str(utf8) == '{"a.b", "c.d"="x", e="y\\""}'
    assert braced(Labels.of(__name__="up", job="a")) == '{__name__="up", job="a"}'
    assert str(Matcher(MatchType.NOT_REGEXP, "c.d", "a|b")) == '"c.d"!~"a|b"'


def test_metadata_labels_go_together() -> None:
    labels = Labels.of(__name__="up", __type__="gauge", __unit__="s", job="a")
    assert labels.without_metadata() == Labels.of(job="a")
    bare = Labels.of(job="a")
    assert bare.without_metadata() is bare
