"""Names of metrics and labels, by translation strategy.

Follows the OpenTelemetry specification "Prometheus and OpenMetrics Compatibility" as upstream implements it:
units and types become suffixes, characters that are not allowed become underscores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Namer", "unit_suffixes"]

_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
_PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_NOT_METRIC: Final = re.compile(r"[^A-Za-z0-9:]+")
_NOT_UNIT: Final = re.compile(r"[^A-Za-z0-9]+")
_NOT_LABEL: Final = re.compile(r"[^A-Za-z0-9_]")


def unit_suffixes(unit: str) -> tuple[str, str]:
    """``By/s`` is ("bytes", "per_second"); units in braces are annotations and give nothing."""
    main, _, per = unit.partition("/")
    main, per = main.strip(), per.strip()
    first = "" if not main or "{" in main else _clean(_UNITS.get(main, main))
    second = "" if not per or "{" in per else _clean(_PER.get(per, per))
    return first, f"per_{second}" if second else ""


def _clean(text: str) -> str:
    return "_".join(part for part in _NOT_UNIT.split(text) if part)


@dataclass(frozen=True, slots=True)
class Namer:
    """One translation strategy and its settings."""

    strategy: str = "UnderscoreEscapingWithSuffixes"
    sanitize_label_underscores: bool = True
    keep_multiple_underscores: bool = True

    @property
    def _escapes(self) -> bool:
        return self.strategy.startswith("UnderscoreEscaping")

    @property
    def _suffixes(self) -> bool:
        return self.strategy.endswith("WithSuffixes")

    def metric(self, name: str, unit: str, *, counter: bool = False, gauge: bool = False) -> str:
        """A metric's name; ``counter`` is a monotonic sum."""
        if not self._escapes:
            return self._with_suffixes(name, unit, counter, gauge) if self._suffixes else name
        tokens = [token for token in _NOT_METRIC.split(name) if token]
        if self._suffixes:
            main, per = unit_suffixes(unit)
            if main and main not in tokens:
                tokens.append(main)
            if per and per.removeprefix("per_") not in tokens:
                tokens += ["per", per.removeprefix("per_")]
            if counter:
                tokens = [token for token in tokens if token != "total"] + ["total"]
            if unit == "1" and gauge:
                tokens = [token for token in tokens if token != "ratio"] + ["ratio"]
        made = "_".join(tokens)
        return f"_{made}" if made[:1].isdigit() else made

    @staticmethod
    def _with_suffixes(name: str, unit: str, counter: bool, gauge: bool) -> str:
        main, per = unit_suffixes(unit)
        if counter:
            name = name.removesuffix("_total")
        suffixes = [main, per, "ratio" if unit == "1" and gauge else ""]
        for suffix in suffixes:
            if suffix and not name.endswith(suffix):
                name += f"_{suffix}"
        return name + "_total" if counter else name

    def label(self, name: str) -> str:
        """An attribute's name as a label's."""
        if not self._escapes or not name:
            return name
        made = _NOT_LABEL.sub("_", name)
        if not self.keep_multiple_underscores:
            made = re.sub("_+", "_", made)
        if made[0].isdigit():
            return f"key_{made}"
        if self.sanitize_label_underscores and made.startswith("_") and not made.startswith("__"):
            return f"key{made}"
        return made
