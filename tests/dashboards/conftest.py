"""A small storage with an hour of data, dashboards over it, and a store."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from dashboard_samples import JOBS, NOW_S

from wavetank.clock import VirtualClock
from wavetank.dashboards.load import to_dashboard
from wavetank.dashboards.refresh import refresh
from wavetank.dashboards.source import EngineSource
from wavetank.dashboards.view import View, open_view
from wavetank.model.labels import Labels
from wavetank.promql.promqltest.memory import MemoryStorage


@pytest.fixture(scope="session")
def storage() -> MemoryStorage:
    found = MemoryStorage()
    times = [(NOW_S - 3600 + 15 * i) * 1000 for i in range(241)]
    for k, job in enumerate(JOBS):
        wave = [(t, 2.0 + k + math.sin(i / 20)) for i, t in enumerate(times)]
        found.add_series(Labels.of(__name__="load", job=job), wave)
        found.add_series(Labels.of(__name__="up", job=job), [(t, float(k != 1)) for t in times])
        for code in ("200", "500"):
            counter = [(t, float(i * (k + 1) * (1 if code == "200" else 0.1))) for i, t in enumerate(times)]
            found.add_series(Labels.of(__name__="requests_total", job=job, code=code), counter)
    for n, le in enumerate(("0.1", "0.5", "+Inf")):
        rising = [(t, float(i * (n + 1))) for i, t in enumerate(times)]
        found.add_series(Labels.of(__name__="latency_bucket", le=le), rising)
    return found


@pytest.fixture(scope="session")
def source(storage: MemoryStorage) -> EngineSource:
    return EngineSource(storage, VirtualClock(start=NOW_S))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(start=NOW_S)


Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def opened(source: EngineSource) -> Callable[..., View]:
    def open_(found: dict[str, Any], **given: Any) -> View:
        values = {name: [v] if isinstance(v, str) else v for name, v in given.items()}
        return open_view(to_dashboard(found), source, NOW_S * 1000, given=values)

    return open_


@pytest.fixture
def answered(source: EngineSource, clock: VirtualClock, opened: Callable[..., View]) -> Answer:
    """The first panel's answer."""

    def answer(found: dict[str, Any], width: int = 600, **given: Any) -> dict[str, Any]:
        view = opened(found, **given)
        placed = [(p, width) for p in view.panels(collapsed=True)]
        all_ = refresh(view, source, clock, panels=placed, catalogue=lambda tags: [])
        return all_["panels"][0]

    return answer
