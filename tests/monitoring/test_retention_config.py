"""``storage.tsdb.retention.rules``: what is taken, and what is refused with its line."""

from __future__ import annotations

import pytest

from wavetank.errors import InputError
from wavetank.monitoring.config import parse_config, show_config
from wavetank.monitoring.storage_options import storage_options
from wavetank.tsdb.options import Downsample, Options

RULES = """
storage:
  tsdb:
    retention:
      time: 15d
      rules:
      - matchers: '{job="batch"}'
        time: 7d
        downsample: {after: 2d, to: 5m}
      - matchers: 'slo:availability{env!="test"}'
        time: 1y
        downsample: [{after: 15d, to: 5m}, {after: 60d, to: 1h, keep: min}]
"""


def test_rules_reach_the_storage() -> None:
    config = parse_config(RULES)
    found = storage_options(Options(), config).retention_rules
    day = 86_400_000
    assert [(list(map(str, r.matchers)), r.time_ms // day) for r in found] == [
        (['job="batch"'], 7),
        (['env!="test"', '__name__="slo:availability"'], 365),
    ]
    assert found[0].downsample == (Downsample(2 * day, 300_000),)
    assert found[1].downsample == (Downsample(15 * day, 300_000), Downsample(60 * day, 3_600_000, "min"))
    assert "downsample" in show_config(config)


def test_without_them_it_is_upstreams_file() -> None:
    config = parse_config("storage: {tsdb: {retention: {time: 15d}}}")
    assert storage_options(Options(), config).retention_rules == ()
    assert "rules" not in show_config(config)


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("{time: 7d}", "needs matchers"),
        ("{matchers: '{job=', time: 7d}", "matchers of a retention rule"),
        ("{matchers: m}", "needs time, downsample or both"),
        ("{matchers: m, time: 0s}", "more than 0"),
        ("{matchers: m, downsample: {after: 2d}}", "needs after and to"),
        ("{matchers: m, downsample: {after: 2d, to: 5m, keep: mean}}", 'unknown keep "mean"'),
        ("{matchers: m, time: 1d, downsample: {after: 2d, to: 5m}}", "has no effect: time is 1d"),
        ("{matchers: m, downsample: [{after: 2d, to: 5m}, {after: 3d, to: 7m}]}", "a multiple of 5m"),
        ("{matchers: m, tme: 1d}", "did you mean 'time'"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_its_line(rule: str, error: str) -> None:
    text = f"storage:\n  tsdb:\n    retention:\n      rules:\n      - {rule}\n"
    with pytest.raises(InputError, match=error) as caught:
        parse_config(text, path="p.yml")
    assert "p.yml:5" in str(caught.value)
