"""One refresh: every query of the panels asked for, equal ones once, in threads; then each panel drawn.

A panel that fails fails alone. What a refresh answers is ``FramesAnswer`` of the browser's contract.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.dashboards.adhoc import filtered
from wavetank.dashboards.annotations import Marks, annotation_queries, annotations_json
from wavetank.dashboards.answers import heatmap_frames, series_frames, table_frame
from wavetank.dashboards.display import apply_config
from wavetank.dashboards.draw import DATA_TYPES, Canvas, draw
from wavetank.dashboards.draw.text import rich_text
from wavetank.dashboards.frame import Frame
from wavetank.dashboards.interpolate import Scope, Value, interpolate, promql
from wavetank.dashboards.intervals import Step, align, format_interval, step_of
from wavetank.dashboards.layout import PlacedPanel
from wavetank.dashboards.model import Panel, Target, Transformation
from wavetank.dashboards.source import Answer, Exemplar, Source
from wavetank.dashboards.times import TimeRange, duration_ms
from wavetank.dashboards.transforms import transform
from wavetank.dashboards.view import Catalogue, View, support_of
from wavetank.errors import WavetankError
from wavetank.limits import DASHBOARD_POINTS_MAX, DASHBOARD_QUERY_THREADS, DASHBOARD_SAMPLES_MAX

__all__ = ["Asked", "asked_of", "refresh"]

_WIDTH: Final = 1280
_TYPES: Final = ("", "prometheus", "default", "grafana-amazonprometheus-datasource", "datasource", "mixed")
_RATE: Final = ("$__rate_interval", "${__rate_interval}")

Key = tuple[str, int, int, int]  # expression, start, end, step; step 0 is an instant query at the end


@dataclass(frozen=True, slots=True)
class Asked:
    """A target with its variables filled in. ``refused`` says why it is not asked."""

    target: Target
    ref: str
    expr: str
    legend: str
    key: Key
    refused: str = ""

    @property
    def step_ms(self) -> int:
        return self.key[3]


@dataclass(frozen=True, slots=True)
class _Reply:
    answer: Answer | None
    error: str
    took_ms: float


def refresh(
    view: View,
    source: Source,
    clock: Clock,
    *,
    panels: Sequence[tuple[PlacedPanel, int]],
    catalogue: Catalogue,
    marks: Marks | None = None,
    annotations: Collection[str] | None = None,
) -> dict[str, Any]:
    """``panels`` with their widths in pixels, 0 where unknown; ``annotations`` are the names of those that
    are on, None for those that the file has on."""
    started = clock.monotonic()
    plans = [(placed, asked_of(placed, view, source, width)) for placed, width in panels]
    replies = _ask((a.key for _, asked in plans for a in asked if not a.refused), source, clock)
    found, problems = annotations_json(
        [
            query
            for query in annotation_queries(view.dashboard)
            if (query.enabled if annotations is None else query.name in annotations)
        ],
        view.time,
        view.scope,
        source,
        marks,
    )
    now_ms = int(clock.now() * 1000)
    drawn = [_panel(placed, asked, replies, view, now_ms, catalogue, source) for placed, asked in plans]
    return {
        "from_ms": view.time.from_ms,
        "to_ms": view.time.to_ms,
        "took_ms": round((clock.monotonic() - started) * 1000, 1),
        "queries": len(replies),
        "panels": drawn,
        "annotations": found,
        "notices": [_notice("warning", problem) for problem in problems],
    }


def asked_of(placed: PlacedPanel, view: View, source: Source, width: int) -> list[Asked]:
    """The queries of one panel; none where it shows no data."""
    panel = placed.panel
    if panel.type not in DATA_TYPES or panel.missing:
        return []
    time = _panel_time(panel, view)
    points = panel.max_data_points or width or _WIDTH * placed.grid.w // 24
    scope = {**view.scope, **placed.scope}
    filters = [f for c in view.chosen if c.variable.type == "adhoc" for f in c.selected]
    out = []
    for target in panel.targets:
        if target.borrowed:
            out += _borrowed(target, placed, view, source, width)
        elif not target.hidden and (target.expr.strip() or target.datasource_type not in _TYPES):
            out += _target(target, panel, time, min(points, DASHBOARD_POINTS_MAX), scope, source, filters)
    return out


def _borrowed(target: Target, placed: PlacedPanel, view: View, source: Source, width: int) -> list[Asked]:
    """The queries of the panel that the target names. At the same width they are the same, and asked once."""
    if target.hidden:
        return []
    lender = _lender(target, view)
    if lender is None or any(other.borrowed for other in lender.panel.targets):
        why = "takes its data from another panel itself" if lender is not None else "is not on this dashboard"
        return [Asked(target, target.ref, "", "", ("", 0, 0, 0), f"panel {target.panel_id} {why}")]
    return asked_of(replace(lender, scope={**lender.scope, **placed.scope}), view, source, width)


def _lender(target: Target, view: View) -> PlacedPanel | None:
    panels = view.panels(collapsed=True)
    return next((placed for placed in panels if placed.panel.id == target.panel_id), None)


def _panel_time(panel: Panel, view: View) -> TimeRange:
    """The panel's own range, where the dashboard's is relative."""
    time = view.time
    if not time.relative:
        return time
    start, end = time.from_ms, time.to_ms
    own = duration_ms(panel.time_from.removeprefix("now-"))
    if own:
        start = end - own
    shift = duration_ms(panel.time_shift)
    if shift:
        start, end = start - shift, end - shift
    return TimeRange(time.raw_from, time.raw_to, start, end)


def _target(
    target: Target,
    panel: Panel,
    time: TimeRange,
    points: int,
    scope: Scope,
    source: Source,
    filters: Sequence[str],
) -> list[Asked]:
    kind = target.datasource_type or panel.datasource_type
    own = target.interval.strip()
    step = step_of(
        time.length_ms,
        points,
        source.scrape_interval_ms,
        panel_interval=interpolate(panel.interval, scope),
        interval=own if own in _RATE else interpolate(own, _without_intervals(scope)),
        factor=target.interval_factor,
    )
    full = {**scope, **_intervals(step, time)}
    expr = filtered(promql(target.expr, full), filters)
    legend = interpolate(target.legend, full, "text")
    refused = "" if kind in _TYPES else f"data source type {kind!r} is not supported: only Prometheus is"
    out = []
    if target.range:
        start, end = align(time.from_ms, time.to_ms, step.step_ms)
        out.append(Asked(target, target.ref, expr, legend, (expr, start, end, step.step_ms), refused))
    if target.instant:
        ref = f"{target.ref}-Instant" if target.range else target.ref
        out.append(Asked(target, ref, expr, legend, (expr, time.to_ms, time.to_ms, 0), refused))
    return out


def _without_intervals(scope: Scope) -> Scope:
    return {n: v for n, v in scope.items() if n not in ("__interval", "__rate_interval")}


def _intervals(step: Step, time: TimeRange) -> dict[str, Value]:
    seconds = round(time.length_ms / 1000)
    words = {
        "__interval": format_interval(step.interval_ms),
        "__interval_ms": str(step.interval_ms),
        "__rate_interval": format_interval(step.rate_interval_ms),
        "__rate_interval_ms": str(step.rate_interval_ms),
        "__range": f"{seconds}s",
        "__range_s": str(seconds),
        "__range_ms": str(time.length_ms),
    }
    return {name: Value.plain(word) for name, word in words.items()}


def _ask(keys: Iterable[Key], source: Source, clock: Clock) -> dict[Key, _Reply]:
    distinct = list(dict.fromkeys(keys))
    if not distinct:
        return {}
    with ThreadPoolExecutor(DASHBOARD_QUERY_THREADS, thread_name_prefix="panel") as pool:
        asked: dict[Key, Future[_Reply]] = {key: pool.submit(_one, key, source, clock) for key in distinct}
        return {key: future.result() for key, future in asked.items()}


def _one(key: Key, source: Source, clock: Clock) -> _Reply:
    expr, start, end, step = key
    before = clock.monotonic()
    answer, error = None, ""
    try:
        answer = source.range(expr, start, end, step) if step else source.instant(expr, end)
        answer, error = _bounded(answer)
    except WavetankError as failure:
        error = str(failure)
    return _Reply(answer, error, (clock.monotonic() - before) * 1000)


def _bounded(answer: Answer) -> tuple[Answer | None, str]:
    """An answer of very many samples is cut to what a panel can hold; it is named by the panel's notice."""
    size = answer.values.size
    if size <= DASHBOARD_SAMPLES_MAX:
        return answer, ""
    rows = max(1, DASHBOARD_SAMPLES_MAX // max(1, len(answer.times)))
    note = f"{len(answer.labels)} series of {len(answer.times)} points: the first {rows} are used"
    return (
        Answer(
            answer.kind,
            answer.labels[:rows],
            answer.times,
            answer.values[:rows],
            answer.mask[:rows],
            [*answer.warnings, note],
            answer.skipped,
        ),
        "",
    )


def _panel(
    placed: PlacedPanel,
    asked: Sequence[Asked],
    replies: Mapping[Key, _Reply],
    view: View,
    now_ms: int,
    catalogue: Catalogue,
    source: Source,
) -> dict[str, Any]:
    panel = placed.panel
    out: dict[str, Any] = {"id": placed.id, "state": "ok", "notices": [], "queries": [], "drawing": None}
    kind, reason = support_of(panel.type, panel.missing)
    if kind == "unsupported":
        return out | {"state": "unsupported", "notices": [_notice("info", reason)]}
    scope = {**view.scope, **placed.scope}
    if kind == "text":
        content = interpolate(str(panel.options.get("content") or ""), scope, "text")
        mode = str(panel.options.get("mode") or "markdown")
        drawing = {"draw": "text", "content": rich_text(content, mode), "code": mode == "code"}
        return out | {"drawing": drawing}
    if kind == "dashlist":
        return out | {"drawing": _dashlist(panel, catalogue)}
    out["queries"] = [_query(a, replies) for a in asked]
    errors = [f"{a.ref}: {_error(a, replies)}" for a in asked if _error(a, replies)]
    out["notices"] = [_notice("error", error) for error in errors]
    frames = _frames(asked, replies, out["notices"])
    if errors and not frames:
        return out | {"state": "error"}
    try:
        steps = (*_borrowed_steps(panel, view), *panel.transformations)
        panel = replace(panel, transformations=steps)
        exemplars = _exemplars(panel, asked, view, source, out["notices"])
        drawing_or_none = _drawn(panel, frames, scope, view, now_ms, out["notices"], exemplars)
    except WavetankError as failure:
        return out | {"state": "error", "notices": [*out["notices"], _notice("error", str(failure))]}
    return out | {"drawing": drawing_or_none, "state": "ok" if drawing_or_none else "empty"}


def _borrowed_steps(panel: Panel, view: View) -> tuple[Transformation, ...]:
    """The transformations of the panel whose data this one shows, where it wants them too."""
    for target in panel.targets:
        if target.borrowed and target.with_transforms and (lender := _lender(target, view)) is not None:
            return lender.panel.transformations
    return ()


def _exemplars(
    panel: Panel, asked: Sequence[Asked], view: View, source: Source, notices: list[dict[str, str]]
) -> list[Exemplar]:
    """Of the targets that ask for them; only lines have a place for single observations."""
    if panel.type != "timeseries":
        return []
    time = _panel_time(panel, view)
    found: list[Exemplar] = []
    for expr in dict.fromkeys(a.expr for a in asked if a.target.exemplars and a.step_ms and not a.refused):
        try:
            found += source.exemplars(expr, time.from_ms, time.to_ms)
        except WavetankError as error:
            notices.append(_notice("warning", f"exemplars: {error.message}"))
    return found


def _notice(severity: str, text: str) -> dict[str, str]:
    return {"severity": severity, "text": text}


def _error(asked: Asked, replies: Mapping[Key, _Reply]) -> str:
    return asked.refused or replies[asked.key].error


def _query(asked: Asked, replies: Mapping[Key, _Reply]) -> dict[str, Any]:
    reply = None if asked.refused else replies[asked.key]
    answer = None if reply is None else reply.answer
    return {
        "ref": asked.ref,
        "expr": asked.expr,
        "step_ms": asked.step_ms,
        "series": 0 if answer is None else len(answer.labels),
        "took_ms": 0.0 if reply is None else round(reply.took_ms, 1),
        "error": _error(asked, replies),
    }


def _frames(
    asked: Sequence[Asked], replies: Mapping[Key, _Reply], notices: list[dict[str, str]]
) -> list[Frame]:
    tables = [a for a in asked if a.target.format == "table" and not a.refused]
    refs = list(dict.fromkeys(a.target.ref for a in tables))
    frames: list[Frame] = []
    done: set[str] = set()
    for a in asked:
        reply = None if a.refused else replies[a.key]
        if reply is None or reply.answer is None:
            continue
        answer = reply.answer
        notices += [_notice("warning", f"{a.ref}: {text}") for text in answer.warnings]
        if answer.skipped:
            notices.append(
                _notice("info", f"{a.ref}: native histograms are not drawn; use histogram functions")
            )
        if a.target.format == "table":
            if a.target.ref not in done:
                done.add(a.target.ref)
                found = (replies[o.key].answer for o in tables if o.target.ref == a.target.ref)
                frames.append(table_frame([x for x in found if x], a.target.ref, len(refs) > 1))
        elif a.target.format == "heatmap" and (made := heatmap_frames(answer, a.ref, a.step_ms)):
            frames += made
        else:
            frames += series_frames(answer, a.target, a.expr, a.step_ms, a.legend)
    return frames


def _drawn(
    panel: Panel,
    frames: list[Frame],
    scope: Scope,
    view: View,
    now_ms: int,
    notices: list[dict[str, str]],
    exemplars: Sequence[Exemplar],
) -> dict[str, Any] | None:
    frames, missed = transform(frames, panel.transformations)
    looks = apply_config(frames, panel.field_config)
    time = _panel_time(panel, view)
    canvas = Canvas(panel, frames, looks, scope, time.from_ms, time.to_ms, now_ms, exemplars=exemplars)
    drawing = draw(panel.type, canvas)
    notices += [_notice("warning", text) for text in [*missed, *canvas.notices]]
    return drawing


def _dashlist(panel: Panel, catalogue: Catalogue) -> dict[str, Any]:
    tags = [str(t) for t in panel.options.get("tags") or () if isinstance(t, str)]
    items = [{"title": title, "url": f"/d/{uid}", "tags": []} for title, uid in catalogue(tags)]
    return {"draw": "dashlist", "groups": [{"title": "Dashboards", "items": items}] if items else []}
