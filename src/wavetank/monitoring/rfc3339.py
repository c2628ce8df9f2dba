"""Times as the HTTP API reads and writes them.

Mirrors parseTime of web/api/v1 and Go's time.RFC3339Nano.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Final

from wavetank.model.quoting import quote

__all__ = ["TIME_MAX_MS", "TIME_MIN_MS", "format_time", "parse_time_ms"]

# What upstream's minTime and maxTime come to in milliseconds
TIME_MIN_MS: Final = -9_223_372_036_854_775
TIME_MAX_MS: Final = 9_223_372_036_854_775

_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def parse_time_ms(text: str) -> int:
    """Unix seconds with a fraction, or RFC 3339, to milliseconds. Raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        if math.isfinite(seconds) and "_" not in text:
            return min(max(round(seconds * 1000), TIME_MIN_MS), TIME_MAX_MS)
    found = _RFC3339.fullmatch(text)
    if found is not None:
        day, clock, fraction, zone = found.groups()
        zone = "+00:00" if zone in "Zz" else zone
        try:
            moment = dt.datetime.fromisoformat(f"{day}T{clock}{zone}")
        except ValueError:
            pass
        else:
            milliseconds = int((fraction or "0").ljust(9, "0")) // 1_000_000
            return int((moment - _EPOCH).total_seconds()) * 1000 + milliseconds
    raise ValueError(f"cannot parse {quote(text)} to a valid timestamp")


def format_time(seconds: float) -> str:
    """UTC with as many digits of the second as are needed; Go's zero time for 0."""
    if seconds == 0:
        return "0001-01-01T00:00:00Z"
    milliseconds = round(seconds * 1000)
    moment = _EPOCH + dt.timedelta(milliseconds=milliseconds)
    fraction = f".{milliseconds % 1000:03d}".rstrip("0") if milliseconds % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"
