"""Settings of all tests: property tests have no deadline (machines are noisy) and print what reproduces them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "wavetank", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("wavetank")
