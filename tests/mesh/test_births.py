"""Counters that appear with a value are preceded by their zero; gauges and known series are not."""

from __future__ import annotations

from wavetank.mesh.births import CounterBirths

FIRST = b"""# TYPE istio_requests_total counter
istio_requests_total{response_code="200"} 7
# TYPE up gauge
up 1
"""
SECOND = b"""# TYPE istio_requests_total counter
istio_requests_total{response_code="200"} 9
istio_requests_total{response_code="503"} 3
# TYPE up gauge
up 1
"""


def test_a_new_counter_is_zero_at_the_reading_before() -> None:
    births = CounterBirths(1000)
    assert births.annotate(FIRST, 3000).splitlines()[1:3] == [
        b'istio_requests_total{response_code="200"} 0 1000',
        b'istio_requests_total{response_code="200"} 7',
    ]
    assert births.annotate(SECOND, 5000).splitlines()[1:4] == [
        b'istio_requests_total{response_code="200"} 9',
        b'istio_requests_total{response_code="503"} 0 3000',
        b'istio_requests_total{response_code="503"} 3',
    ]
    assert births.annotate(SECOND, 7000) == SECOND
