"""What the kernels of the per-request resolution share: columns, arrivals, the balancer, seconds.

Requests go one by one through the pods of one service. ``fifo`` serves pods that work on one request at a
time, ``sharing`` all others; each has a kernel ``advance`` over the same arrays, built from the leaves here.

No global event heap: pods are independent between two arrivals, so a pod is brought up to date only when the
balancer looks at it, and at the end of every second. Random numbers come as columns (``draws``), a block at a
time: a kernel stops at the end of a block and goes on with the next one. Times are seconds from the start of
the load: float64 has nanoseconds there.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from wavetank.jit import kernel

__all__ = ["BINS", "COUNTS", "bin_bounds", "settle"]

#: Histogram of latencies: 64 parts an octave as ``wavetank.load.histogram``, from 2^-20 s on.
LOWEST_OCTAVE: Final = -19
BINS: Final = 64 * 40
#: Of a float64's bits from the top: sign, exponent, and the six of the mantissa that name the part.
_BIN_SHIFT: Final = 46
_BIN_FIRST: Final = (1022 + LOWEST_OCTAVE) * 64

# Columns of a pod's numbers. FRESH: until then an arrival is looked at closer (the first one, and warm-up).
AT, VIRTUAL, BUDGET, CPU, THROTTLED, BORN, WARM_FACTOR, WARM_SECONDS, FIRST, FRESH, FREE, BUSY = range(12)
#: A row is two cache lines.
POD_FLOATS: Final = 16
# Columns of a pod's counts. Where pods serve in order, ACTIVE counts those that wait too.
ACTIVE, HEAD, QUEUED, PERIOD, PERIODS, THROTTLED_PERIODS, DONE, TIMED_OUT, REFUSED = range(9)
POD_INTS: Final = 10
# Parameters of the service.
CONCURRENCY, CORES, CPU_SHARE, QUOTA, BACKLOG, TIMEOUT, BALANCER = range(7)
PARAMETERS: Final = 7
# Columns of a second's row.
ARRIVED, COMPLETED, FAILED, P50, P95, P99, LATENCY_SUM, IN_FLIGHT = range(8)
ROW: Final = 8
#: Rows after the last arrival, for what is still being answered then; later seconds add to the last.
AFTERMATH: Final = 64
# Totals by outcome.
OK, GATEWAY_TIMEOUT, UNAVAILABLE = range(3)
COUNTS: Final = 3
# Stream state: time, need (arrivals still to be expected before the next one).
NOW, NEED = range(2)
# Integers of the balancer; CURSOR: of the block of random numbers.
NEXT_POD, SECOND, CURSOR = range(3)
PLACES: Final = 3

ROUND_ROBIN, LEAST_REQUEST, RANDOM = range(3)
#: Bits of a pick: one number of 31 bits above another.
PICK_BITS: Final = 31
#: Numbers by which rows of pods lie further apart than a power of two: else all heads fall on one cache set.
ROW_PADDING: Final = 8


@kernel(inline=True, always=True, allocates=False)
def bin_of(seconds: float) -> int:
    """The latency's bin; what is shorter or longer than the histogram counts in its first or last."""
    if seconds <= 1e-6:
        return 0
    index = (np.float64(seconds).view(np.int64) >> _BIN_SHIFT) - _BIN_FIRST
    return min(max(index, 0), BINS - 1)  # type: ignore[return-value]


def bin_bounds(index: int) -> tuple[float, float]:
    """Least latency of a bin and the least above it, in seconds."""
    octave, part = divmod(index, 64)
    scale = 2.0 ** (octave + LOWEST_OCTAVE)
    return scale * (0.5 + part / 128), scale * (0.5 + (part + 1) / 128)


@kernel(inline=True, always=True, allocates=False)
def first_of(pick: int, length: int) -> int:
    """Any of ``length``, by the upper half of a pick."""
    return ((pick >> PICK_BITS) * length) >> PICK_BITS


@kernel(inline=True, always=True, allocates=False)
def other_of(pick: int, length: int, first: int) -> int:
    """Any of the others, by the lower half."""
    other = ((pick & ((1 << PICK_BITS) - 1)) * (length - 1)) >> PICK_BITS
    return other + 1 if other >= first else other


@kernel(inline=True, always=True, allocates=False)
def warmed(pod: int, now: float, need: float, pods: Any) -> float:
    """A request's need at a pod that is ``FRESH``: the first one is noted, early ones cost more."""
    if pods[pod, FIRST] < 0.0:
        pods[pod, FIRST] = now
    factor, seconds = pods[pod, WARM_FACTOR], pods[pod, WARM_SECONDS]
    age = now - pods[pod, BORN]
    if factor <= 1.0 or age >= 8.0 * seconds:
        pods[pod, FRESH] = -np.inf
        return need
    pods[pod, FRESH] = np.inf
    return need * (1.0 + (factor - 1.0) * math.exp(-age / seconds))  # type: ignore[no-any-return]


@kernel(inline=True, always=True, allocates=False)
def refuse(histogram: Any, second: Any, totals: Any) -> None:
    """A request that no pod takes."""
    totals[UNAVAILABLE] += 1
    second[FAILED] += 1.0
    second[COMPLETED] += 1.0
    histogram[0] += 1


@kernel(inline=True, always=True, allocates=False)
def complete(
    pod: int, latency: float, timeout: float, counts: Any, histogram: Any, second: Any, totals: Any
) -> None:
    """Note how a request ended for its client."""
    if latency > timeout:
        counts[pod, TIMED_OUT] += 1
        totals[GATEWAY_TIMEOUT] += 1
        latency = timeout
        second[FAILED] += 1.0
    else:
        counts[pod, DONE] += 1
        totals[OK] += 1
    second[COMPLETED] += 1.0
    second[LATENCY_SUM] += latency
    histogram[bin_of(latency)] += 1


@kernel(inline=True, always=True, allocates=False)
def _middle(index: int) -> float:
    """Of a bin, in seconds."""
    return math.ldexp(0.5 + (index % 64 + 0.5) / 128, index // 64 + LOWEST_OCTAVE)


@kernel(allocates=False)
def settle(histogram: Any, cumulative: Any, second: Any) -> None:
    """The end of a second: its percentiles (nearest rank) into its row, its histogram into the run's."""
    count = int(second[COMPLETED])
    if count <= 0:
        second[P50] = second[P95] = second[P99] = np.nan
        return
    low, middle, high = math.ceil(count * 0.50), math.ceil(count * 0.95), math.ceil(count * 0.99)
    seen = 0
    for i in range(BINS):
        here = histogram[i]
        if here == 0:
            continue
        before = seen
        seen += here
        if before < low <= seen:
            second[P50] = _middle(i)
        if before < middle <= seen:
            second[P95] = _middle(i)
        if before < high <= seen:
            second[P99] = _middle(i)
        cumulative[i] += here
        histogram[i] = 0
        if seen >= count:
            return
