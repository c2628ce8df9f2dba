"""A field with everything decided: unit, bounds, thresholds, mappings, colour, links.

Mirrors applyFieldOverrides and getDisplayProcessor of Grafana's data library. Overrides apply in their order,
so that later ones win; their property ids are paths such as ``unit`` and ``custom.lineWidth``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wavetank.dashboards.colours import css, fixed_of, palette, ramp, scheme, steps_of, threshold_colour
from wavetank.dashboards.frame import Field, Frame, display_names
from wavetank.dashboards.matchers import compiled, matches
from wavetank.dashboards.model import FieldConfig
from wavetank.dashboards.units import Format, format_of, js_number
from wavetank.dashboards.values import JSON, mapping, mappings, number, text

__all__ = ["Look", "apply_config", "bounds"]

_DEFAULT_STEPS: JSON = {"mode": "absolute", "steps": [{"value": None, "color": "green"}]}


@dataclass(slots=False)
class Span:
    """The bounds of all fields of a panel, found once and only if something asks."""

    frames: Sequence[Frame]

    @cached_property
    def bounds(self) -> tuple[float, float]:
        return bounds(self.frames)


@dataclass(slots=False)
class Look:
    """How one field is shown. ``index`` is its place among the panel's numeric fields, for the palette."""

    field: Field
    frame: Frame
    config: JSON
    index: int
    span: Span

    @cached_property
    def auto_low(self) -> float:
        return self.span.bounds[0]

    @cached_property
    def auto_high(self) -> float:
        return self.span.bounds[1]

    @cached_property
    def custom(self) -> JSON:
        return mapping(self.config, "custom")

    @cached_property
    def decimals(self) -> int | None:
        found = number(self.config, "decimals")
        return None if found is None else max(0, min(20, int(found)))

    @cached_property
    def unit(self) -> str:
        return text(self.config, "unit")

    @cached_property
    def format(self) -> Format:
        return format_of(self.unit)

    @cached_property
    def low(self) -> float:
        found = number(self.config, "min")
        return self.auto_low if found is None else found

    @cached_property
    def high(self) -> float:
        found = number(self.config, "max")
        if found is not None:
            return found
        return self.auto_high if self.auto_high > self.low else self.low + 1

    @cached_property
    def steps(self) -> list[tuple[float | None, str]]:
        """(from, colour) of the thresholds, in rising order."""
        found = mapping(self.config, "thresholds")
        return steps_of(found if mappings(found, "steps") else _DEFAULT_STEPS, self.low, self.high)

    @cached_property
    def colour_mode(self) -> str:
        return text(mapping(self.config, "color"), "mode")

    def percent(self, value: float | None) -> float:
        """Where the value lies between the bounds, 0 to 1."""
        if value is None or not math.isfinite(value) or self.high <= self.low:
            return 0.0
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def series_colour(self, default: str = "palette-classic") -> str:
        """The one colour of a line, bar or slice."""
        color = mapping(self.config, "color")
        mode = self.colour_mode or default
        if mode == "fixed" or (mode == "shades" and text(color, "fixedColor")):
            return fixed_of(color)
        if mode == "palette-classic-by-name":
            return palette(sum(ord(c) * (i + 1) for i, c in enumerate(self.field.display)))
        if mode == "thresholds" or mode.startswith("continuous-"):
            return self.value_colour(self._by(text(color, "seriesBy", "last")), mode)
        return palette(self.index)

    def _by(self, name: str) -> float | None:
        known = [v for v in self.field.values if isinstance(v, int | float) and math.isfinite(v)]
        if not known:
            return None
        return float({"min": min, "max": max}.get(name, lambda v: v[-1])(known))

    def value_colour(self, value: float | None, mode: str = "") -> str:
        """The colour of one value where colours go by value; else the series' own."""
        mode = mode or self.colour_mode or "thresholds"
        if mode.startswith("continuous-"):
            return ramp(scheme(mode), self.percent(value))
        if mode == "thresholds":
            return threshold_colour(self.steps, value)
        return self.series_colour()

    def mapped(self, value: Any) -> tuple[str, str] | None:
        """Text and colour of the first mapping that holds."""
        for item in self._mappings:
            found = _mapping(item, value)
            if found is not None:
                return text(found, "text"), css(found.get("color"))
        return None

    @cached_property
    def _mappings(self) -> list[JSON]:
        return mappings(self.config, "mappings")

    @cached_property
    def mapping_texts(self) -> list[dict[str, Any]]:
        """Texts of single numbers, for axes and tooltips."""
        out = []
        for item in self._mappings:
            if text(item, "type") == "value":
                for key, result in mapping(item, "options").items():
                    try:
                        out.append({"value": float(key), "text": text(mapping(result), "text")})
                    except ValueError:
                        continue
        return [entry for entry in out if entry["text"]]

    def text(self, value: Any) -> str:
        """The value in words, mappings first."""
        mapped = self.mapped(value)
        if mapped is not None and mapped[0]:
            return mapped[0]
        if value is None:
            return text(self.config, "noValue") or "-"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return self.format.text(float(value), self.decimals)
        if isinstance(value, list | tuple):
            return ", ".join(js_number(v) if isinstance(v, float) else str(v) for v in value[:50])
        return str(value)

    def shown(self, value: Any, colour_mode: str = "") -> dict[str, Any]:
        """As ``Shown`` of the browser's contract."""
        numeric = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        mapped = self.mapped(value)
        colour = mapped[1] if mapped is not None and mapped[1] else self.value_colour(numeric, colour_mode)
        finite = numeric if numeric is not None and math.isfinite(numeric) else None
        return {"text": self.text(value), "colour": colour, "value": finite, "percent": self.percent(numeric)}

    def as_format(self, decimals: int | None = None) -> dict[str, Any]:
        return self.format.as_json(self.decimals if decimals is None else decimals)


