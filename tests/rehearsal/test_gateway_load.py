"""Load that no generator of ours made is read off the gateway's counters."""

from __future__ import annotations

from wavetank.model.labels import Labels
from wavetank.promql.promqltest.memory import MemoryStorage
from wavetank.rehearsal.outcome.gateway import gateway_load
from wavetank.rehearsal.outcome.timeline import Axis
from wavetank.simulation.query import EngineQuery

ORIGIN = 1_000_000.0


def gateway(rates: dict[str, float], start: float) -> MemoryStorage:
    """Counters scraped every 5 s over two minutes that rise by these rates per status code from ``start`` on."""
    storage = MemoryStorage()
    for code, rate in rates.items():
        samples = [(round((ORIGIN + t) * 1000), max(0.0, t - start) * rate) for t in range(0, 120, 5)]
        storage.add_series(Labels.of(__name__="istio_requests_total", response_code=code), samples)
        for le in ("25", "50", "+Inf"):
            below = 0.0 if le == "25" else 1.0
            name = Labels.of(__name__="istio_request_duration_milliseconds_bucket", response_code=code, le=le)
            storage.add_series(name, [(at, value * below) for at, value in samples])
    return storage


async def test_rates_errors_and_percentiles_of_each_step() -> None:
    axis = Axis(ORIGIN, 5.0, 23)
    rows = await gateway_load(EngineQuery(gateway({"200": 9.0, "503": 1.0}, start=30)), axis)
    assert rows[0].second >= ORIGIN + 30 - 1
    steady = rows[-1]
    assert (steady.requests, steady.failures) == (50, 5)  # of one step, as the generator's rows count
    assert steady.p50 is not None and 0.025 < steady.p50 < 0.05


async def test_a_gateway_that_saw_nothing_has_no_rows() -> None:
    assert await gateway_load(EngineQuery(gateway({"200": 0.0}, start=0)), Axis(ORIGIN, 5.0, 20)) == []
    assert await gateway_load(EngineQuery(MemoryStorage()), Axis(ORIGIN, 5.0, 20)) == []
