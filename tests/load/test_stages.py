"""Stages: the file form, the short form, traces, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.errors import InputError, Location
from wavetank.load.stages import (
    RateStage,
    UserStage,
    parse_duration,
    parse_stage,
    parse_stages,
    parse_trace,
    rate_stage,
    schedule,
    total_seconds,
    trace_stage,
)

AT = Location("rehearsal.yaml", 12)


@pytest.mark.parametrize(
    ("value", "stage"),
    [
        ({"duration": "30s", "users": 5}, UserStage(30, 5)),
        ({"duration": "1m30s", "users": 5, "to": 50}, UserStage(90, 5, 50)),
        ({"duration": 10, "users": 5, "spawnRate": 2}, UserStage(10, 5, None, 2.0)),
        ({"duration": "60s", "rps": 80}, rate_stage(60, 80)),
        (
            {"duration": "60s", "rps": 80.5, "to": 0, "arrivals": "poisson"},
            rate_stage(60, 80.5, 0, "poisson"),
        ),
    ],
)
def test_the_file_form(value: dict[str, Any], stage: UserStage | RateStage) -> None:
    assert parse_stage(value, AT) == stage


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("60s", "must be a mapping"),
        ({"duration": "60s"}, "needs one of users, rps and trace, got none"),
        ({"duration": "60s", "users": 1, "rps": 2}, "got users and rps"),
        ({"rps": 2}, "needs a duration"),
        ({"duration": "0s", "rps": 2}, "'0s' is not a duration"),
        ({"duration": "fast", "rps": 2}, "'fast' is not a duration"),
        ({"duration": "60s", "rps": -1}, "rps must be a number from 0"),
        ({"duration": "60s", "rps": "80"}, "rps must be a number"),
        ({"duration": "60s", "users": 1.5}, "users must be a whole number"),
        ({"duration": "60s", "users": True}, "users must be a whole number"),
        ({"duration": "60s", "rps": 2, "arrivals": "uniform"}, "constant or poisson, got 'uniform'"),
        ({"duration": "60s", "users": 2, "arrivals": "poisson"}, "arrivals has no meaning"),
        ({"duraton": "60s", "rps": 2}, "unknown field 'duraton' in a stage; did you mean 'duration'?"),
        ({"trace": {"file": "x.csv", "peek": 3}}, "unknown field 'peek' in trace; did you mean 'peak'?"),
        ({"trace": 4}, "trace must name a file"),
        ({"trace": "absent.csv"}, "cannot read the trace"),
    ],
)
def test_bad_stages_name_the_place_the_value_and_the_fix(value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_stage(value, AT)
    assert message in str(caught.value)
    assert (
        "absent" in message or "cannot read" in message or str(caught.value).startswith("rehearsal.yaml:12: ")
    )


def test_the_short_form() -> None:
    assert parse_stages("30s:5u, 60s:10..80rps,2m:80rps@poisson") == [
        UserStage(30, 5),
        rate_stage(60, 10, 80),
        rate_stage(120, 80, arrivals="poisson"),
    ]
    assert total_seconds(parse_stages("30s:5u,60s:10rps")) == 90


@pytest.mark.parametrize(
    "text", ["", "30s", "30s:5", "30s:5x", "30s:1.5u", "x:5u", "30s:5rps@even", "30s:5u@poisson"]
)
def test_bad_short_forms_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_stages(text)


@given(st.text(max_size=40))
def test_no_text_crashes_the_short_form(text: str) -> None:
    try:
        parse_stages(text)
    except InputError:
        pass


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5h", 5400), ("1m30s", 90), ("250ms", 0.25), (3, 3)]
)
def test_durations(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_users_move_evenly() -> None:
    stage = UserStage(10, 0, 100)
    assert [stage.users_at(t) for t in (0, 2.5, 5, 10, 99)] == [0, 25, 50, 100, 100]
    assert stage.users_max == 100


def test_a_stage_draws_its_schedule() -> None:
    assert len(list(schedule(rate_stage(10, 5), Random(0)))) == 50
    assert list(schedule(rate_stage(10, 5, arrivals="poisson"), Random(0))) != list(
        schedule(rate_stage(10, 5), Random(0))
    )


def test_a_trace_is_read_scaled_and_played(tmp_path: Path) -> None:
    file = tmp_path / "traffic.csv"
    file.write_text("time,rps\n# night\n1000,10\n1060,30\n\n1120,10\n")
    stage = parse_stage(
        {"trace": {"file": "traffic.csv", "timeScale": 60, "peak": 300}}, AT, directory=tmp_path
    )
    assert stage == RateStage(((0.0, 100.0), (1.0, 300.0), (2.0, 100.0)))
    assert isinstance(stage, RateStage) and len(list(schedule(stage, Random(0)))) == 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least two rows"),
        ("time,rps\n0,1\n", "at least two rows"),
        ("0,1\nx,y\n", "t.csv:2: 'x,y' is not a time and a rate"),
        ("0,1\n5\n", "t.csv:2: '5' is not"),
        ("5,1\n5,1\n", "t.csv:2: time 5 does not rise"),
        ("0,1\n1,-4\n", "t.csv:2: rate -4 is outside"),
        ("0,1\n1,nan\n", "t.csv:2: rate nan is outside"),
    ],
)
def test_bad_traces_name_the_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_trace(text, path="t.csv")
    assert message in str(caught.value)


def test_a_trace_that_cannot_be_scaled_is_refused() -> None:
    with pytest.raises(InputError, match="no traffic"):
        trace_stage([(0, 0), (1, 0)], peak=10)
    with pytest.raises(InputError, match="fall together"):
        trace_stage([(0, 1), (1e-300, 1), (1, 1)], time_scale=1e300)
    with pytest.raises(InputError, match="exceeds"):
        trace_stage([(0, 1), (1, 1)], rate_scale=1e8)
