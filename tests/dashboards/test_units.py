"""Units write numbers as Grafana's data library does: a table of its outputs for every unit id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wavetank.dashboards.units import auto_decimals, format_of, unit_ids

TABLE: dict[str, list[tuple[float, int | None, str]]] = json.loads(
    (Path(__file__).parent / "data/units.json").read_text(encoding="utf-8")
)


def test_every_unit_of_the_table_writes_every_number_as_upstream_does() -> None:
    wrong = [
        (unit, value, decimals, expected, found)
        for unit, rows in TABLE.items()
        for value, decimals, expected in rows
        if (found := format_of(unit).text(value, decimals)) != expected
    ]
    assert wrong == []


def test_every_unit_that_is_not_a_date_is_in_the_table() -> None:
    assert {unit for unit in unit_ids() if not unit.startswith("dateTime")} <= TABLE.keys()


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("bytes", 1234567, "1.18 MiB"),
        ("percentunit", 0.12345, "12.3%"),
        ("s", 3725, "1.03 hours"),
        ("s", 0, "0 s"),
        ("dateTimeAsIso", 1_700_000_000_000, "2023-11-14 22:13:20"),
        ("time:HH:mm", 1_700_000_000_000, "22:13"),
        ("widgets", 3, "3 widgets"),
        ("short", float("inf"), "∞"),
        ("short", float("nan"), "NaN"),
    ],
)
def test_examples(unit: str, value: float, expected: str) -> None:
    assert format_of(unit).text(value) == expected


def test_no_value_is_no_text() -> None:
    assert format_of("bytes").text(None) == ""


@pytest.mark.parametrize(("value", "decimals"), [(1.0, 0), (0.5, 3), (12.345, 1), (0.000123, 6), (99.5, 1)])
def test_decimals_show_about_three_digits(value: float, decimals: int) -> None:
    assert auto_decimals(value) == decimals
