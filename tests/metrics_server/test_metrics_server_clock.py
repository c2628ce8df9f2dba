"""Clocks and counters that go backwards between scrapes: a gap, and then right values again."""

from __future__ import annotations

from wavetank.kube.metrics_server.storage import Point, Storage

KEY = ("default", "web")


def scraped(storage: Storage, at: float, cpu_seconds: float) -> Storage:
    return storage.store({KEY: {"main": Point(0.0, at, int(cpu_seconds * 1e9), 10**6)}}, {})


def cores(storage: Storage) -> float | None:
    usage = storage.pod(KEY)
    return None if usage is None or not usage.containers else usage.containers["main"].cpu_nanocores / 1e9


def test_a_clock_set_back_costs_one_window() -> None:
    jump = -3600.0
    storage = scraped(scraped(Storage(15.0), 10_000.0, 100.0), 10_015.0, 107.5)
    assert cores(storage) == 0.5
    storage = scraped(storage, 10_030.0 + jump, 115.0)
    assert cores(storage) is None, "nothing is made up"
    storage = scraped(storage, 10_045.0 + jump, 122.5)
    assert cores(storage) == 0.5


def test_a_clock_set_forward_shows_less_for_one_window() -> None:
    storage = scraped(scraped(Storage(15.0), 10_000.0, 100.0), 10_015.0, 107.5)
    storage = scraped(storage, 13_630.0, 115.0)
    assert 0 < (cores(storage) or 0) < 0.5
    assert cores(scraped(storage, 13_645.0, 122.5)) == 0.5


def test_a_counter_that_falls_is_no_usage() -> None:
    storage = scraped(scraped(Storage(15.0), 10_000.0, 100.0), 10_015.0, 50.0)
    assert cores(storage) is None
    assert cores(scraped(storage, 10_030.0, 57.5)) == 0.5