def _mapping(item: JSON, value: Any) -> JSON | None:
    options = mapping(item, "options")
    match text(item, "type"):
        case "value":
            if value is None:
                return None
            key = js_number(float(value)) if isinstance(value, int | float) else str(value)
            found = options.get(key)
            return found if isinstance(found, Mapping) else None
        case "range":
            if not isinstance(value, int | float):
                return None
            low, high = number(options, "from", -math.inf), number(options, "to", math.inf)
            held = low is not None and high is not None and bool(low <= value <= high)
            return mapping(options, "result") if held else None
        case "regex":
            if value is None or isinstance(value, int | float):
                return None
            regex = compiled(text(options, "pattern"))
            return mapping(options, "result") if regex is not None and regex.search(str(value)) else None
        case "special":
            return mapping(options, "result") if _special(text(options, "match"), value) else None
        case _:
            return None


def _special(kind: str, value: Any) -> bool:
    nan: bool = isinstance(value, float) and math.isnan(value)
    match kind:
        case "null":
            return value is None
        case "nan":
            return nan
        case "null+nan":
            return bool(value is None or nan)
        case "true":
            return value is True
        case "false":
            return value is False
        case "empty":
            return bool(value == "")
        case _:
            return False


def apply_config(frames: Sequence[Frame], config: FieldConfig) -> list[list[Look]]:
    """A ``Look`` for every field of every frame; ``displayName`` of the configuration is applied to the
    fields."""
    index = 0
    out = []
    span = Span(frames)
    for frame in frames:
        row = []
        for place, found in enumerate(frame.fields):
            merged = _merged(config, found, frame, place)
            row.append(Look(found, frame, merged, index, span))
            index += found.type == "number"
        out.append(row)
    for row in out:
        for look in row:
            if look.field.type != "time" or "displayName" in look.config:
                look.field.config["displayName"] = look.config.get("displayName")
    display_names(frames)
    return out


def bounds(frames: Sequence[Frame]) -> tuple[float, float]:
    """The least and greatest number of all fields, as Grafana bounds gauges without min and max."""
    low, high = math.inf, -math.inf
    for frame in frames:
        for found in frame.fields:
            if found.type == "number" and found.values:
                array = np.array(found.values, np.float64)
                array = array[np.isfinite(array)]
                if len(array):
                    low, high = min(low, float(array.min())), max(high, float(array.max()))
    return (low, high) if low <= high else (0.0, 100.0)


def _merged(config: FieldConfig, found: Field, frame: Frame, place: int) -> dict[str, Any]:
    merged: dict[str, Any] = {**config.defaults, **{k: v for k, v in found.config.items() if v is not None}}
    custom = dict(mapping(config.defaults, "custom"))
    for override in config.overrides:
        if not matches(override.matcher, override.options, found, frame, place):
            continue
        for path, value in override.properties:
            if path.startswith("custom."):
                _put(custom, path.removeprefix("custom."), value)
            elif path == "decimals" and value is None:
                merged.pop("decimals", None)
            else:
                _put(merged, path, value)
    merged["custom"] = custom
    return merged


def _put(target: dict[str, Any], path: str, value: Any) -> None:
    head, _, rest = path.partition(".")
    if not rest:
        target[head] = value
        return
    inner = dict(mapping(target, head))
    _put(inner, rest, value)
    target[head] = inner
