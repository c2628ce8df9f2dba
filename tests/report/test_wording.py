"""Numbers in words, and the verdict for every way a run can end."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from wavetank.rehearsal.report import Report, verdict, wording
from wavetank.rehearsal.report.model import LoadStage, Slo

LATENCY = Slo(name="p99", kind="threshold", expr="x", unit="seconds", max=0.3, value=0.412, ok=False)
AVAILABILITY = Slo(name="availability", kind="ratio", expr="x", objective=0.999, value=0.99912, ok=True)


@pytest.mark.parametrize(
    "form, value, text",
    [
        (wording.seconds, None, "–"),
        (wording.seconds, 0, "0 s"),
        (wording.seconds, 0.0314, "31.4 ms"),
        (wording.seconds, 0.9996, "1.00 s"),
        (wording.seconds, 12.34, "12.3 s"),
        (wording.seconds, 187.2, "3 min 7 s"),
        (wording.duration, 7200, "2 h"),
        (wording.duration, 7500, "2 h 5 min"),
        (wording.percent, 1.0, "100 %"),
        (wording.percent, 0.99973, "99.973 %"),
        (wording.percent, 0.9973, "99.73 %"),
        (wording.percent, 0.995, "99.5 %"),
        (wording.percent, 0.99999999, "100 %"),
        (wording.percent, 0.6, "60 %"),
        (wording.percent, 1.99, "199 %"),
        (wording.percent, 0.00266, "0.266 %"),
        (wording.significant, 1234.5, "1,234"),
        (wording.significant, 99.96, "100"),
        (wording.significant, 0.0001234, "0.000123"),
        (wording.clock, 83.6, "1:24"),
        (wording.clock, 7263, "2:01:03"),
        (wording.clock, -3.1, "−0:03"),
        (wording.clock, -0.1, "0:00"),
        (wording.rate, 81.25, "81.2/s"),
    ],
)
def test_numbers_read_as_a_person_would_say_them(form: Callable[..., str], value: float, text: str) -> None:
    assert form(value) == text


@pytest.mark.parametrize("unit, text", [("seconds", "412 ms"), ("ms", "0.412 ms"), ("ratio", "41.2 %"), ("widgets", "0.412 widgets"), ("", "0.412")])  # fmt: skip
def test_an_slos_value_carries_its_unit(unit: str, text: str) -> None:
    assert wording.in_unit(0.412, unit) == text


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (
            {"outcome": "held", "slos": (AVAILABILITY,)},
            "It holds: its SLO was kept at 80 requests per second.",
        ),
        (
            {"outcome": "held", "slos": (AVAILABILITY, AVAILABILITY)},
            "It holds: all 2 SLOs were kept at 80 requests per second.",
        ),
        (
            {"outcome": "held", "slos": (AVAILABILITY, msgspec.structs.replace(LATENCY, ok=None))},
            "It holds: 1 of 2 SLOs were kept, 1 had no data, at 80 requests per second.",
        ),
        ({"outcome": "held", "slos": (), "stages": ()}, "It holds: no SLO was set."),
        (
            {"outcome": "failed", "slos": (AVAILABILITY, LATENCY)},
            "It does not hold at 80 requests per second: p99 was 412 ms, at most 300 ms is allowed.",
        ),
        (
            {"outcome": "failed", "slos": (LATENCY, LATENCY, LATENCY)},
            "It does not hold at 80 requests per second: p99 was 412 ms, at most 300 ms is allowed; "
            "2 more SLOs failed.",
        ),
        (
            {
                "outcome": "failed",
                "slos": (msgspec.structs.replace(AVAILABILITY, value=0.99, ok=False),),
                "stages": (LoadStage(index=0, start_seconds=0, end_seconds=9, kind="users", users=12),),
            },
            "It does not hold under 12 users: availability was 99 %, at least 99.9 % is required.",
        ),
        ({"outcome": "failed", "slos": (), "reason": "no request was answered."}, "It does not hold: no request was answered."),
        (
            {"outcome": "incomplete", "reason": "interrupted", "duration_seconds": 72.0},
            "No verdict after 1 min 12 s: interrupted.",
        ),
        ({"outcome": "incomplete", "reason": ""}, "No verdict after 3 min 7 s."),
    ],
)  # fmt: skip
def test_the_verdict_is_one_sentence(example: Report, changes: dict[str, object], sentence: str) -> None:
    assert verdict(msgspec.structs.replace(example, **changes)) == sentence


def test_the_detail_names_what_gave_out_and_where_the_time_went(example: Report) -> None:
    text = wording.detail(example)
    assert "First to give out was CPU of Deployment/shop/checkout at 0:31." in text
    assert "The slowest of 2 scale-ups took 31.9 s" in text
    assert "“metric window full” (9.90 s)" in text


def test_an_incomplete_run_says_what_held_until_then(example: Report) -> None:
    report = msgspec.structs.replace(example, outcome="incomplete", bottleneck=None, scalings=())
    assert wording.detail(report) == "Until then: availability held, latency-p99 failed."
