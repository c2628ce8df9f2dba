"""Kubernetes quantities: exact decimal numbers with SI or binary suffixes.

Mirrors ``k8s.io/apimachinery/pkg/api/resource``. Values are kept as exact fractions of one unit; ``milli``
and ``whole`` round up, as ``MilliValue`` and ``Value`` do. ``canonical`` prints the shortest form with the
suffix family that was read. Left out: values beyond 2**63-1 keep their exact size where upstream caps them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from wavetank.errors import InputError

__all__ = ["Quantity", "canonical", "format_bytes", "format_milli", "milli", "parse_quantity", "whole"]

_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX_OF: Final = {power: suffix for suffix, power in _DECIMAL.items()}
_PATTERN: Final = re.compile(
    r"^([+-]?)([0-9]{0,64}(?:\.[0-9]{0,64})?)(?:([KMGTPE]i)|([eE][+-]?[0-9]{1,3})|([numkMGTPE]?))$"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """``value`` units, exactly; ``family`` is "binary", "exponent" or "decimal": how it was written."""

    value: Fraction
    family: str = "decimal"

    def __str__(self) -> str:
        return _print(self)


@lru_cache(maxsize=8192)
def _parse(text: str) -> Quantity:
    match = _PATTERN.match(text)
    if match is None or not any(c.isdigit() for c in match[2]):
        raise InputError(
            f"{text!r} is not a quantity",
            fix="quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        )
    sign, digits, binary, exponent, decimal = match.groups()
    number = Fraction(digits if digits[0] != "." else "0" + digits)
    if sign == "-":
        number = -number
    if binary:
        number *= 1024 ** _BINARY[binary]
        family = "binary"
    elif exponent:
        number *= Fraction(10) ** int(exponent[1:])
        family = "exponent"
    else:
        number *= Fraction(10) ** _DECIMAL[decimal]
        family = "decimal"
    # Upstream keeps nanos and rounds what is finer away from zero.
    nanos = number * 10**9
    if nanos.denominator != 1:
        number = Fraction(_away_from_zero(nanos), 10**9)
    return Quantity(number, family)


def parse_quantity(value: Any) -> Quantity:
    """Read a quantity as it stands in JSON: a string or a number. Raises InputError with the value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{value!r} is not a quantity", fix='write a string such as "100m" or "1Gi"')
    return _parse(
        value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
    )


def milli(value: Any) -> int:
    """Thousandths of a unit, rounded away from zero (``MilliValue``)."""
    return _away_from_zero(parse_quantity(value).value * 1000)


def whole(value: Any) -> int:
    """Whole units, rounded away from zero (``Value``)."""
    return _away_from_zero(parse_quantity(value).value)


def canonical(value: Any) -> str:
    """The canonical text of a quantity: ``1000m`` is ``1``, ``1024Mi`` is ``1Gi``."""
    return _print(parse_quantity(value))


def format_milli(thousandths: int) -> str:
    """A quantity from thousandths: 1500 is ``1500m``, 2000 is ``2``."""
    return _print(Quantity(Fraction(thousandths, 1000)))


def format_bytes(count: int) -> str:
    """A quantity in the binary family: 1048576 is ``1Mi``."""
    return _print(Quantity(Fraction(count), "binary"))


def _away_from_zero(number: Fraction) -> int:
    quotient, remainder = divmod(abs(number.numerator), number.denominator)
    result = quotient + (1 if remainder else 0)
    return -result if number < 0 else result


def _print(quantity: Quantity) -> str:
    number = quantity.value
    if number == 0:
        return "0"
    if quantity.family == "binary" and abs(number) >= 1024 and number.denominator == 1:
        units, index = number.numerator, 0
        while units % 1024 == 0 and index < 6:
            units, index = units // 1024, index + 1
        return f"{units}{[*_BINARY][index - 1] if index else ''}"
    nanos = number * 10**9
    mantissa, power = int(nanos), -9
    while power < 18 and mantissa % 1000 == 0:
        mantissa, power = mantissa // 1000, power + 3
    if quantity.family == "exponent":
        return f"{mantissa}e{power}" if power else str(mantissa)
    return f"{mantissa}{_SUFFIX_OF[power]}"
