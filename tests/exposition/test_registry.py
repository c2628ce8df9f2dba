"""Our own processes' metrics, and that what we render reads back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wavetank.exposition import parse
from wavetank.exposition.registry import Registry
from wavetank.exposition.render import MetricFamily, Sample, render_openmetrics, render_text


def test_renders_counters_gauges_and_histograms() -> None:
    registry = Registry()
    requests = registry.counter("requests_total", "Requests by code.", ["code"])
    requests.inc(1, 200)
    requests.inc(2, code=500)
    registry.gauge("up", "Is it?").set(1)
    latency = registry.histogram("latency_seconds", "How long.", buckets=(0.1, 1))
    latency.observe(0.05)
    latency.observe(3)
    assert registry.text().decode().splitlines() == [
        "# HELP requests_total Requests by code.",
        "# TYPE requests_total counter",
        'requests_total{code="200"} 1',
        'requests_total{code="500"} 2',
        "# HELP up Is it?",
        "# TYPE up gauge",
        "up 1",
        "# HELP latency_seconds How long.",
        "# TYPE latency_seconds histogram",
        'latency_seconds_bucket{le="0.1"} 1',
        'latency_seconds_bucket{le="1"} 1',
        'latency_seconds_bucket{le="+Inf"} 2',
        "latency_seconds_sum 3.05",
        "latency_seconds_count 2",
    ]


def test_misuse_is_told() -> None:
    registry = Registry()
    counter = registry.counter("c_total", "", ["a"])
    with pytest.raises(ValueError, match="cannot fall"):
        counter.inc(-1, "x")
    with pytest.raises(ValueError, match="has labels"):
        counter.inc(1)
    with pytest.raises(ValueError, match="registered already"):
        registry.gauge("c_total", "")


FAMILY = MetricFamily(
    "odd.name_total",
    "counter",
    'a "b" \\ c\nd',
    samples=[
        Sample("odd.name_total", {"l": 'x"\\\n', "o.k": "é"}, 1.5, 1000, ({"id": "t"}, 2.0, 3.5)),
        Sample("odd.name_total", {}, float("inf")),
    ],
)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (render_text([FAMILY]), "text/plain; version=1.0.0"),
        (render_openmetrics([FAMILY]), "application/openmetrics-text; version=1.0.0"),
    ],
)
def test_what_is_rendered_reads_back(body: bytes, content_type: str) -> None:
    found = parse(body, content_type, default_timestamp_ms=5)
    assert [dict(labels) for labels in found.labels] == [
        {"__name__": "odd.name_total", "l": 'x"\\\n', "o.k": "é"},
        {"__name__": "odd.name_total"},
    ]
    assert found.values.tolist() == [1.5, float("inf")]
    assert found.timestamps_ms.tolist() == [1000, 5]
    (meta,) = found.metadata.values()
    assert (meta.type, meta.help) == ("counter", 'a "b" \\ c\nd')
    if "openmetrics" in content_type:
        (exemplar,) = found.exemplars
        assert (dict(exemplar.labels), exemplar.value, exemplar.timestamp_ms) == ({"id": "t"}, 2.0, 3500)


def test_the_registry_is_light() -> None:
    code = "import sys, wavetank.exposition.registry; print({'numpy', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
