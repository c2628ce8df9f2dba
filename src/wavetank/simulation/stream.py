"""A stream of random numbers with a name, drawn as columns.

NumPy's SFC64 gives everything but the exponentials, of which a request takes one or two: the ziggurat of
G. Marsaglia and W. W. Tsang, The ziggurat method for generating random variables (2000), compiled with the
generator (C. Doty-Humphrey's SFC64) in it, takes less than half of NumPy's time for them.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wavetank.jit import kernel

__all__ = ["Stream"]

Floats = npt.NDArray[np.float64]

_LAYERS: Final = 256
#: Where the tail begins, and the area of each layer: of the paper, for 256 layers.
_TAIL: Final = 7.69711747013104972
_AREA: Final = 0.0039496598225815571993
_MANTISSA: Final = 1 << 53


def _tables() -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """(53-bit numbers below which a layer is all under the curve, width of one of them, heights)."""
    edges = np.zeros(_LAYERS + 1)
    edges[0], edges[1] = _AREA * math.exp(_TAIL), _TAIL
    for i in range(2, _LAYERS):
        edges[i] = -math.log(math.exp(-edges[i - 1]) + _AREA / edges[i - 1])
    inner = edges[1:] / edges[:-1] * _MANTISSA
    return inner.astype(np.int64), edges[:-1] / _MANTISSA, np.exp(-edges)


_INNER, _WIDTH, _HEIGHT = _tables()


@kernel(allocates=False)
def _exponential(state: Any, out: Any, inner: Any, width: Any, height: Any) -> None:
    """Fill ``out`` float64[n] with mean 1; ``state`` uint64[4] is SFC64's."""
    a, b, c, d = state[0], state[1], state[2], state[3]
    one, eleven, three = np.uint64(1), np.uint64(11), np.uint64(3)
    left, right, low = np.uint64(24), np.uint64(40), np.uint64(_LAYERS - 1)
    filled, asked, x = 0, False, 0.0
    layer = np.int64(0)
    while filled < len(out):
        bits = a + b + d
        d += one
        a = b ^ (b >> eleven)
        b = c + (c << three)
        c = ((c << left) | (c >> right)) + bits
        number = np.int64(bits >> eleven)
        if asked:
            # Outside of the layer's inner part: by chance, in the tail or under the curve.
            asked = False
            share = number * (1.0 / _MANTISSA)
            if layer == 0:
                out[filled] = _TAIL - math.log(1.0 - share)
                filled += 1
            elif height[layer] + share * (height[layer + 1] - height[layer]) < math.exp(-x):
                out[filled] = x
                filled += 1
            continue
        layer = np.int64(bits & low)
        x = number * width[layer]
        if number < inner[layer]:
            out[filled] = x
            filled += 1
        else:
            asked = True
    state[0], state[1], state[2], state[3] = a, b, c, d


class Stream:
    """One of its own for each name, as ``Clock.random``."""

    __slots__ = ("_state", "rng")

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        self.rng = np.random.Generator(np.random.SFC64(int.from_bytes(digest[:16], "big")))
        self._state = self.rng.integers(0, 1 << 64, 4, np.uint64)

    def exponential(self, out: Floats) -> None:
        """Fill ``out`` float64[n], mean 1."""
        _exponential(self._state, out, _INNER, _WIDTH, _HEIGHT)
