"""Durations, sizes and secrets as Prometheus' configuration writes them.

Durations follow prometheus/common/model, sizes alecthomas/units (powers of two whatever the suffix).
"""

from __future__ import annotations

import re
from typing import Any, Final

from wavetank.model import duration
from wavetank.model.duration import format_duration

__all__ = ["Duration", "Secret", "Size", "format_duration", "parse_duration", "parse_size"]

_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[KMGTPE]i?B|B)")
_SIZE_POWERS: Final = "BKMGTPE"


class Duration(int):
    """A length of time in whole milliseconds."""

    @property
    def seconds(self) -> float:
        return self / 1000

    def __str__(self) -> str:
        return format_duration(self)

    def __repr__(self) -> str:
        return f"Duration({format_duration(self)})"


class Size(int):
    """A number of bytes; 0 means no limit."""

    def __str__(self) -> str:
        return format_size(self)


class Secret(str):
    """Text that is never shown: prints as ``<secret>``; the value itself is ``reveal()``."""

    __slots__ = ()

    def __str__(self) -> str:
        return "<secret>" if self else ""

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def reveal(self) -> str:
        return "".join(self)


def parse_duration(text: str) -> Duration:
    """``1h30m``. Raises ValueError with upstream's text."""
    return Duration(duration.parse_duration(text))


def parse_size(text: str) -> Size:
    """``15MB`` to bytes, powers of two. Raises ValueError with upstream's text."""
    if text == "0":
        return Size(0)
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"units: unknown unit {text.lstrip('0123456789.+-')} in {text}")
    power = _SIZE_POWERS.index(found["unit"][0])
    return Size(int(float(found["number"]) * 1024**power))


def format_size(size: int) -> str:
    """The largest unit that divides the size exactly."""
    for power in range(len(_SIZE_POWERS) - 1, 0, -1):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{_SIZE_POWERS[power]}B"
    return f"{size}B" if size else "0"


def decode_value(kind: type, value: Any) -> Any:
    """The hook with which msgspec makes this module's types."""
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    if kind is Duration:
        return parse_duration(value)
    if kind is Size:
        return parse_size(value)
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(kind)
