"""Template variables: what is asked, chosen and inserted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dashboard_samples import board, custom, panel

from wavetank.dashboards.interpolate import Value, formatted, interpolate, promql
from wavetank.dashboards.view import View
from wavetank.promql.parser import parse_expr

Open = Callable[..., View]


def query(name: str, text: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "query", "query": text, **more}


def resolved(opened: Open, *variables: dict[str, Any], **given: Any) -> dict[str, Any]:
    view = opened(board(templating={"list": list(variables)}), **given)
    return {c.variable.name: c for c in view.chosen}


MANY = Value(("a.b", "c|d"), many=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$x", "{a.b,c|d}"),
        ("${x}", "{a.b,c|d}"),
        ("[[x]]", "{a.b,c|d}"),
        ("${x:csv}", "a.b,c|d"),
        ("${x:raw}", "a.b,c|d"),
        ("${x:pipe}", "a.b|c|d"),
        ("${x:regex}", r"(a\.b|c\|d)"),
        ("${x:json}", '["a.b", "c|d"]'),
        ("${x:singlequote}", "'a.b','c|d'"),
        ("${x:doublequote}", '"a.b","c|d"'),
        ("${x:sqlstring}", "'a.b','c|d'"),
        ("${x:queryparam}", "var-x=a.b&var-x=c%7Cd"),
        ("${x:percentencode}", "%7Ba.b%2Cc%7Cd%7D"),
        ("${x:text}", "a.b + c|d"),
        ("${x:distributed}", "a.b,x=c|d"),
        ("${x:join: and }", "a.b and c|d"),
        ("[[x:csv]]", "a.b,c|d"),
        ("$unknown and $5", "$unknown and $5"),
    ],
)
def test_formats(text: str, expected: str) -> None:
    assert interpolate(text, {"x": MANY}) == expected


def test_html_is_escaped() -> None:
    assert formatted(Value(("<b>",)), "html") == "&lt;b&gt;"


def test_dates() -> None:
    scope = {"__from": Value.plain("1760000000000")}
    assert interpolate("${__from}", scope) == "1760000000000"
    assert interpolate("${__from:date:iso}", scope) == "2025-10-09T08:53:20.000Z"
    assert interpolate("${__from:date:YYYY-MM}", scope) == "2025-10"


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (Value(('a"b\\c',)), 'm{l="$x"}', 'm{l="a\\"b\\\\c"}'),
        (Value(("a.b",), many=True), 'm{l=~"$x"}', 'm{l=~"a\\\\.b"}'),
        (MANY, 'm{l=~"$x"}', 'm{l=~"(a\\\\.b|c\\\\|d)"}'),
        (Value(("a'b",)), "m{l='$x'}", "m{l='a\\'b'}"),
        (Value(("5m",)), "rate(m[$x])", "rate(m[5m])"),
        (Value(("",), many=True), 'm{l=~"$x"}', 'm{l=~""}'),
        (Value(("a", "b"), many=True, raw=".*"), 'm{l=~"$x"}', 'm{l=~".*"}'),
    ],
)
def test_promql_values_stay_inside_their_strings(value: Value, text: str, expected: str) -> None:
    assert promql(text, {"x": value}) == expected
    parse_expr(expected)


@pytest.mark.parametrize("hostile", ['"} or vector(1) #', "\\", '\\"', "'", "`", "\n", "$__all", "${x}"])
@pytest.mark.parametrize("many", [False, True])
def test_no_value_can_end_the_string_it_stands_in(hostile: str, many: bool) -> None:
    for mark in "\"'":
        expr = parse_expr(
            promql(
                f"m{{l=~{mark}$x{mark}}}" if many else f"m{{l={mark}$x{mark}}}",
                {"x": Value((hostile,), many=many)},
            )
        )
        assert expr.type == "vector"
        assert len(expr.matchers) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("label_values(job)", ["api", "db", "web"]),
        ("label_values(up, job)", ["api", "db", "web"]),
        ('label_values(up{job=~"a.*"}, job)', ["api"]),
        ("label_names()", ["code", "job", "le"]),
        ("metrics(requests.*)", ["requests_total"]),
        ('up{job="db"}', ['up{job="db"}']),
    ],
)
def test_queries(opened: Open, text: str, options: list[str]) -> None:
    found = resolved(opened, query("x", text))["x"]
    assert [value for _, value in found.options] == options
    assert found.selected == (options[0],)


def test_query_result_through_a_regex_with_named_groups(opened: Open) -> None:
    regex = '/job="(?<text>[^"]+)".* (?<value>[\\d.]+) \\d+/'
    found = resolved(opened, query("x", "query_result(up)", regex=regex))["x"]
    assert list(found.options) == [("db", "0"), ("api", "1")] or list(found.options) == [
        ("api", "1"),
        ("db", "0"),
    ]


def test_a_chain_is_asked_in_the_order_of_its_references(opened: Open) -> None:
    found = resolved(
        opened,
        query("code", 'label_values(requests_total{job="$job"}, code)'),
        query("job", "label_values(up, job)"),
    )
    assert found["code"].selected == ("200",)


def test_all_joins_the_options_or_is_all_value(opened: Open) -> None:
    every = resolved(opened, query("x", "label_values(job)", includeAll=True, multi=True))["x"]
    assert every.selected == ("$__all",)
    assert promql('up{job=~"$x"}', {"x": every.value}) == 'up{job=~"(api|db|web)"}'
    raw = resolved(opened, query("x", "label_values(job)", includeAll=True, allValue=".+"))["x"]
    assert promql('up{job=~"$x"}', {"x": raw.value}) == 'up{job=~".+"}'


def test_no_options_is_the_empty_value_which_matches_an_absent_label(opened: Open) -> None:
    found = resolved(opened, query("cluster", "label_values(up, cluster)"))["cluster"]
    assert found.value.values == ("",)
    assert promql('up{cluster="$cluster"}', {"cluster": found.value}) == 'up{cluster=""}'


def test_values_of_the_url_win_over_the_files(opened: Open) -> None:
    variable = query("x", "label_values(job)", multi=True, current={"value": ["db"]})
    assert resolved(opened, variable)["x"].selected == ("db",)
    assert resolved(opened, variable, x=["api", "web"])["x"].selected == ("api", "web")


def test_custom_values_have_texts_and_escaped_commas(opened: Open) -> None:
    found = resolved(opened, custom("x", "one : 1", r"a\,b", "c"))["x"]
    assert list(found.options) == [("one", "1"), ("a,b", "a,b"), ("c", "c")]


def test_intervals_may_follow_the_time_range(opened: Open) -> None:
    variable = {
        "name": "i",
        "type": "interval",
        "query": "1m,5m",
        "auto": True,
        "auto_count": 60,
        "auto_min": "10s",
    }
    found = resolved(opened, variable)["i"]
    assert found.options[0] == ("auto", "1m")


def test_datasource_variables_are_bound_to_the_one_source(opened: Open) -> None:
    variable = {
        "name": "DS_PROMETHEUS",
        "type": "datasource",
        "query": "prometheus",
        "current": {"value": "gone"},
    }
    assert resolved(opened, variable)["DS_PROMETHEUS"].selected == ("prometheus",)


@pytest.mark.parametrize(
    "sort, expected", [(1, ["a10", "a2", "b1"]), (4, ["a10", "a2", "b1"]), (7, ["a2", "a10", "b1"])]
)
def test_sorting(opened: Open, sort: int, expected: list[str]) -> None:
    from wavetank.dashboards.variables import _sorted

    assert [value for _, value in _sorted([(v, v) for v in ("b1", "a2", "a10")], sort)] == expected


def test_circular_variables_are_an_error_that_names_the_circle(opened: Open) -> None:
    found = resolved(
        opened,
        query("a", "label_values(up{x='$b'}, job)"),
        query("b", "label_values(up{x='$a'}, job)", current={"value": "kept"}),
        query("free", "label_values(up, job)"),
    )
    assert "circular variables: $a -> $b -> $a" in found["a"].error
    assert found["b"].error and found["b"].selected == ("kept",)
    assert not found["free"].error


def test_a_failing_query_is_the_variables_error_alone(opened: Open) -> None:
    found = resolved(
        opened,
        query("bad", "query_result(sum((())"),
        query("bad2", "label_values(up, job)", regex="/(?=x)/"),
        query("ok", "label_values(job)"),
    )
    assert "parse error" in found["bad"].error
    assert "cannot be used" in found["bad2"].error
    assert found["ok"].selected == ("api",)


def test_ad_hoc_filters_reach_every_selector(opened: Open, answered: Any) -> None:
    found = board(
        [panel("timeseries", "up / on (job) load")], templating={"list": [{"name": "f", "type": "adhoc"}]}
    )
    answer = answered(found, f=["job|=|api"])
    assert answer["queries"][0]["expr"] == 'up{job="api"} / on (job) load{job="api"}'
    assert len(answer["drawing"]["series"]) == 1
