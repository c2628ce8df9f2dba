"""What every drawing starts from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from wavetank.dashboards.display import Look
from wavetank.dashboards.frame import Frame
from wavetank.dashboards.interpolate import Scope, Value, interpolate
from wavetank.dashboards.model import Panel
from wavetank.dashboards.reducers import TITLES, reduce_all, reducer_name
from wavetank.dashboards.source import Exemplar
from wavetank.dashboards.values import flag, integer, mapping, mappings, number, text, texts

__all__ = ["Canvas", "safe_url"]

_SCHEMES: Final = ("http://", "https://", "mailto:", "/", "?", "#", "./", "d/")


@dataclass(slots=True)
class Canvas:
    """``looks`` has a list for each frame; ``notices`` is added to. Times are milliseconds."""

    panel: Panel
    frames: Sequence[Frame]
    looks: Sequence[Sequence[Look]]
    scope: Scope
    from_ms: int
    to_ms: int
    now_ms: int
    notices: list[str] = field(default_factory=list)
    exemplars: Sequence[Exemplar] = ()

    def numbers(self) -> Iterator[Look]:
        """Every numeric field."""
        for row in self.looks:
            for look in row:
                if look.field.type == "number":
                    yield look

    def legend(self) -> dict[str, Any]:
        found = mapping(self.panel.options, "legend")
        mode = text(found, "displayMode", "list")
        return {
            "show": flag(found, "showLegend", mode != "hidden") and mode != "hidden",
            "table": mode == "table",
            "side": "right" if text(found, "placement") == "right" else "bottom",
            "calcs": [TITLES.get(name, name) for name in self.calcs()],
            "sort_by": _sort_title(text(found, "sortBy")),
            "descending": flag(found, "sortDesc"),
            "width": number(found, "width"),
        }

    def calcs(self) -> list[str]:
        return [reducer_name(name) for name in texts(mapping(self.panel.options, "legend").get("calcs"))]

    def calculated(self, look: Look) -> list[dict[str, Any]]:
        """The legend's values of one series."""
        reduced = reduce_all(look.field.values, self.calcs())
        return [{"text": look.text(v), "colour": "", "value": finite(v), "percent": 0.0} for v in reduced]

    def links(self, look: Look, value: Any = None, row: int | None = None) -> list[dict[str, Any]]:
        """The field's data links with their variables filled in."""
        out = []
        for link in mappings(look.config, "links"):
            scope = {**self.scope, **_link_scope(look, value, row)}
            url = safe_url(interpolate(text(link, "url"), scope, "percentencode"))
            if url:
                title = interpolate(text(link, "title"), scope) or url
                new_tab = flag(link, "targetBlank")
                out.append({"title": title, "url": url, "tooltip": "", "new_tab": new_tab, "items": []})
        return out

    def thresholds_style(self, look: Look) -> str:
        return text(mapping(look.custom, "thresholdsStyle"), "mode", "off")

    def option(self, *path: str, default: str = "") -> str:
        return text(mapping(self.panel.options, *path[:-1]), path[-1], default)

    def integer(self, name: str, default: int) -> int:
        return integer(self.panel.options, name, default)


def _sort_title(name: str) -> str:
    return TITLES.get(reducer_name(name), name)


def _link_scope(look: Look, value: Any, row: int | None) -> dict[str, Value]:
    found = look.field
    labels = {f"labels.{name}": label for name, label in found.labels.items()}
    labels |= {f'labels["{name}"]': label for name, label in found.labels.items()}
    name = found.display
    shown = {"raw": "" if value is None else str(value), "text": look.text(value), "numeric": str(value)}
    time = look.frame.first("time")
    if time is not None and row is not None and row < len(time.values):
        shown["time"] = str(time.values[row])
    cells: dict[str, str] = {}
    if row is not None:
        for index, other in enumerate(look.frame.fields):
            cell = "" if other.values[row] is None else str(other.values[row])
            for key in (f'fields["{other.display}"]', f"fields.{other.display}", f"fields[{index}]"):
                cells[key] = cell
            for key in (f'fields["{other.name}"]', f"fields.{other.name}"):
                cells.setdefault(key, cell)
    scope = {
        "__field": Value((name,), fields={"name": name, "displayName": name, **labels}),
        "__series": Value((name,), fields={"name": name}),
        "__value": Value((shown["raw"],), fields=shown),
        "__data": Value(("",), fields=cells),
        "__cell": Value((shown["raw"],)),
    }
    if row is not None:
        for index, other in enumerate(look.frame.fields):
            scope[f"__cell_{index}"] = Value(("" if other.values[row] is None else str(other.values[row]),))
    return scope


def safe_url(url: str) -> str:
    """The URL if it leads somewhere harmless: http(s), mail or this server; "" for scripts and the like."""
    url = url.strip()
    lowered = "".join(c for c in url.lower() if c > " ")
    if lowered.startswith("//") or not url:
        return ""
    if lowered.startswith(_SCHEMES):
        return url
    head = lowered.split("/", 1)[0].split("?", 1)[0]
    return "" if ":" in head else url


def finite_all(values: Sequence[Any]) -> list[float | None]:
    """As ``finite`` for a whole column of numbers; the column itself where all are."""
    array = np.array(values, np.float64)
    good = np.isfinite(array)
    if good.all():
        return array.tolist() if not isinstance(values, list) else values
    out: list[float | None] = array.tolist()
    for index in np.flatnonzero(~good).tolist():
        out[index] = None
    return out


def finite(value: Any) -> float | None:
    """A number that JSON and a canvas can hold; None for any other value."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
