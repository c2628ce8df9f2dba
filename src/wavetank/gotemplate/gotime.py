"""Go's ``time.Time`` and ``time.Duration`` as templates see them.

Follows https://pkg.go.dev/time: layouts are written as the reference time would look.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, Final
from zoneinfo import ZoneInfo

__all__ = ["GoDuration", "GoTime", "format_duration", "parse_time"]

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ZERO: Final = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_LAYOUT: Final = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|-07:00:00|-07:00|-0700|-07|Z07:00|Z0700|002|_2|01|02|03|04|05|06|15|PM|pm"
    r"|[.,]0+(?![0-9])|[.,]9+(?![0-9])|1|2|3|4|5"
)


class GoDuration(float):
    """A length of time in seconds; prints as ``1h2m3.5s``."""

    go_methods: Final[dict[str, Callable[..., Any]]] = {
        "Hours": lambda d: float(d) / 3600,
        "Minutes": lambda d: float(d) / 60,
        "Seconds": lambda d: float(d),
        "Milliseconds": lambda d: int(d * 1000),
        "String": lambda d: format_duration(d),
    }


def format_duration(seconds: float) -> str:
    """As Go prints a duration."""
    sign, v = ("-", -seconds) if seconds < 0 else ("", float(seconds))
    if v == 0:
        return "0s"
    if v < 1:
        for unit, scale in (("ms", 1e3), ("µs", 1e6), ("ns", 1e9)):
            if v * scale >= 1:
                return f"{sign}{v * scale:.10g}{unit}"
        return "0s"
    hours, rest = divmod(v, 3600)
    minutes, left = divmod(rest, 60)
    text = f"{left:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{sign}{int(hours)}h{int(minutes)}m{text}"
    return f"{sign}{int(minutes)}m{text}" if minutes else sign + text


class GoTime:
    """A moment in a zone; 0 seconds stands for Go's zero time."""

    __slots__ = ("at",)
    go_methods: Final[dict[str, Callable[..., Any]]] = {
        "Add": lambda t, d: GoTime(t.at + dt.timedelta(seconds=float(d))),
        "After": lambda t, other: t.at > other.at,
        "Before": lambda t, other: t.at < other.at,
        "Day": lambda t: t.at.day,
        "Equal": lambda t, other: t.at == other.at,
        "Format": lambda t, layout: t.format(layout),
        "Hour": lambda t: t.at.hour,
        "IsZero": lambda t: t.at == _ZERO,
        "Local": lambda t: t.within("Local"),
        "Minute": lambda t: t.at.minute,
        "Month": lambda t: f"{t.at:%B}",
        "Second": lambda t: t.at.second,
        "String": lambda t: str(t),
        "Sub": lambda t, other: GoDuration((t.at - other.at).total_seconds()),
        "UTC": lambda t: GoTime(t.at.astimezone(dt.UTC)),
        "Unix": lambda t: int((t.at - _EPOCH).total_seconds() // 1),
        "UnixMilli": lambda t: int((t.at - _EPOCH) / dt.timedelta(milliseconds=1)),
        "Weekday": lambda t: f"{t.at:%A}",
        "Year": lambda t: t.at.year,
    }

    def __init__(self, at: dt.datetime) -> None:
        self.at = at

    @classmethod
    def of(cls, seconds: float) -> GoTime:
        """The moment of Unix seconds, in UTC."""
        return cls(_ZERO if seconds == 0 else _EPOCH + dt.timedelta(microseconds=round(seconds * 1e6)))

    def within(self, zone: str) -> GoTime:
        """The same moment elsewhere. Raises ValueError for an unknown zone."""
        if zone == "Local":
            return GoTime(self.at.astimezone())
        try:
            return GoTime(self.at.astimezone(dt.UTC if zone in ("", "UTC") else ZoneInfo(zone)))
        except (KeyError, ValueError, OSError):  # a zone that is not there is a KeyError
            raise ValueError(f"unknown time zone {zone}") from None

    def format(self, layout: str) -> str:
        return _LAYOUT.sub(lambda found: _piece(self.at, found[0]), layout)

    def rfc3339(self) -> str:
        """As Go writes it in JSON: as many digits of the second as are needed."""
        fraction = f".{self.at.microsecond:06d}".rstrip("0") if self.at.microsecond else ""
        return f"{_seconds(self.at)}{fraction}{_offset(self.at, ':') or 'Z'}"

    def __str__(self) -> str:
        fraction = f".{self.at.microsecond:06d}".rstrip("0") if self.at.microsecond else ""
        return f"{_seconds(self.at).replace('T', ' ')}{fraction} {_piece(self.at, '-0700')} {self.at:%Z}"


def _seconds(at: dt.datetime) -> str:
    return at.replace(tzinfo=None, microsecond=0).isoformat()


def _offset(at: dt.datetime, colon: str) -> str:
    minutes = int((at.utcoffset() or dt.timedelta()).total_seconds() // 60)
    if not minutes:
        return ""
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}{colon}{abs(minutes) % 60:02d}"


def _piece(at: dt.datetime, piece: str) -> str:
    """What stands in a moment where the layout has the reference time's ``piece``."""
    if piece[0] in ".," and piece[1:2] in ("0", "9"):
        digits = f"{at.microsecond:06d}000"[: len(piece) - 1]
        digits = digits.rstrip("0") if piece[1] == "9" else digits
        return piece[0] + digits if digits else ""
    if piece.startswith("Z"):
        return _offset(at, piece[3:4]) or "Z"
    if piece.startswith("-07"):
        text = _offset(at, ":" if ":" in piece else "")
        text = text or ("+00:00" if ":" in piece else "+0000")
        return text[:3] if piece == "-07" else text
    plain: dict[str, str] = {
        "2006": f"{at.year:04d}", "06": f"{at.year % 100:02d}", "January": f"{at:%B}", "Jan": f"{at:%b}",
        "01": f"{at.month:02d}", "1": str(at.month), "Monday": f"{at:%A}", "Mon": f"{at:%a}",
        "02": f"{at.day:02d}", "_2": f"{at.day:2d}", "2": str(at.day), "002": f"{at:%j}",
        "15": f"{at.hour:02d}", "03": f"{(at.hour - 1) % 12 + 1:02d}", "3": str((at.hour - 1) % 12 + 1),
        "04": f"{at.minute:02d}", "4": str(at.minute), "05": f"{at.second:02d}", "5": str(at.second),
        "PM": f"{at:%p}", "pm": f"{at:%p}".lower(), "MST": f"{at:%Z}",
    }  # fmt: skip
    return plain.get(piece, piece)


_PATTERNS: Final = {
    "2006": "%Y", "06": "%y", "January": "%B", "Jan": "%b", "01": "%m", "1": "%m", "Monday": "%A",
    "Mon": "%a", "02": "%d", "2": "%d", "_2": "%d", "15": "%H", "03": "%I", "3": "%I", "04": "%M", "4": "%M",
    "05": "%S", "5": "%S", "PM": "%p", "pm": "%p", "Z07:00": "%z", "Z0700": "%z", "-0700": "%z",
    "-07:00": "%z",
}  # fmt: skip


def parse_time(layout: str, text: str) -> GoTime:
    """Read a time by a layout, in UTC where it names no zone. Raises ValueError."""
    pattern = _LAYOUT.sub(lambda found: _PATTERNS.get(found[0], ".%f"), layout.replace("%", "%%"))
    try:
        at = dt.datetime.strptime(text, pattern)
    except ValueError:
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse') from None
    return GoTime(at if at.tzinfo else at.replace(tzinfo=dt.UTC))
