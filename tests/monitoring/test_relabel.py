"""Relabelling against upstream's own cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.monitoring.relabel import RelabelConfig, Relabeling, relabel

CASES: list[dict[str, Any]] = msgspec.json.decode(
    (Path(__file__).parent / "data" / "relabel_cases.json").read_bytes()
)


@pytest.mark.parametrize("case", CASES)
def test_upstream_case(case: dict[str, Any]) -> None:
    rules = msgspec.convert(case["relabel"], list[RelabelConfig])
    assert relabel(case["input"], rules) == (None if case["drop"] else case["output"])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": "hashmod", "target_label": "a"}, "hashmod requires non-zero modulus"),
        ({"action": "replace"}, "requires 'target_label' value"),
        ({"action": "shout"}, 'unknown relabel action "shout"'),
        ({"action": "labeldrop", "separator": ","}, "requires only 'regex', and no other fields"),
        ({"regex": "abc(def", "target_label": "x"}, "missing"),
    ],
)
def test_refuses(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Relabeling([msgspec.convert(rule, RelabelConfig)])


def test_steps_show_each_rule_and_stop_at_the_drop() -> None:
    chain = Relabeling(
        [
            RelabelConfig(target_label="a", replacement="1"),
            RelabelConfig(action="drop", source_labels=["a"], regex="1"),
            RelabelConfig(target_label="b", replacement="2"),
        ]
    )
    assert [labels for _, labels in chain.steps({})] == [{"a": "1"}, None]


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8)), st.text(max_size=20)
)
def test_any_template_is_safe(labels: dict[str, str], template: str) -> None:
    result = relabel(labels, [RelabelConfig(target_label="t", replacement=template)])
    assert result is not None
    assert all(result.values())
