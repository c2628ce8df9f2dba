"""Numbers as text: the units of a field, its decimals, and the rule for how many are shown when none are
given.

Mirrors ``getValueFormat`` of Grafana's data library, checked against a table of its outputs
(tests/dashboards/data/units.json). A ``Format`` is plain data, because the browser writes axis ticks and
tooltips by the same rules (ui/src/dashboards/format.ts). Dates are written in UTC here; relative dates ("2
hours ago") need a present and are left to the browser, which has one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, Final

from wavetank.dashboards.unit_table import BINARY, COUNT, CURRENCY, FIXED, SI

__all__ = ["Format", "auto_decimals", "format_of", "to_fixed", "unit_ids"]

_SI: Final = ("f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y")
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SHORT: Final = ("", " K", " Mil", " Bil", " Tri", " Quadr", " Quint", " Sext", " Sept")
_COUNTS: Final = ("", "K", "M", "B", "T")
_PLURAL: Final = (" min", " hour", " day", " week", " year")

Steps = tuple[tuple[float, float, str], ...]  # below this size: divided by, suffix

_DAY: Final = 86400.0
_STEPS: Final[dict[str, Steps]] = {
    "ns": (
        (1e3, 1, " ns"),
        (1e6, 1e3, " µs"),
        (1e9, 1e6, " ms"),
        (6e10, 1e9, " s"),
        (36e11, 6e10, " min"),
        (864e11, 36e11, " hour"),
        (math.inf, 864e11, " day"),
    ),
    "µs": ((1e3, 1, " µs"), (1e6, 1e3, " ms"), (math.inf, 1e6, " s")),
    "ms": (
        (1e3, 1, " ms"),
        (6e4, 1e3, " s"),
        (36e5, 6e4, " min"),
        (864e5, 36e5, " hour"),
        (31536e6, 864e5, " day"),
        (math.inf, 31536e6, " year"),
    ),
    "s": (
        (1e-6, 1e-9, " ns"),
        (1e-3, 1e-6, " µs"),
        (1, 1e-3, " ms"),
        (60, 1, " s"),
        (3600, 60, " min"),
        (_DAY, 3600, " hour"),
        (7 * _DAY, _DAY, " day"),
        (31536e3, 7 * _DAY, " week"),
        (math.inf, 31556900, " year"),
    ),
    "m": (
        (60, 1, " min"),
        (1440, 60, " hour"),
        (10080, 1440, " day"),
        (604800, 10080, " week"),
        (math.inf, 525948, " year"),
    ),
    "h": ((24, 1, " hour"), (168, 24, " day"), (8760, 168, " week"), (math.inf, 8760, " year")),
    "d": ((7, 1, " day"), (365, 7, " week"), (math.inf, 365, " year")),
}
#: The unit in which nothing is pluralised, as the number itself is shown.
_PLAIN_FIRST: Final = {"ns": " ns", "µs": " µs", "ms": " ms", "s": " s", "m": " min", "h": " hour"}
_DATES: Final = {
    "dateTimeAsIso": "YYYY-MM-DD HH:mm:ss",
    "dateTimeAsIsoNoDateIfToday": "YYYY-MM-DD HH:mm:ss",
    "dateTimeAsUS": "MM/DD/YYYY h:mm:ss a",
    "dateTimeAsUSNoDateIfToday": "MM/DD/YYYY h:mm:ss a",
    "dateTimeAsLocal": "YYYY-MM-DD HH:mm:ss",
    "dateTimeAsLocalNoDateIfToday": "YYYY-MM-DD HH:mm:ss",
    "dateTimeAsSystem": "YYYY-MM-DD HH:mm:ss",
    "dateTimeFromNow": "fromNow",
}
_NUMBERS: Final = {"hex": "hex", "hex0x": "0x", "sci": "scientific", "locale": "locale"}
_BOOLS: Final = {"bool": ("True", "False"), "bool_yes_no": ("Yes", "No"), "bool_on_off": ("On", "Off")}
_CLOCKS: Final = ("dtdurationms", "dtdurations", "dthms", "dtdhms", "timeticks", "clockms", "clocks")
_UNITS_LONG: Final = (
    ("year", 31536e6),
    ("month", 2592e6),
    ("week", 604.8e6),
    ("day", 86.4e6),
    ("hour", 3.6e6),
    ("minute", 6e4),
    ("second", 1e3),
    ("millisecond", 1.0),
)


@dataclass(frozen=True, slots=True)
class Format:
    """How to write a number. ``kind`` says which of the other fields count; see ``as_json`` for the browser's
    form.

    scaled  ``units[start + k]`` after the number divided by ``factor ** k``, ``prefix`` before it
    steps   the first of ``steps`` whose bound the number is below
    fixed   the number times ``factor``, between ``prefix`` and ``suffix``
    others  named by ``style``
    """

    kind: str
    factor: float = 1.0
    units: tuple[str, ...] = ()
    start: int = 0
    prefix: str = ""
    suffix: str = ""
    steps: Steps = ()
    style: str = ""

    def text(self, value: float | None, decimals: int | None = None) -> str:
        """The number in words; "" for none, and ``NaN``, ``∞``, ``-∞`` as they are."""
        if value is None:
            return ""
        if not math.isfinite(value) and self.kind not in ("bool", "date"):
            return _not_finite(value, self.prefix, self.suffix)
        return _TEXT[self.kind](self, value, decimals)

    def as_json(self, decimals: int | None) -> dict[str, Any]:
        """As ``Format`` of the browser's contract."""
        head: dict[str, Any] = {"kind": self.kind, "decimals": decimals}
        match self.kind:
            case "scaled":
                return head | {
                    "factor": self.factor,
                    "units": self.units,
                    "start": self.start,
                    "prefix": self.prefix,
                }
            case "steps":
                rows = [
                    {"below": None if below == math.inf else below, "factor": factor, "suffix": suffix}
                    for below, factor, suffix in self.steps
                ]
                return head | {"steps": rows, "plain": self.suffix}
            case "fixed":
                return head | {"factor": self.factor, "prefix": self.prefix, "suffix": self.suffix}
            case "bool":
                return {"kind": "bool", "yes": self.prefix, "no": self.suffix}
            case "date":
                return {"kind": "date", "pattern": self.style}
            case _:
                return head | {"style": self.style}


