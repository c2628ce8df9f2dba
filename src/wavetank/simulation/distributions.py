"""Service time distributions: what a request needs of a pod when it has the pod to itself, in seconds.

A distribution is a kind and two numbers, or a table of quantiles.
Lognormal is given by mean and p99 (what people read off a dashboard), gamma by mean and coefficient of
variation, empirical by quantiles as a rehearsal measures them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wavetank.simulation.stream import Stream

__all__ = ["CONSTANT", "EMPIRICAL", "EXPONENTIAL", "GAMMA", "LOGNORMAL", "Distribution"]

CONSTANT: Final = 0
EXPONENTIAL: Final = 1
LOGNORMAL: Final = 2
GAMMA: Final = 3
EMPIRICAL: Final = 4
NAMES: Final = ("constant", "exponential", "lognormal", "gamma", "empirical")
_Z99: Final = 2.3263478740408408
#: Entries of the table an empirical distribution is drawn from: its 99.9th percentile has 4 of its own.
_TABLE: Final = 4096

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Distribution:
    """``a`` and ``b``: constant and exponential (mean, 0), lognormal (mu, sigma), gamma (shape, scale).

    ``table`` holds evenly spaced quantiles of an empirical one, float64[n], and is empty otherwise.
    """

    kind: int
    a: float
    b: float
    mean: float
    table: tuple[float, ...] = ()

    @property
    def shown(self) -> str:
        return f"{NAMES[self.kind]}, mean {self.mean * 1000:.4g} ms"

    def fill(self, out: Floats, stream: Stream) -> None:
        """Draw ``out`` float64[n], in seconds."""
        if self.kind == CONSTANT:
            out[:] = self.a
        elif self.kind == EXPONENTIAL:
            stream.exponential(out)
            out *= self.a
        elif self.kind == LOGNORMAL:
            stream.rng.standard_normal(out=out)
            np.exp(self.a + self.b * out, out=out)
        elif self.kind == GAMMA:
            stream.rng.standard_gamma(self.a, out=out)
            out *= self.b
        else:
            table = np.array(self.table, np.float64)
            out[:] = table[stream.rng.integers(0, len(table), len(out))]

    @classmethod
    def constant(cls, mean: float) -> Distribution:
        return cls(CONSTANT, mean, 0.0, mean)

    @classmethod
    def exponential(cls, mean: float) -> Distribution:
        return cls(EXPONENTIAL, mean, 0.0, mean)

    @classmethod
    def lognormal(cls, mean: float, p99: float) -> Distribution:
        """Solves exp(mu + s^2/2) = mean, exp(mu + z s) = p99. ValueError where no s does: p99 may be at most
        exp(z^2/2), about 15 times, the mean."""
        ratio = math.log(p99 / mean)
        square = _Z99 * _Z99 - 2 * ratio
        if p99 < mean or square < 0:
            raise ValueError(f"no lognormal has mean {mean:g} s and p99 {p99:g} s")
        sigma = _Z99 - math.sqrt(square)
        return cls(LOGNORMAL, math.log(mean) - sigma * sigma / 2, sigma, mean)

    @classmethod
    def gamma(cls, mean: float, cv: float) -> Distribution:
        shape = 1 / (cv * cv)
        return cls(GAMMA, shape, mean / shape, mean)

    @classmethod
    def empirical(cls, points: tuple[tuple[float, float], ...]) -> Distribution:
        """Through ``(share of requests, seconds)``, shares rising from 0 to 1, linear between."""
        shares, seconds = (np.array(column) for column in zip(*points, strict=True))
        table = np.interp((np.arange(_TABLE) + 0.5) / _TABLE, shares, seconds)
        mean = float(table.mean())
        return cls(EMPIRICAL, 0.0, 0.0, mean, tuple(table.tolist()))
