"""Matcher texts: the classic syntax, the UTF-8 one, and what is neither."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.alerting.matchers import (
    format_matchers,
    matches_filter,
    parse_matcher,
    parse_matchers,
    read_as,
)
from wavetank.model.labels import Matcher, MatchType

TEXTS = [
    ("", "{}"),
    ("{}", "{}"),
    ("a=b", '{a="b"}'),
    ('{a="b", c=~"d|e"}', '{a="b",c=~"d|e"}'),
    ("{a!=b,c!~d,}", '{a!="b",c!~"d"}'),
    ("a=", '{a=""}'),
    ('a="b,c"', '{a="b,c"}'),
    (r'a="\"q\" \\ \n"', r'{a="\"q\" \\ \n"}'),
    ("a=b c", '{a="b c"}'),  # classic only
    (r"a=~\d+", r'{a=~"\\d+"}'),  # classic only
    ("☃=é", '{☃="é"}'),  # UTF-8 only
    ('"a b"="c"', '{"a b"="c"}'),
    ('a="\\u2603"', '{a="\\\\u2603"}'),  # both read it, differently: the classic reading holds
]


@pytest.mark.parametrize(("text", "shown"), TEXTS)
def test_reads(text: str, shown: str) -> None:
    assert format_matchers(parse_matchers(text)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "bad matcher format: a"),
        ("a=b,", "bad matcher format"),
        ("{a=b}", "unexpected open or close brace: {a=b}"),
        ('a="b', "matcher value contains unescaped double quote"),
        ("a=~(", "missing"),
    ],
)
def test_one_matcher_is_refused_with_upstreams_text(text: str, message: str) -> None:
    if text == "a=b,":
        assert parse_matcher(text) == Matcher(MatchType.EQUAL, "a", "b,")
        return
    with pytest.raises(ValueError, match=message.replace("{", r"\{").replace("(", r"\(")):
        parse_matcher(text)


@pytest.mark.parametrize(
    ("syntax", "text", "shown"),
    [
        ("classic", "a=b c", '{a="b c"}'),
        ("classic", "☃=é", None),
        ("utf8", "☃=é", '{☃="é"}'),
        ("utf8", "a=b c", None),
        ("utf8", 'a="\\u2603"', '{a="☃"}'),
    ],
)
def test_one_syntax_can_be_asked_for(syntax: str, text: str, shown: str | None) -> None:
    read_as(syntax)
    try:
        if shown is not None:
            assert format_matchers([parse_matcher(text)]) == format_matchers(parse_matchers(text)) == shown
            return
        for parse in (parse_matcher, parse_matchers):
            with pytest.raises(ValueError, match=r"bad matcher|expected|unexpected"):
                parse(text)
    finally:
        read_as()


def test_filters_tell_empty_from_absent() -> None:
    labels = {"a": "x"}
    assert matches_filter([parse_matcher('b=""')], labels)
    assert not matches_filter([parse_matcher('a=""')], labels)
    assert matches_filter([parse_matcher('a!=""')], labels)
    assert not matches_filter([parse_matcher('b!=""')], labels)


@given(st.text(max_size=60))
@settings(max_examples=100)
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_matcher, parse_matchers):
        try:
            parse(text)
        except ValueError:
            pass


@given(st.text(min_size=1, max_size=10), st.text(max_size=10))
@settings(max_examples=60)
def test_what_is_printed_is_read_again(name: str, value: str) -> None:
    matcher = Matcher(MatchType.EQUAL, name, value)
    try:
        again = parse_matchers(format_matchers([matcher]))
    except ValueError:
        return  # names and values with control characters print as upstream prints them, and do not read
    if all(c.isprintable() for c in name + value) and "\\" not in name:
        assert [m.value for m in again] == [value]
