"""Recording, merging over processes, the exporter and thresholds."""

from __future__ import annotations

import asyncio
import io
import math
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest
from rich.console import Console

from wavetank.clock import RealClock, VirtualClock
from wavetank.errors import InputError
from wavetank.exposition.render import render_text
from wavetank.limits import LOAD_ERRORS_MAX, LOAD_NAMES_MAX
from wavetank.load.endpoint import metrics_endpoint
from wavetank.load.exporter import families
from wavetank.load.messages import Delta, Report
from wavetank.load.recorder import OTHER, Recorder
from wavetank.load.results import Results, generator_warnings
from wavetank.load.summary import document, summary_table
from wavetank.load.thresholds import judge, parse_threshold

GAUGES: dict[str, Any] = {"users": 3, "busy": 1, "backlog": 0, "state": "running"}


def over_the_wire(delta: Delta) -> Delta:
    found: Delta = msgspec.json.decode(msgspec.json.encode(delta), type=Report)
    return found


def filled(workers: int = 1) -> Results:
    """Ten seconds of 20 requests each, answered in 10 to 200 ms, spread over workers."""
    clock, results = VirtualClock(1000.0), Results()
    recorders = [Recorder(clock) for _ in range(workers)]
    random = Random(4)
    for second in range(10):
        clock.run_until(1000 + second + 0.25)
        for i in range(20):
            recorder = recorders[i % workers]
            recorder.scheduled()
            recorder.started(0.001)
            error = "Boom: no luck" if i == 0 else None
            recorder.request(
                "GET",
                "/a" if i % 2 else "/b",
                "500" if error else "200",
                random.uniform(0.01, 0.2),
                0.05,
                7,
                error,
            )
            recorder.finished()
        for number, recorder in enumerate(recorders):
            results.add(f"worker-{number}", over_the_wire(recorder.take(**GAUGES)))
    return results


def test_counts_are_exact_by_second_name_and_status() -> None:
    results = filled()
    rows = results.seconds
    assert [row.second for row in rows] == list(range(1000, 1010))
    assert all(
        (r.requests, r.failures, r.scheduled, r.started, r.finished) == (20, 1, 20, 20, 20) for r in rows
    )
    assert {key: entry.requests for key, entry in results.entries.items()} == {
        ("GET", "/a", "200"): 100,
        ("GET", "/b", "200"): 90,
        ("GET", "/b", "500"): 10,
    }
    assert results.errors == {("GET", "/b", "Boom: no luck"): 10}


@pytest.mark.parametrize("workers", [2, 5])
def test_figures_do_not_depend_on_the_number_of_processes(workers: int) -> None:
    one, many = filled(), filled(workers)
    assert many.response.buckets == one.response.buckets
    assert [(r.requests, r.p50, r.p99) for r in many.seconds] == [
        (r.requests, r.p50, r.p99) for r in one.seconds
    ]
    assert many.seconds[0].users == 3 * workers


def test_response_counts_from_the_intended_start_service_from_sending() -> None:
    results = filled()
    assert results.response.mean - results.service.mean == pytest.approx(0.05)


def test_a_second_is_complete_when_all_reports_are_in() -> None:
    results = filled()
    assert [row.second for row in results.completed(1005.0)] == [1000, 1001, 1002, 1003]
    assert [row.second for row in results.completed(1005.0)] == []
    assert [row.second for row in results.completed(1100.0)] == [1004, 1005, 1006, 1007, 1008, 1009]
    assert len(results.seconds) == 10


def test_a_late_report_corrects_a_second_that_seemed_complete() -> None:
    clock, results = VirtualClock(1000.5), Results()
    prompt, starved = Recorder(clock), Recorder(clock)
    for recorder in (prompt, starved):
        recorder.request("GET", "/", "200", 0.01, 0, 0, None)
    results.add("worker-0", prompt.take(**GAUGES))
    assert [row.requests for row in results.completed(1005.0)] == [1]
    clock.run_until(1006.5)
    results.add("worker-1", starved.take(**GAUGES))
    assert [(row.second, row.requests) for row in results.seconds] == [(1000, 2), (1006, 0)]
    assert [row.second for row in results.completed(1010.0)] == [1006]


def test_a_snapshot_is_of_the_last_whole_seconds() -> None:
    snapshot = filled().snapshot(1010.1, window_seconds=5)
    assert (snapshot.rps, snapshot.failure_ratio) == (20, 0.05)
    assert 0.06 < snapshot.p50 < snapshot.p95 < snapshot.p99 < 0.26
    assert snapshot.current_rps == {("GET", "/a"): 10, ("GET", "/b"): 10}
    assert filled().snapshot(2000).rps == 0


def test_names_and_errors_are_bounded() -> None:
    recorder, results = Recorder(RealClock()), Results()
    for i in range(LOAD_NAMES_MAX + 50):
        recorder.request("GET", f"/{i}", "500", 0.01, 0, 0, f"error {i}")
    results.add("local", over_the_wire(recorder.take(**GAUGES)))
    assert results.entries["GET", OTHER, "500"].requests == 50
    assert results.requests == LOAD_NAMES_MAX + 50
    assert sum(results.errors.values()) == LOAD_NAMES_MAX + 50
    assert LOAD_ERRORS_MAX <= len(results.errors) <= 2 * LOAD_ERRORS_MAX + LOAD_NAMES_MAX


