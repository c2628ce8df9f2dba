"""``wavetank dashboard check``: whether each panel of a dashboard would show something, and why not.

A panel fails if its type is not known, its transformations are not, a variable in it stays unresolved, or an
expression is refused. A panel without data does not fail: it says which selector matched nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from wavetank.clock import Clock
from wavetank.dashboards.adhoc import selectors
from wavetank.dashboards.draw import DATA_TYPES, UNSUPPORTED
from wavetank.dashboards.interpolate import references
from wavetank.dashboards.layout import PlacedPanel
from wavetank.dashboards.model import Dashboard
from wavetank.dashboards.refresh import Asked, asked_of, refresh
from wavetank.dashboards.source import Answer, Exemplar, Source
from wavetank.dashboards.transforms import NAMES
from wavetank.dashboards.view import OTHER_TYPES, View, open_view
from wavetank.errors import WavetankError
from wavetank.promql.parser import parse_expr
from wavetank.promql.printer import print_expr

__all__ = ["BoardCheck", "PanelCheck", "check_dashboard"]

_WIDTH: Final = 800


@dataclass(frozen=True, slots=True)
class PanelCheck:
    """``state`` is ok, empty, unsupported (shown as such) or failed."""

    id: str
    title: str
    type: str
    state: str
    why: tuple[str, ...] = ()
    queries: int = 0
    series: int = 0


@dataclass(frozen=True, slots=True)
class BoardCheck:
    uid: str
    title: str
    panels: tuple[PanelCheck, ...]
    variables: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return bool(self.problems) or any(panel.state == "failed" for panel in self.panels)

    def as_json(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "title": self.title,
            "failed": self.failed,
            "problems": self.problems,
            "variables": self.variables,
            "panels": [
                {name: getattr(panel, name) for name in PanelCheck.__slots__} for panel in self.panels
            ],
        }


class NoSource:
    """A source without data, for checks of the file alone: every expression must still parse."""

    name = "none"
    uid = "none"
    scrape_interval_ms = 15_000

    def instant(self, expr: str, ts_ms: int) -> Answer:
        parse_expr(expr)
        none = np.zeros((0, 1))
        return Answer("vector", [], np.array([ts_ms], np.int64), none, none.astype(bool))

    def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        return self.instant(expr, end_ms)

    def label_names(self, matches: Sequence[str], start_ms: int, end_ms: int) -> list[str]:
        return []

    def label_values(self, name: str, matches: Sequence[str], start_ms: int, end_ms: int) -> list[str]:
        return []

    def series(self, matches: Sequence[str], start_ms: int, end_ms: int) -> list[dict[str, str]]:
        return []

    def exemplars(self, expr: str, start_ms: int, end_ms: int) -> list[Exemplar]:
        return []


def check_dashboard(
    dashboard: Dashboard, source: Source, clock: Clock, *, raw_from: str = "", raw_to: str = ""
) -> BoardCheck:
    """Every panel, those of collapsed rows too. Raises InputError for a bad time range."""
    view = open_view(dashboard, source, int(clock.now() * 1000), raw_from=raw_from, raw_to=raw_to)
    placed = view.panels(collapsed=True)
    answer = refresh(view, source, clock, panels=[(p, _WIDTH) for p in placed], catalogue=lambda tags: [])
    panels = tuple(_panel(p, found, view, source) for p, found in zip(placed, answer["panels"], strict=True))
    problems = [f"${c.variable.name}: {c.error}" for c in view.chosen if c.error]
    values = {c.variable.name: c.value.text for c in view.chosen}
    return BoardCheck(dashboard.uid, dashboard.title, panels, values, tuple(problems))


def _panel(placed: PlacedPanel, found: dict[str, Any], view: View, source: Source) -> PanelCheck:
    panel = placed.panel
    asked = asked_of(placed, view, source, _WIDTH)
    series = sum(query["series"] for query in found["queries"])
    broken = [*_unknown(placed), *_unresolved(asked, view)]
    broken += [notice["text"] for notice in found["notices"] if notice["severity"] == "error"]
    why = tuple(dict.fromkeys(broken))
    state = "failed" if why else found["state"]
    if state == "unsupported":
        why = tuple(notice["text"] for notice in found["notices"])
    elif state == "empty":
        why = tuple(_why_empty(asked, view, source))
    return PanelCheck(placed.id, panel.title, panel.source_type, state, why, len(asked), series)


def _unknown(placed: PlacedPanel) -> list[str]:
    panel = placed.panel
    out = []
    if panel.missing:
        out.append(f"{panel.missing} is not in the file")
    elif panel.type not in DATA_TYPES | OTHER_TYPES | UNSUPPORTED.keys():
        out.append(f"panel type {panel.type!r} is not known")
    out += [
        f"transformation {step.id!r} is not supported"
        for step in panel.transformations
        if step.id not in NAMES and not step.disabled
    ]
    return out


def _unresolved(asked: Sequence[Asked], view: View) -> list[str]:
    left = {name for a in asked for name in references(a.expr) if not name.isdigit()}
    return [f"variable ${name} is not defined" for name in sorted(left)]


def _why_empty(asked: Sequence[Asked], view: View, source: Source) -> list[str]:
    if not asked:
        return ["the panel has no query"]
    out: list[str] = []
    for a in asked:
        try:
            found = selectors(parse_expr(a.expr))
        except WavetankError:
            continue
        for selector in found:
            text = _bare(selector)
            if text and text not in out and not source.series([text], view.time.from_ms, view.time.to_ms):
                out.append(text)
    if out:
        return [f"no series match {text}" for text in out[:5]]
    return ["series exist, but the expressions give no value in this time range"]


def _bare(selector: Any) -> str:
    plain = dataclasses.replace(selector, offset_ms=0, at_ms=None)
    try:
        return print_expr(plain)
    except (WavetankError, TypeError, ValueError):
        return ""
