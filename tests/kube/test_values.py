"""Quantities, selectors, durations and schedules, against the forms upstream documents."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.errors import InputError
from wavetank.kube.controllers.cron import parse_schedule
from wavetank.kube.quantity import canonical, format_milli, milli, parse_quantity, whole
from wavetank.kube.selectors import from_object, parse_fields, parse_labels
from wavetank.kube.tables.cells import human_duration, json_path


@pytest.mark.parametrize(
    ("text", "value", "printed"),
    [
        ("100m", Fraction(1, 10), "100m"),
        ("1000m", Fraction(1), "1"),
        ("0.5", Fraction(1, 2), "500m"),
        ("1.5Gi", Fraction(3 * 2**29), "1536Mi"),
        ("1024Mi", Fraction(2**30), "1Gi"),
        ("2k", Fraction(2000), "2k"),
        ("1e3", Fraction(1000), "1e3"),
        ("12E", Fraction(12 * 10**18), "12E"),
        ("-5", Fraction(-5), "-5"),
        ("0", Fraction(0), "0"),
        ("123456789n", Fraction(123456789, 10**9), "123456789n"),
        ("100Ki", Fraction(102400), "100Ki"),
        (".5", Fraction(1, 2), "500m"),
        (2, Fraction(2), "2"),
    ],
)
def test_quantities_are_exact_and_canonical(text: object, value: Fraction, printed: str) -> None:
    assert parse_quantity(text).value == value
    assert canonical(text) == printed


@pytest.mark.parametrize(
    "text", ["", "m", "1.2.3", "1 Gi", "1gi", "1KiB", "0x10", "--1", "1e", None, True, [1]]
)
def test_what_is_not_a_quantity_is_refused(text: object) -> None:
    with pytest.raises(InputError, match="is not a quantity"):
        parse_quantity(text)


def test_rounding_is_away_from_zero() -> None:
    assert (milli("1.0001"), whole("1500m"), whole("-1500m"), milli("1u")) == (1001, 2, -2, 1)


@given(st.integers(-(10**15), 10**15))
def test_printing_and_parsing_are_inverse(thousandths: int) -> None:
    assert milli(format_milli(thousandths)) == thousandths


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_an_input_error(text: str) -> None:
    try:
        assert parse_quantity(canonical(text)).value == parse_quantity(text).value
    except InputError:
        pass


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b,c!=d", {"a": "b"}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (x, y),b notin (z)", {"a": "y"}, True),
        ("a notin (x)", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a>1,a<9", {"a": "5"}, True),
        ("a>1", {"a": "x"}, False),
        ("a=", {"a": ""}, True),
        ("example.com/app in (web)", {"example.com/app": "web"}, True),
    ],
)
def test_label_selectors(selector: str, labels: dict[str, str], matches: bool) -> None:
    assert parse_labels(selector).matches(labels) is matches
    assert parse_labels(str(parse_labels(selector))).matches(labels) is matches


@pytest.mark.parametrize("selector", ["a in", "a in (", "=b", "a=b,", ",", "a b", "a in (b", "!", "(a)"])
def test_broken_label_selectors_are_refused(selector: str) -> None:
    with pytest.raises(InputError, match="unable to parse requirement"):
        parse_labels(selector)


def test_a_nil_selector_matches_nothing_and_an_empty_one_everything() -> None:
    assert not from_object(None).matches({"a": "b"})
    assert from_object({}).matches({"a": "b"})


def test_field_selectors_compare_texts() -> None:
    pod = {"metadata": {"name": "x"}, "spec": {"nodeName": "n", "unschedulable": True}, "status": {}}
    assert parse_fields("spec.nodeName=n,status.phase!=Failed,spec.unschedulable=true").matches(pod)
    assert not parse_fields("metadata.name=y").matches(pod)
    with pytest.raises(InputError, match="can't understand"):
        parse_fields("nonsense")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (3600, "60m"),
        (3 * 3600, "3h"), (3 * 3600 + 60, "3h1m"), (9 * 3600, "9h"), (48 * 3600, "2d"), (50 * 3600, "2d2h"),
        (10 * 86400, "10d"), (800 * 86400, "2y70d"), (9 * 365 * 86400, "9y"),
    ],
)  # fmt: skip
def test_ages_are_shortened_as_kubectl_shows_them(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


def test_json_path_reads_what_printer_columns_use() -> None:
    obj = {
        "status": {"conditions": [{"type": "A", "status": "x"}, {"type": "B", "status": "y"}], "l": [1, 2]}
    }
    assert json_path(obj, '.status.conditions[?(@.type=="B")].status') == "y"
    assert json_path(obj, ".status.l[1]") == 2
    assert json_path(obj, ".status.nowhere[0].x") is None


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "due"),
    [
        ("*/15 * * * *", "", "2026-01-01T00:00:00", "2026-01-01T00:15:00"),
        ("0 9 * * 1-5", "", "2026-01-02T10:00:00", "2026-01-05T09:00:00"),
        ("@monthly", "", "2026-01-31T12:00:00", "2026-02-01T00:00:00"),
        ("0 0 29 2 *", "", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 1 * sun", "", "2026-01-02T00:00:00", "2026-01-04T00:00:00"),
        ("0 12 * jan,jul *", "Europe/Berlin", "2026-02-01T00:00:00", "2026-07-01T10:00:00"),
    ],
)
def test_schedules(schedule: str, zone: str, after: str, due: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()
    found = parse_schedule(schedule, zone).after(moment)
    assert found is not None
    assert datetime.fromtimestamp(found, UTC).isoformat() == f"{due}+00:00"


@pytest.mark.parametrize("schedule", ["", "* * * *", "60 * * * *", "*/0 * * * *", "5-1 * * * *", "x * * * *"])
def test_broken_schedules_are_refused(schedule: str) -> None:
    with pytest.raises(InputError):
        parse_schedule(schedule)
