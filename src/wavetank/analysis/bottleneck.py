"""What gave out first: the earliest sign of a resource at its end, with the measurements that say so.

A sign counts when it holds for two steps in a row. Signs that end requests (errors, kills) beat signs of
strain only by coming earlier: the question is what came first, since the rest usually follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Finding", "Sign", "first_to_give_out"]

Points = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Sign:
    """A measured series and the bound beyond which its resource has given out.

    ``what`` completes the sentence "… gave out first"; ``shown`` formats a value for the evidence.
    """

    what: str
    values: Points
    bound: float
    shown: str


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    at: float
    evidence: tuple[str, ...]


def first_to_give_out(times: Sequence[float], signs: Sequence[Sign]) -> Finding | None:
    """The sign that crossed its bound first; None if none did. ``times`` are Unix seconds."""
    crossings = [
        (times[i], order, sign, sign.values[i])
        for order, sign in enumerate(signs)
        if (i := _first_crossing(sign)) is not None and i < len(times)
    ]
    if not crossings:
        return None
    at, _, sign, value = min(crossings, key=lambda c: (c[0], c[1]))
    peak = max(v for v in sign.values if v is not None)
    evidence = [f"{sign.shown.format(value)} at first, {sign.shown.format(peak)} at most"]
    evidence += [
        f"{later.what}: {t - at:.0f} s later"
        for t, _, later, _ in sorted(crossings, key=lambda c: (c[0], c[1]))
        if later is not sign
    ]
    return Finding(sign.what, at, tuple(evidence))


def _first_crossing(sign: Sign) -> int | None:
    values = sign.values
    for i in range(len(values) - 1):
        first, second = values[i], values[i + 1]
        if first is not None and second is not None and first > sign.bound and second > sign.bound:
            return i
    return None
