"""Colours: Grafana's named hues, the classic palette, continuous schemes, thresholds.

The values are those of Grafana's dark theme, which read on both themes' backgrounds. A colour that is no name
and no CSS colour is the theme's text colour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wavetank.dashboards.values import JSON, mapping, mappings, number, text

__all__ = ["css", "palette", "ramp", "scheme", "steps_of", "threshold_colour"]

_HUES: Final = {
    "red": ("#FFA6B0", "#FF7383", "#F2495C", "#E02F44", "#C4162A"),
    "orange": ("#FFCB7D", "#FFB357", "#FF9830", "#FF780A", "#FA6400"),
    "yellow": ("#FFF899", "#FFEE52", "#FADE2A", "#F2CC0C", "#E0B400"),
    "green": ("#C8F2C2", "#96D98D", "#73BF69", "#56A64B", "#37872D"),
    "blue": ("#C0D8FF", "#8AB8FF", "#5794F2", "#3274D9", "#1F60C4"),
    "purple": ("#DEB6F2", "#CA95E5", "#B877D9", "#A352CC", "#8F3BB8"),
}
_SHADES: Final = ("super-light-", "light-", "", "semi-dark-", "dark-")
_NAMED: Final = {f"{s}{hue}": v for hue, row in _HUES.items() for s, v in zip(_SHADES, row, strict=True)}
_CSS_NAMES: Final = frozenset(
    [
        "black",
        "white",
        "gray",
        "grey",
        "silver",
        "maroon",
        "olive",
        "lime",
        "aqua",
        "teal",
        "navy",
        "fuchsia",
        "pink",
        "brown",
        "cyan",
        "magenta",
        "gold",
        "indigo",
        "violet",
        "turquoise",
        "tan",
        "salmon",
        "crimson",
        "coral",
        "orchid",
        "plum",
        "khaki",
        "lavender",
        "beige",
        "azure",
        "ivory",
        "linen",
        "snow",
        "tomato",
        "chocolate",
        "sienna",
        "skyblue",
        "steelblue",
        "slategray",
        "darkgreen",
        "darkred",
        "darkblue",
        "darkorange",
        "lightblue",
        "lightgreen",
    ]
)
_CSS: Final = re.compile(r"#[0-9a-fA-F]{3,8}|(?:rgb|hsl)a?\([0-9.,%\s/]{3,60}\)")

_PALETTE: Final = [
    "#73BF69",
    "#F2CC0C",
    "#8AB8FF",
    "#FF780A",
    "#F2495C",
    "#5794F2",
    "#B877D9",
    "#705DA0",
    "#37872D",
    "#FADE2A",
    "#447EBC",
    "#C15C17",
    "#890F02",
    "#0A437C",
    "#6D1F62",
    "#584477",
    "#B7DBAB",
    "#F4D598",
    "#70DBED",
    "#F9BA8F",
    "#F29191",
    "#82B5D8",
    "#E5A8E2",
    "#AEA2E0",
    "#629E51",
    "#E5AC0E",
    "#64B0C8",
    "#E0752D",
    "#BF1B00",
    "#0A50A1",
    "#962D82",
    "#614D93",
    "#9AC48A",
    "#F2C96D",
    "#65C5DB",
    "#F9934E",
    "#EA6460",
    "#5195CE",
    "#D683CE",
    "#806EB7",
    "#3F6833",
    "#967302",
    "#2F575E",
    "#99440A",
    "#58140C",
    "#052B51",
    "#511749",
    "#3F2B5B",
    "#E0F9D7",
    "#FCEACA",
    "#CFFAFF",
    "#F9E2D2",
    "#FCE2DE",
    "#BADFF4",
    "#F9D9F9",
    "#DEDAF7",
]

# Stops from low to high.
_SCHEMES: Final = {
    "grylrd": "#73BF69 #FADE2A #F2495C",
    "rdylgr": "#F2495C #FADE2A #73BF69",
    "blylrd": "#1F60C4 #FADE2A #F2495C",
    "ylrd": "#FADE2A #F2495C",
    "blpu": "#1F60C4 #B877D9",
    "ylbl": "#FADE2A #1F60C4",
    "blues": "#0B1E3F #1F60C4 #C0D8FF",
    "reds": "#3B0A12 #C4162A #FFA6B0",
    "greens": "#0E2A0B #37872D #C8F2C2",
    "purples": "#2A1038 #8F3BB8 #DEB6F2",
    "oranges": "#3A1B03 #FF780A #FFCB7D",
    "viridis": "#440154 #414487 #2A788E #22A884 #7AD151 #FDE725",
    "magma": "#000004 #3B0F70 #8C2981 #DE4968 #FE9F6D #FCFDBF",
    "plasma": "#0D0887 #6A00A8 #B12A90 #E16462 #FCA636 #F0F921",
    "inferno": "#000004 #420A68 #932667 #DD513A #FCA50A #FCFFA4",
    "cividis": "#00224E #35456C #666970 #948E77 #C8B866 #FEE838",
    "spectral": "#5E4FA2 #3288BD #66C2A5 #ABDDA4 #FEE08B #FDAE61 #F46D43 #9E0142",
    "turbo": "#30123B #4662D7 #36AAF9 #1AE4B6 #72FE5E #C7EF34 #FABA39 #F66B19 #CB2A04 #7A0403",
    "greys": "#202226 #8E8E8E #F7F8FA",
    "rdbu": "#F2495C #F7F8FA #1F60C4",
}


def css(name: Any) -> str:
    """A colour that CSS knows; "" for the theme's text colour and for what is none."""
    if not isinstance(name, str):
        return ""
    found = _NAMED.get(name)
    if found:
        return found
    if name in ("transparent", "rgba(0,0,0,0)"):
        return "transparent"
    name = name.strip()
    return name if name.lower() in _CSS_NAMES or _CSS.fullmatch(name) else ""


