"""Why it scaled, in a sentence."""

from __future__ import annotations

import pytest

from wavetank.analysis.lag import NO_CHANGE_OF_LOAD
from wavetank.rehearsal.outcome.causes import with_causes
from wavetank.rehearsal.report.model import Scaling, Timeline

SYNC = {
    "at": 130.0, "kind": "hpa.sync", "hpa": "shop/web", "target": "Deployment/web", "rescaled": True, "proposed": 7, "desired": 4,
    "limited": "ScaleUpLimit", "metrics": [{"name": "cpu", "value": 176.2, "target": 70, "ratio": 2.5}, {"name": "rps", "value": 1, "target": 2, "ratio": 0.5}],
}  # fmt: skip
SEEN = "cpu at 176 against a target of 70, wants 7, limited by ScaleUpLimit"


def told(cause: str, rates: tuple[float | None, ...], direction: str = "up") -> str:
    scaling = Scaling(
        workload="Deployment/shop/web", direction=direction, from_replicas=1, to_replicas=4,  # type: ignore[arg-type]
        decided_at_seconds=30.0, start_seconds=20.0, total_seconds=12.0, cause=cause,
    )  # fmt: skip
    times = tuple(float(10 * i) for i in range(len(rates)))
    timeline = Timeline(step_seconds=10.0, at_seconds=times, arrival_rps=rates)
    return with_causes([scaling], [SYNC], timeline, 100.0)[0].cause


@pytest.mark.parametrize(
    ("cause", "rates", "direction", "expected"),
    [
        ("load rose to 80 requests/s", (5, 80), "up", "load rose to 80 requests/s"),
        (NO_CHANGE_OF_LOAD, (5.0, None, 60.0, 90.0, 200.0), "up", "arriving requests rose from 5 to 90 per second"),
        (NO_CHANGE_OF_LOAD, (90.0, 90.0, 5.0, 5.0), "down", "arriving requests fell from 90 to 5 per second"),
        (NO_CHANGE_OF_LOAD, (50.0, 51.0, 52.0), "up", NO_CHANGE_OF_LOAD),
        (NO_CHANGE_OF_LOAD, (), "up", NO_CHANGE_OF_LOAD),
    ],
)  # fmt: skip
def test_load_that_no_journal_knows_is_told_by_what_arrived(
    cause: str, rates: tuple[float | None, ...], direction: str, expected: str
) -> None:
    assert told(cause, rates, direction) == f"{expected}; {SEEN}"
