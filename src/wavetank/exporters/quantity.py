"""Kubernetes quantities and timestamps as numbers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any, Final

__all__ = ["quantity", "unix_seconds"]

_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def quantity(value: Any) -> float:
    """``500m`` is 0.5, ``1Gi`` is 1073741824. Raises ValueError."""
    text = str(value).strip()
    number, scale = text, Decimal(1)
    for length in (2, 1):
        if text[-length:] in _SUFFIXES:
            number, scale = text[:-length], _SUFFIXES[text[-length:]]
            break
    try:
        return float(Decimal(number) * scale)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a quantity") from None


def unix_seconds(text: Any) -> float | None:
    """RFC 3339 to Unix seconds; None where there is no time."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
