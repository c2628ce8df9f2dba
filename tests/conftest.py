"""Settings of all tests: property tests have no deadline (machines are noisy) and print what reproduces them.

In CI they draw the same examples every time, so that a red run can be repeated; elsewhere they explore.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "wavetank",
    deadline=None,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("wavetank")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no core waits for the last of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name != "rehearsal"))


@pytest.fixture(autouse=True, scope="module")
def _what_a_module_leaves_open_fails_in_it() -> Iterator[None]:
    """Sockets and files left to the garbage collector are reported here, not in some later module's test."""
    yield
    gc.collect()
