"""A cluster's API in memory, at a virtual time, for the tests of this room."""

from __future__ import annotations

import pytest

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Api
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.local_client import LocalClient
from wavetank.kube.registry import Registry
from wavetank.kube.resources import NAMESPACES
from wavetank.kube.storage import Storage

START = 1_750_000_000.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START, seed=7)


@pytest.fixture
def journal(clock: VirtualClock) -> MemoryJournal:
    return MemoryJournal(clock)


@pytest.fixture
def api(clock: VirtualClock, journal: MemoryJournal) -> Api:
    registry = Registry()
    register_built_in(registry)
    made = Api(Storage(), registry, clock, journal)
    made.create(NAMESPACES, None, {"metadata": {"name": "default"}})
    return made


@pytest.fixture
def client(api: Api) -> LocalClient:
    return LocalClient(api, "test")