def _not_finite(value: float, prefix: str, suffix: str) -> str:
    sign = "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    return sign if math.isnan(value) else f"{prefix}{sign}{suffix}"


def auto_decimals(value: float) -> int:
    """Decimals that show about three significant digits; none for whole numbers."""
    if value % 1 == 0:
        return 0
    decimals = 1 - math.floor(math.log(abs(value)) / math.log(10))
    if abs(value) / 10.0**-decimals > 2.25:
        decimals += 1
    return max(0, decimals)


def to_fixed(value: float, decimals: int | None) -> str:
    """The number rounded half up to ``decimals``, as JavaScript would print it."""
    places = auto_decimals(value) if decimals is None else decimals
    if value == 0:
        return f"{0:.{max(0, places)}f}"
    factor = 10.0 ** max(0, places)
    scaled = value * factor
    if not math.isfinite(scaled):
        return js_number(value)
    rounded = math.floor(scaled + 0.5) / factor
    text = js_number(rounded)
    if "e" in text or places <= 0:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(places, '0')}"


def js_number(value: float) -> str:
    """A number as JavaScript's ``String`` gives it: shortest digits; exponents from 1e21 and below 1e-6."""
    if value == 0:
        return "0"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    size = abs(value)
    if 1e-6 <= size < 1e21:
        text = repr(value)
        return text if "e" not in text else _without_exponent(text)
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return repr(value)
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def _without_exponent(text: str) -> str:
    return format(Decimal(text), "f")


def _scaled(form: Format, value: float, decimals: int | None) -> str:
    sign = ""
    if form.style == "currency" and value < 0:
        sign, value = "-", -value
    power = 0 if value == 0 else math.floor(math.log10(abs(value)) / math.log10(form.factor))
    last = len(form.units) - 1
    unit = form.units[min(max(form.start + power, 0), last)]
    power = min(max(power, -form.start), last - form.start)
    return f"{sign}{form.prefix}{to_fixed(value / form.factor**power, decimals)}{unit}"


def _stepped(form: Format, value: float, decimals: int | None) -> str:
    if value == 0 and form.style == "s":
        return "0 s"
    size = abs(value)
    factor, suffix = next((factor, suffix) for below, factor, suffix in form.steps if size < below)
    shown = value / factor if factor >= 1 else value * round(1 / factor)
    text = to_fixed(shown, decimals)
    plural = suffix in _PLURAL and abs(shown) > 1 and suffix != form.suffix
    return f"{text}{suffix}{'s' if plural else ''}"


def _fixed(form: Format, value: float, decimals: int | None) -> str:
    return f"{form.prefix}{to_fixed(value * form.factor, decimals)}{form.suffix}"


def _number(form: Format, value: float, decimals: int | None) -> str:
    match form.style:
        case "hex" | "0x":
            text = _hex(float(to_fixed(value, decimals)))
            return text if form.style == "hex" else f"-0x{text[1:]}" if text[0] == "-" else f"0x{text}"
        case "scientific":
            text = _shortest_exponent(value) if decimals is None else _half_up(value, decimals)
            mantissa, _, exponent = text.partition("e")
            return f"{mantissa}e{int(exponent):+d}"
        case "locale":
            places = Decimal(1).scaleb(-(3 if decimals is None else decimals))
            text = f"{Decimal(value).quantize(places, ROUND_HALF_UP):,f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case _:
            return js_number(value)