def palette(index: int) -> str:
    """The classic palette's colour of the ``index``-th series."""
    return _PALETTE[index % len(_PALETTE)]


def scheme(name: str) -> list[str]:
    """The stops of a continuous scheme, by its id with or without ``continuous-``."""
    key = name.removeprefix("continuous-").lower()
    return _SCHEMES.get(key, _SCHEMES["oranges"]).split()


def _rgb(colour: str) -> tuple[int, int, int]:
    digits = colour.lstrip("#")
    if len(digits) < 6:
        digits = "".join(c * 2 for c in digits[:3])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def ramp(stops: Sequence[str], share: float) -> str:
    """The colour at 0 to 1 between the stops, interpolated."""
    share = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(share), len(stops) - 2)
    a, b = _rgb(stops[low]), _rgb(stops[low + 1])
    mixed = (round(x + (y - x) * (share - low)) for x, y in zip(a, b, strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def steps_of(thresholds: JSON, low: float, high: float) -> list[tuple[float | None, str]]:
    """(from, colour) in rising order; percentages become values between ``low`` and ``high``."""
    percentage = text(thresholds, "mode", "absolute") == "percentage"
    out: list[tuple[float | None, str]] = []
    for index, step in enumerate(mappings(thresholds, "steps")):
        value = number(step, "value")
        if index == 0 or value is None:
            value = None
        elif percentage:
            value = low + (high - low) * value / 100
        out.append((value, css(text(step, "color"))))
    head, rest = out[:1], sorted((s for s in out[1:] if s[0] is not None), key=lambda s: s[0] or 0.0)
    return [*head, *rest]


def threshold_colour(steps: Sequence[tuple[float | None, str]], value: float | None) -> str:
    """The colour of the highest step that is not above the value."""
    found = steps[0][1] if steps else ""
    for start, colour in steps[1:]:
        if value is not None and start is not None and value >= start:
            found = colour
    return found


def fixed_of(color: Mapping[str, Any]) -> str:
    """The colour of ``mode`` fixed; the default is Grafana's dark green."""
    return css(text(mapping(color), "fixedColor", "green")) or _NAMED["green"]
