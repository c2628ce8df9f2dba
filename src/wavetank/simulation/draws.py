"""Random numbers of one service's requests, as columns.

One request takes one row: the gap to the next arrival, its need of service, and the balancer's pick. Each
column is drawn from a stream of its own, so that another balancer or another service time meets the same
arrivals.
"""

from __future__ import annotations

import numpy as np

from wavetank.simulation.distributions import Distribution
from wavetank.simulation.kernels import PICK_BITS
from wavetank.simulation.stream import Stream

__all__ = ["BLOCK", "Draws"]

#: Requests a block: the columns fit the second-level cache, and 1.6 % of them are Python's.
BLOCK = 16_384


class Draws:
    """``gaps`` and ``needs`` float64[BLOCK] (in mean gaps; in seconds), ``picks`` int64[BLOCK]."""

    def __init__(self, seed: int, name: str, service: Distribution, *, poisson: bool, picking: bool) -> None:
        self._service = service
        self._poisson = poisson
        self._picking = picking
        self._arrivals, self._work, self._balancer = (
            Stream(seed, f"traffic/{name}/{what}") for what in ("arrivals", "service", "balancer")
        )
        self.gaps = np.ones(BLOCK)
        self.needs = np.zeros(BLOCK)
        self.picks = np.zeros(BLOCK, np.int64)
        first = np.full(1, 0.5)
        if poisson:
            self._arrivals.exponential(first)
        self.first_gap = float(first[0])
        self.refill()

    def refill(self) -> None:
        if self._poisson:
            self._arrivals.exponential(self.gaps)
        self._service.fill(self.needs, self._work)
        if self._picking:
            self.picks = self._balancer.rng.integers(0, 1 << (2 * PICK_BITS), BLOCK)
