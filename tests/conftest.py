"""Settings of all tests: property tests have no deadline (machines are noisy) and print what reproduces them.

In CI they draw the same examples every time, so that a red run can be repeated; elsewhere they explore.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "wavetank",
    deadline=None,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("wavetank")