def test_a_request_without_a_time_counts_but_has_no_duration() -> None:
    recorder, results = Recorder(RealClock()), Results()
    recorder.request("GET", "/", "0", None, 0, 0, "gone")
    results.add("local", over_the_wire(recorder.take(**GAUGES)))
    assert (results.requests, results.response.count) == (1, 0)


def test_a_generator_that_is_short_of_cpu_says_so() -> None:
    rows = filled().seconds
    assert list(generator_warnings(rows)) == []
    slow = [replace(r, runq_seconds=0.5, lateness_p99=0.2, dropped=3) for r in rows]
    assert [w.split(" ")[0] for w in generator_warnings(slow)] == ["requests", "the", "30"]


def test_metrics_have_the_names_that_dashboards_use() -> None:
    text = render_text(families(filled().snapshot(1010.1))).decode()
    for line in (
        "locust_users 3",
        'locust_requests_num_requests{method="GET",name="/b"} 100',
        'locust_requests_num_failures{method="GET",name="/b"} 10',
        'locust_requests_current_rps{method="GET",name="/a"} 10',
        'locust_requests_avg_content_length{method="GET",name="/a"} 7',
        'locust_errors{method="GET",name="/b",error="Boom: no luck"} 10',
        'locust_requests_total{method="GET",name="/b",status="500"} 10',
        'locust_request_duration_seconds_count{method="GET",name="/a"} 100',
        'locust_request_duration_seconds_bucket{method="GET",name="/a",le="+Inf"} 100',
        'wavetank_response_seconds_bucket{method="GET",name="/a",le="0.05"} 0',
        "wavetank_arrivals_scheduled_total 200",
        "wavetank_arrivals_dropped_total 0",
        "wavetank_start_lateness_seconds_count 200",
        "# TYPE wavetank_loadgen_runq_delay_seconds_total counter",
    ):
        assert line in text.splitlines(), line


def test_classic_buckets_rise_and_agree_with_the_percentiles() -> None:
    results = filled()
    family = next(f for f in families(results.snapshot(1010)) if f.name == "wavetank_response_seconds")
    counts = [s.value for s in family.samples if s.name.endswith("_bucket") and s.labels["name"] == "/a"]
    assert counts == sorted(counts) and counts[-1] == 100


async def test_the_endpoint_serves_metrics_and_nothing_else() -> None:
    results = filled()
    async with metrics_endpoint(lambda: results.snapshot(1010)) as port:
        answers = []
        for request in (
            b"GET /metrics HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"POST /metrics HTTP/1.1\r\n\r\n",
            b"\0\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answers.append(await reader.read())
            writer.close()
            await writer.wait_closed()
    assert [a.split(b" ")[1] for a in answers] == [b"200", b"404", b"404", b"404"]
    assert b"locust_users 3\n" in answers[0]


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("p(99)<300ms", True),
        ("p(99)<300", True),
        ("p(99)<0.1s", False),
        ("med<200ms@/a", True),
        ("failures<=5%", True),
        ("failures<5%", False),
        ("failures<5%@/a", True),
        ("rps>=20", True),
        ("requests>=100@/b", True),
        ("dropped<=0", True),
        ("max<1s", True),
        ("avg<1ms@/absent", False),
    ],
)
def test_thresholds(text: str, ok: bool) -> None:
    assert judge(parse_threshold(text), filled().snapshot(1010), 10.0).ok is ok


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a threshold"),
        ("p99<300ms", "is not a threshold"),
        ("p<300ms", "needs a percentile"),
        ("p(101)<300ms", "needs a percentile"),
        ("avg(5)<1", "needs a percentile"),
        ("failure<1%", "unknown metric 'failure' in 'failure<1%'; did you mean 'failures'?"),
        ("p(99)<1%", "a duration is not a share"),
        ("rps>5ms", "unit 'ms' does not fit rps"),
        ("dropped<1@/a", "no request name"),
    ],
)
def test_bad_thresholds_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_threshold(text)
    assert message in str(caught.value)


def test_the_document_is_plain_json_without_nan() -> None:
    results = filled()
    verdicts = [judge(parse_threshold("p(99)<1ms@/absent"), results.snapshot(1010), 10)]
    shown = document(results.snapshot(1010), results.seconds, [], verdicts, 10.0, seed=3)
    again = msgspec.json.decode(msgspec.json.encode(shown))
    assert again["total"]["requests"] == 200
    assert again["checks"] == [{"check": "p(99)<1ms@/absent", "value": None, "ok": False}]
    assert not any(isinstance(v, float) and math.isnan(v) for v in again["seconds"][0].values())


def test_request_names_are_shown_as_they_are() -> None:
    recorder, results = Recorder(RealClock()), Results()
    recorder.request("GET", "/base64/[text]", "200", 0.01, 0, 0, None)
    results.add("local", recorder.take(**GAUGES))
    console = Console(width=100, file=io.StringIO())
    console.print(summary_table(results.snapshot(0), 1.0))
    assert "GET /base64/[text]" in console.file.getvalue()  # type: ignore[attr-defined]
