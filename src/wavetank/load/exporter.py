"""The load generator's metrics, under the names that Locust dashboards already use.

``locust_*`` gauges in milliseconds are those of locust_exporter (Grafana dashboard 11985);
``locust_requests_total`` and ``locust_request_duration_seconds`` are those of the in-process listeners that
replaced it: service time, from sending. ``wavetank_response_seconds`` counts from the intended start and so
includes what a slow target made arrivals wait. Classic buckets are filled from log buckets 1.6 % wide, each
counted where its middle lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from wavetank.exposition.render import MetricFamily, Sample
from wavetank.load.histogram import LogHistogram, bucket_bounds
from wavetank.load.results import Entry, Snapshot

__all__ = ["BUCKETS_SECONDS", "families"]

BUCKETS_SECONDS: Final = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25),
    *(0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)


def families(snapshot: Snapshot) -> list[MetricFamily]:
    """All metric families of a snapshot."""
    names = _by_name(snapshot)
    return [
        _gauge("locust_up", "1 while the load generator answers.", 1.0),
        _gauge("locust_users", "Users that run now.", snapshot.users),
        _gauge("locust_slaves", "Processes that make load.", snapshot.workers),
        *_exporter_gauges(names, snapshot.current_rps),
        _errors(snapshot),
        MetricFamily(
            "locust_requests_total",
            "counter",
            "Requests that ended, by status (0: no answer).",
            samples=[
                Sample("locust_requests_total", _labels(method, name, status=status), entry.requests)
                for (method, name, status), entry in snapshot.entries.items()
            ],
        ),
        _histograms(
            "locust_request_duration_seconds",
            "Service time: from sending a request to its end.",
            ((_labels(*key), entry.service) for key, entry in names.items()),
        ),
        _histograms(
            "wavetank_response_seconds",
            "Response time: from the intended start of a request to its end.",
            ((_labels(*key), entry.response) for key, entry in names.items()),
        ),
        _counter(
            "wavetank_request_failures_total",
            "Requests that failed.",
            [(_labels(*key), entry.failures) for key, entry in names.items()],
        ),
        *_arrivals(snapshot),
        *_generator(snapshot),
    ]


def _by_name(snapshot: Snapshot) -> dict[tuple[str, str], Entry]:
    merged: dict[tuple[str, str], Entry] = {}
    for (method, name, _), entry in snapshot.entries.items():
        whole = merged.setdefault((method, name), Entry())
        whole.requests += entry.requests
        whole.failures += entry.failures
        whole.content_bytes += entry.content_bytes
        whole.response.merge(entry.response)
        whole.service.merge(entry.service)
    return merged


def _labels(method: str, name: str, **more: str) -> dict[str, str]:
    return {"method": method, "name": name, **more}


def _exporter_gauges(
    names: Mapping[tuple[str, str], Entry], current_rps: Mapping[tuple[str, str], float]
) -> Iterable[MetricFamily]:
    """locust_exporter's, in its units: milliseconds, and gauges even where they only grow."""
    milliseconds: dict[str, Callable[[Entry], float]] = {
        "avg_response_time": lambda e: e.service.mean,
        "min_response_time": lambda e: e.service.least,
        "max_response_time": lambda e: e.service.greatest,
        "median_response_time": lambda e: e.service.percentile(50),
    }
    yield _gauges("num_requests", {k: float(e.requests) for k, e in names.items()})
    yield _gauges("num_failures", {k: float(e.failures) for k, e in names.items()})
    for suffix, read in milliseconds.items():
        yield _gauges(suffix, {k: read(e) * 1000 for k, e in names.items() if e.service.count})
    yield _gauges("current_rps", {k: current_rps.get(k, 0.0) for k in names})
    yield _gauges("avg_content_length", {k: e.content_bytes / e.requests for k, e in names.items()})


def _gauges(suffix: str, values: Mapping[tuple[str, str], float]) -> MetricFamily:
    name = f"locust_requests_{suffix}"
    return MetricFamily(
        name,
        "gauge",
        f"Locust's {suffix} by request name.",
        samples=[Sample(name, _labels(*key), value) for key, value in values.items()],
    )


def _gauge(name: str, text: str, value: float) -> MetricFamily:
    return MetricFamily(name, "gauge", text, samples=[Sample(name, {}, float(value))])


def _counter(name: str, text: str, values: Iterable[tuple[Mapping[str, str], float]]) -> MetricFamily:
    return MetricFamily(name, "counter", text, samples=[Sample(name, *v) for v in values])


def _errors(snapshot: Snapshot) -> MetricFamily:
    return MetricFamily(
        "locust_errors",
        "gauge",
        "Failed requests by error text.",
        samples=[
            Sample("locust_errors", _labels(method, name, error=error), float(count))
            for (method, name, error), count in snapshot.errors.items()
        ],
    )


def _histograms(
    name: str, text: str, series: Iterable[tuple[Mapping[str, str], LogHistogram]]
) -> MetricFamily:
    samples: list[Sample] = []
    for labels, histogram in series:
        for le, count in _classic(histogram):
            samples.append(Sample(f"{name}_bucket", {**labels, "le": le}, float(count)))
        samples.append(Sample(f"{name}_sum", labels, histogram.total))
        samples.append(Sample(f"{name}_count", labels, float(histogram.count)))
    return MetricFamily(name, "histogram", text, samples=samples)


def _classic(histogram: LogHistogram) -> Iterable[tuple[str, int]]:
    """Cumulative counts up to each classic bound."""
    ordered = sorted(histogram.buckets.items())
    seen = at = 0
    for bound in BUCKETS_SECONDS:
        while at < len(ordered) and sum(bucket_bounds(ordered[at][0])) / 2 <= bound:
            seen += ordered[at][1]
            at += 1
        yield f"{bound:g}", seen
    yield "+Inf", histogram.count


def _arrivals(snapshot: Snapshot) -> Iterable[MetricFamily]:
    counts = {
        "scheduled": (snapshot.scheduled, "Arrivals that were due."),
        "started": (snapshot.started, "Runs of tasks that began."),
        "dropped": (snapshot.dropped, "Arrivals that found all users busy."),
        "finished": (snapshot.finished, "Runs of tasks that ended."),
    }
    for word, (count, text) in counts.items():
        yield _counter(f"wavetank_arrivals_{word}_total", text, [({}, float(count))])
    yield _histograms(
        "wavetank_start_lateness_seconds",
        "From the instant an arrival was due to its start.",
        [({}, snapshot.lateness)],
    )


def _generator(snapshot: Snapshot) -> Iterable[MetricFamily]:
    yield _gauge("wavetank_loadgen_busy_users", "Users inside a task.", snapshot.busy)
    yield _gauge("wavetank_loadgen_backlog", "Arrivals due that wait for a user.", snapshot.backlog)
    yield _counter(
        "wavetank_loadgen_cpu_seconds_total", "CPU time of the load generator.", [({}, snapshot.cpu_seconds)]
    )
    yield _counter(
        "wavetank_loadgen_runq_delay_seconds_total",
        "Time the load generator was ready to run and others held the CPU.",
        [({}, snapshot.runq_seconds)],
    )
    yield _counter(
        "wavetank_task_exceptions_total", "Tasks that raised.", [({}, float(snapshot.task_exceptions))]
    )