def _shortest_exponent(value: float) -> str:
    for digits in range(17):
        text = f"{value:.{digits}e}"
        if float(text) == value:
            break
    return text


def _half_up(value: float, decimals: int) -> str:
    """Scientific notation, halves away from zero as JavaScript does."""
    number = Decimal(value)
    power = number.adjusted() if number else 0
    digits = number.scaleb(-power).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    if abs(digits) >= 10:
        digits, power = (digits / 10).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP), power + 1
    return f"{digits}e{power}"


def _hex(value: float) -> str:
    """As ``Number.toString(16)`` writes it, fractions to at most thirteen hexadecimal digits."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, fraction = int(value), value - int(value)
    digits, scale = "", 0
    while fraction and scale < 13:
        fraction *= 16
        digits += f"{int(fraction):X}"
        fraction -= int(fraction)
        scale += 1
    return f"{sign}{whole:X}" + (f".{digits}" if digits else "")


def _bool(form: Format, value: float, decimals: int | None) -> str:
    return form.prefix if value and not math.isnan(value) else form.suffix


def _clock(form: Format, value: float, decimals: int | None) -> str:
    match form.style:
        case "dtdurationms":
            return _long(value, decimals, "millisecond", 1.0)
        case "dtdurations":
            return _long(value, decimals, "second", 1000.0)
        case "dthms":
            return _hms(value)
        case "dtdhms":
            if value < 0:
                return f"{_clock(form, -value, decimals)} ago"
            days = int(value // _DAY)
            return (f"{days} d " if days else "") + _hms(value - days * _DAY)
        case "timeticks":
            return format_of("s").text(value / 100, decimals)
        case "clocks":
            return _watch(value * 1000, decimals)
        case _:
            return _watch(value, decimals)


def _long(value: float, decimals: int | None, unit: str, scale: float) -> str:
    """``1 day, 2 hours``: one unit more than ``decimals``."""
    if value == 0:
        return f"0 {unit}s"
    if value < 0:
        return f"{_long(-value, decimals, unit, scale)} ago"
    left, more = value * scale, decimals or 0
    parts: list[str] = []
    for name, length in _UNITS_LONG:
        if more < 0:
            break
        if left / length >= 1 or parts:
            count = math.floor(left / length)
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
            left %= length
            more -= 1
    return ", ".join(parts)


def _hms(value: float) -> str:
    if value < 0:
        return f"{_hms(-value)} ago"
    return f"{int(value // 3600):02d}:{int(value % 3600 // 60):02d}:{int(value % 3600 % 60):02d}"


def _watch(ms: float, decimals: int | None) -> str:
    """``01h:02m:03s:004ms``, the first unit being the largest that is not zero."""
    left = math.floor(ms) if ms >= 0 else -math.floor(-ms)
    rest = left % 3_600_000
    parts = [f"{rest // 60000:02d}m", f"{rest // 1000 % 60:02d}s", f"{rest % 1000:03d}ms"]
    if ms < 1000:
        return parts[2]
    if ms < 60_000:
        return parts[1] if decimals == 0 else ":".join(parts[1:])
    if ms < 3_600_000:
        return ":".join(parts[: 3 if decimals is None or decimals > 1 else decimals + 1])
    hours = f"{math.floor(ms / 3_600_000)}h"
    return ":".join([hours, *parts[: 3 if decimals is None else min(decimals, 3)]])


def _date(form: Format, value: float, decimals: int | None) -> str:
    try:
        moment = datetime.fromtimestamp(value / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return "Invalid date"
    return format_date(moment, "YYYY-MM-DD HH:mm:ss" if form.style == "fromNow" else form.style)


def format_date(moment: datetime, pattern: str) -> str:
    """A moment by a moment.js pattern; the tokens that dashboards use."""
    tokens = {
        "YYYY": f"{moment.year:04d}",
        "YY": f"{moment.year % 100:02d}",
        "MMMM": moment.strftime("%B"),
        "MMM": moment.strftime("%b"),
        "MM": f"{moment.month:02d}",
        "M": str(moment.month),
        "DD": f"{moment.day:02d}",
        "D": str(moment.day),
        "dddd": moment.strftime("%A"),
        "ddd": moment.strftime("%a"),
        "HH": f"{moment.hour:02d}",
        "H": str(moment.hour),
        "hh": f"{moment.hour % 12 or 12:02d}",
        "h": str(moment.hour % 12 or 12),
        "mm": f"{moment.minute:02d}",
        "m": str(moment.minute),
        "ss": f"{moment.second:02d}",
        "s": str(moment.second),
        "SSS": f"{moment.microsecond // 1000:03d}",
        "a": "am" if moment.hour < 12 else "pm",
        "A": "AM" if moment.hour < 12 else "PM",
        "X": str(int(moment.timestamp())),
        "x": str(int(moment.timestamp() * 1000)),
        "ZZ": moment.strftime("%z") or "+0000",
        "Z": (moment.strftime("%z") or "+0000")[:3] + ":" + (moment.strftime("%z") or "+0000")[3:],
    }
    out, i = [], 0
    names = sorted(tokens, key=len, reverse=True)
    while i < len(pattern):
        if pattern[i] == "[" and "]" in pattern[i:]:
            end = pattern.index("]", i)
            out.append(pattern[i + 1 : end])
            i = end + 1
            continue
        found = next((name for name in names if pattern.startswith(name, i)), None)
        out.append(tokens[found] if found else pattern[i])
        i += len(found) if found else 1
    return "".join(out)


_TEXT: Final = {
    "scaled": _scaled,
    "steps": _stepped,
    "fixed": _fixed,
    "number": _number,
    "bool": _bool,
    "clock": _clock,
    "date": _date,
}


@lru_cache(maxsize=4096)
def format_of(unit: str) -> Format:
    """The format of a unit id; an unknown id is a suffix."""
    if unit in ("", "none"):
        return Format("fixed")
    found = _listed(unit)
    if found is not None:
        return found
    key, colon, rest = unit.partition(":")
    if colon and key:
        made = _parametrised(key, rest)
        if made is not None:
            return made
    return Format("fixed", suffix=f" {unit}")


def _listed(unit: str) -> Format | None:
    unit = "fahrenheit" if unit == "farenheit" else unit
    if unit == "short":
        return Format("scaled", 1000, _SHORT)
    if unit == "percent":
        return Format("fixed", suffix="%")
    if unit == "percentunit":
        return Format("fixed", 100, suffix="%")
    if unit == "pressurepsi":
        return Format("scaled", 1000, ("psi", "ksi", "Mpsi"))
    if unit in FIXED:
        return Format("fixed", suffix=f" {FIXED[unit]}" if FIXED[unit] else "")
    if unit in SI:
        return _si(*SI[unit])
    if unit in BINARY:
        symbol, start = BINARY[unit]
        return Format("scaled", 1024, tuple(f" {p}{symbol}" for p in _BINARY), start)
    if unit in COUNT:
        return _count(COUNT[unit])
    if unit in CURRENCY:
        return _currency(*CURRENCY[unit])
    if unit in _STEPS:
        return Format("steps", steps=_STEPS[unit], suffix=_PLAIN_FIRST.get(unit, ""), style=unit)
    if unit in _NUMBERS or unit == "string":
        return Format("number", style=_NUMBERS.get(unit, "string"))
    if unit in _BOOLS:
        return Format("bool", prefix=_BOOLS[unit][0], suffix=_BOOLS[unit][1])
    if unit in _CLOCKS:
        return Format("clock", style=unit)
    if unit in _DATES:
        return Format("date", style=_DATES[unit])
    return None


def _si(symbol: str, start: int) -> Format:
    return Format("scaled", 1000, tuple(f" {p}{symbol}" for p in _SI), 5 + start)


def _count(symbol: str) -> Format:
    return Format("scaled", 1000, tuple(f"{c} {symbol}" for c in _COUNTS))


def _currency(symbol: str, behind: bool) -> Format:
    units = tuple(f"{c}{symbol}" for c in _COUNTS) if behind else _COUNTS
    return Format("scaled", 1000, units, prefix="" if behind else symbol, style="currency")


def _parametrised(key: str, rest: str) -> Format | None:
    match key:
        case "prefix":
            return Format("fixed", prefix=rest)
        case "suffix":
            return Format("fixed", suffix=f" {rest}" if rest else "")
        case "time":
            return Format("date", style=rest)
        case "si":
            power = _SI.index(rest[0]) - 5 if rest and rest[0] in _SI else 0
            return _si(rest[1:] if power else rest, power)
        case "count":
            return _count(rest)
        case "currency":
            parts = rest.split(":")
            if parts[0] == "financial" and len(parts) > 1:
                behind = len(parts) > 2 and parts[2] == "suffix"
                return Format(
                    "fixed",
                    prefix="" if behind else parts[1],
                    suffix=parts[1] if behind else "",
                    style="grouped",
                )
            return _currency(rest, False)
        case "bool":
            yes, slash, no = rest.partition("/")
            return Format("bool", prefix=yes, suffix=no if slash else "-")
        case _:
            return None


def unit_ids() -> list[str]:
    """Every id that has a meaning of its own."""
    fixed = ["none", "string", "short", "percent", "percentunit", "pressurepsi"]
    tables = (FIXED, SI, BINARY, COUNT, CURRENCY, _STEPS, _NUMBERS, _BOOLS, _DATES)
    return list(dict.fromkeys([*fixed, *(unit for table in tables for unit in table), *_CLOCKS]))
