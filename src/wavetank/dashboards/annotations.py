"""Annotations: moments and stretches marked on every time axis of a dashboard.

Mirrors Grafana's Prometheus annotation queries: a series marks each step at which it is above zero; marks
no more than a step apart are one stretch. The source named ``-- Grafana --``, which Grafana gives every
dashboard, holds here what the tank itself did: scalings, load stages, restarts. Left out: annotations that
users write, since there is no database to keep them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from wavetank.dashboards.answers import legend
from wavetank.dashboards.colours import css
from wavetank.dashboards.interpolate import Scope, interpolate, promql
from wavetank.dashboards.model import Dashboard
from wavetank.dashboards.source import Answer, Source
from wavetank.dashboards.times import TimeRange, duration_ms
from wavetank.dashboards.values import JSON, flag, items, mapping, text
from wavetank.errors import WavetankError
from wavetank.limits import DASHBOARD_ANNOTATIONS_MAX, DASHBOARD_POINTS_MAX, DASHBOARD_QUERY_THREADS

__all__ = ["AnnotationQuery", "Mark", "Marks", "annotation_queries", "annotations_json"]

OWN: Final = "-- Grafana --"
_STEP_MS: Final = 60_000  # upstream's default
_TYPES: Final = ("", "prometheus", "default")


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened; times in milliseconds, ``end_ms`` None for a moment."""

    at_ms: int
    title: str
    text: str = ""
    colour: str = ""
    end_ms: int | None = None
    tags: tuple[str, ...] = ()


Marks = Callable[[int, int], Sequence[Mark]]
"""What the tank did between two times."""


@dataclass(frozen=True, slots=True)
class AnnotationQuery:
    """One entry of a dashboard's annotations. ``panels`` are the ids it is for; ``others``: all but these."""

    name: str
    expr: str = ""
    enabled: bool = True
    hidden: bool = False
    colour: str = ""
    source: str = ""
    source_type: str = ""
    step: str = ""
    title: str = ""
    text: str = ""
    tags: tuple[str, ...] = ()
    value_is_time: bool = False
    others: bool = False
    panels: tuple[int, ...] = field(default=())

    @property
    def own(self) -> bool:
        """Whether it shows the tank's marks."""
        return self.source == OWN or self.source_type == "grafana"


def annotation_queries(dashboard: Dashboard) -> list[AnnotationQuery]:
    """As the file has them; with the built-in one first where it is missing, as Grafana adds it."""
    found = [_query(entry) for entry in dashboard.annotations]
    if not any(query.own for query in found):
        found.insert(0, AnnotationQuery("Marks", source=OWN))
    return found


def _query(found: JSON) -> AnnotationQuery:
    target, panels = mapping(found, "target"), mapping(found, "filter")
    source = found.get("datasource")
    uid, kind = (text(source, "uid"), text(source, "type")) if isinstance(source, dict) else (source, "")
    own = flag(found, "builtIn")
    return AnnotationQuery(
        name="Marks" if own else text(found, "name") or "Annotations",
        expr=text(found, "expr") or text(target, "expr"),
        enabled=flag(found, "enable", True),
        hidden=flag(found, "hide") and not own,
        colour=css(text(found, "iconColor")),
        source=OWN if own else uid if isinstance(uid, str) else "",
        source_type=kind,
        step=text(found, "step") or text(target, "interval"),
        title=text(found, "titleFormat"),
        text=text(found, "textFormat"),
        tags=tuple(name.strip() for name in text(found, "tagKeys").split(",") if name.strip()),
        value_is_time=text(found, "useValueForTime") in ("on", "true", "True"),
        others=flag(panels, "exclude"),
        panels=tuple(i for i in items(panels, "ids") if isinstance(i, int)),
    )


def annotations_json(
    queries: Sequence[AnnotationQuery], time: TimeRange, scope: Scope, source: Source, marks: Marks | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """As ``Annotation``, by time; and what went wrong. Blocks; a query that fails costs only itself."""
    problems: list[str] = []
    found: list[dict[str, Any]] = []

    def one(query: AnnotationQuery) -> list[Mark] | str:
        try:
            return list(_marks(query, time, scope, source, marks))
        except WavetankError as error:
            return f"annotation {query.name}: {error.message}"

    with ThreadPoolExecutor(DASHBOARD_QUERY_THREADS, thread_name_prefix="annotation") as pool:
        for query, answer in zip(queries, pool.map(one, queries), strict=True):
            if isinstance(answer, str):
                problems.append(answer)
            else:
                found += (_json(query, mark) for mark in answer)
    found.sort(key=lambda one: one["time"])
    if len(found) > DASHBOARD_ANNOTATIONS_MAX:
        problems.append(f"{len(found)} annotations: the newest {DASHBOARD_ANNOTATIONS_MAX} are shown")
    return found[-DASHBOARD_ANNOTATIONS_MAX:], problems


def _json(query: AnnotationQuery, mark: Mark) -> dict[str, Any]:
    return {
        "name": query.name,
        "time": mark.at_ms / 1000,
        "end": None if mark.end_ms is None else mark.end_ms / 1000,
        "title": mark.title or query.name,
        "text": mark.text,
        "tags": mark.tags,
        "colour": mark.colour or query.colour or "#5794F2",
        "panels": query.panels,
        "others": query.others,
    }


def _marks(
    query: AnnotationQuery, time: TimeRange, scope: Scope, source: Source, marks: Marks | None
) -> Iterator[Mark]:
    if query.own:
        yield from marks(time.from_ms, time.to_ms) if marks is not None else ()
        return
    if not query.expr.strip() or query.source_type not in _TYPES:
        return
    step = max(
        duration_ms(interpolate(query.step, scope)) or _STEP_MS, -(-time.length_ms // DASHBOARD_POINTS_MAX)
    )
    start, end = time.from_ms // step * step, time.to_ms // step * step
    answer = source.range(promql(query.expr, scope), start, end, step)
    for row, labels in enumerate(answer.labels):
        title = legend(interpolate(query.title, scope, "text"), labels)
        words = legend(interpolate(query.text, scope, "text"), labels)
        tags = tuple(labels[name] for name in query.tags if name in labels)
        for first, last in _stretches(_moments(query, answer, row), step):
            yield Mark(first, title, words, "", last if last > first else None, tags)


def _moments(query: AnnotationQuery, answer: Answer, row: int) -> list[int]:
    """Times at which the series is above zero, or the times that are its values; milliseconds, rising."""
    values, mask = answer.values[row], answer.mask[row]
    if query.value_is_time:
        held = np.unique(values[mask & np.isfinite(values)])
        return [int(value) for value in held if 0 < value < 1e15]
    return [int(at) for at in answer.times[mask & (values > 0)]]


def _stretches(moments: Sequence[int], step: int) -> Iterator[tuple[int, int]]:
    first = last = None
    for at in moments:
        if first is None or last is None:
            first = last = at
        elif at - last <= step:
            last = at
        else:
            yield first, last
            first = last = at
    if first is not None and last is not None:
        yield first, last
