"""Bytes of a dashboard file to ``Dashboard``: which of the accepted forms it is, migration, reading.

Accepted: classic JSON of schema 14 and later (earlier ones as far as they read), the HTTP API's envelope
``{"dashboard": ...}``, and resources of ``dashboard.grafana.app`` in v0, v1 (classic ``spec``) and v2.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from wavetank.dashboards.migrate import classic
from wavetank.dashboards.migrate.v2 import is_v2, v2_to_classic
from wavetank.dashboards.model import (
    Dashboard,
    DashboardLink,
    FieldConfig,
    Grid,
    Override,
    Panel,
    Target,
    Transformation,
    Variable,
)
from wavetank.dashboards.values import (
    JSON,
    flag,
    integer,
    items,
    mapping,
    mappings,
    number,
    text,
    texts,
)
from wavetank.errors import InputError
from wavetank.limits import DASHBOARD_BYTES_MAX, DASHBOARD_DEPTH_MAX, DASHBOARD_PANELS_MAX

__all__ = ["load_bytes", "load_file", "read_json", "to_dashboard"]

_CURSORS: Final = {0: "off", 1: "crosshair", 2: "tooltip"}
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def load_file(path: Path) -> Dashboard:
    """Raises InputError for what cannot be read or is no dashboard."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the dashboard: {error.strerror}", at=path) from None
    return load_bytes(data, str(path))


def load_bytes(data: bytes, at: str = "") -> Dashboard:
    """Raises InputError; ``at`` names the place in the error."""
    return to_dashboard(read_json(data, at), at)


def read_json(data: bytes, at: str = "") -> dict[str, Any]:
    """A JSON object, within limits. Raises InputError."""
    if len(data) > DASHBOARD_BYTES_MAX:
        raise InputError(f"dashboard of {len(data)} bytes, {DASHBOARD_BYTES_MAX} allowed", at=at or None)
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"not JSON: {error}", at=at or None, fix="export the dashboard again") from None
    if not isinstance(found, dict):
        raise InputError("not a dashboard: the JSON is no object", at=at or None)
    _check_depth(found, at)
    return found


def _check_depth(found: Any, at: str) -> None:
    level: list[Any] = [found]
    for _ in range(DASHBOARD_DEPTH_MAX):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise InputError(f"JSON nested deeper than {DASHBOARD_DEPTH_MAX}", at=at or None)


def to_dashboard(found: Mapping[str, Any], at: str = "") -> Dashboard:
    """Any accepted form. Raises InputError."""
    found, name, notices = _unwrapped(found)
    if is_v2(found):
        body, more = v2_to_classic(copy.deepcopy(dict(found)), name)
        notices += more
    elif "panels" in found or "rows" in found or ("title" in found and "schemaVersion" in found):
        body = copy.deepcopy(dict(found))
    else:
        raise InputError(
            "not a dashboard: neither panels nor rows nor elements and layout",
            at=at or None,
            fix="give classic JSON, or a resource of dashboard.grafana.app",
        )
    notices += _libraries(body)
    schema = integer(body, "schemaVersion")
    body = classic(body)
    body.setdefault("uid", None)
    uid = name or text(body, "uid") or _uid_of(body, at)
    body["uid"] = uid
    return _dashboard(body, uid, schema, notices)


def _unwrapped(found: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, list[str]]:
    """The spec itself, the resource's name, notices."""
    if isinstance(found.get("dashboard"), Mapping) and "panels" not in found:
        found = found["dashboard"]
    if isinstance(found.get("spec"), Mapping) and ("kind" in found or "apiVersion" in found):
        name = text(mapping(found, "metadata"), "name")
        return found["spec"], name, []
    return found, "", []


def _uid_of(body: JSON, at: str) -> str:
    """A stable uid for a file without one: from its name, else from its content."""
    slug = re.sub(r"[^a-z0-9]+", "-", Path(at).stem.lower()).strip("-") if at else ""
    return slug[:40] or hashlib.sha256(msgspec.json.encode(body)).hexdigest()[:14]


def _libraries(body: dict[str, Any]) -> list[str]:
    """Puts library panels of an export (``__elements``) where they are used."""
    elements = body.get("__elements")
    known: dict[str, Mapping[str, Any]] = {}
    for item in elements.values() if isinstance(elements, dict) else elements or ():
        if isinstance(item, Mapping):
            known[text(item, "uid")] = mapping(item, "model")
    missing: list[str] = []

    def fill(panels: Any) -> None:
        for panel in panels if isinstance(panels, list) else ():
            if not isinstance(panel, dict):
                continue
            fill(panel.get("panels"))
            library = mapping(panel, "libraryPanel")
            if not library:
                continue
            model = known.get(text(library, "uid")) or mapping(library, "model")
            if model:
                kept = {key: panel[key] for key in ("gridPos", "id", "repeat") if key in panel}
                panel.update({**model, **kept})
            else:
                panel.setdefault("type", "")
                panel["__missing"] = f"library panel {text(library, 'name') or text(library, 'uid')!r}"
                missing.append(panel["__missing"])

    fill(body.get("panels"))
    return [f"{name} is not in the file" for name in missing]


def _dashboard(body: dict[str, Any], uid: str, schema: int, notices: list[str]) -> Dashboard:
    panels, left = _panels(items(body, "panels"), DASHBOARD_PANELS_MAX)
    if left < 0:
        notices.append(f"only the first {DASHBOARD_PANELS_MAX} panels are shown")
    time, picker = mapping(body, "time"), mapping(body, "timepicker")
    refresh = body.get("refresh")
    return Dashboard(
        uid=uid,
        title=text(body, "title") or "Untitled",
        panels=panels,
        variables=tuple(
            _variable(v) for v in mappings(mapping(body, "templating"), "list") if text(v, "name")
        ),
        description=text(body, "description"),
        tags=tuple(texts(body.get("tags"))),
        timezone=text(body, "timezone") or "browser",
        refresh=refresh if isinstance(refresh, str) else "",
        refresh_intervals=tuple(texts(picker.get("refresh_intervals"))),
        time_from=text(time, "from", "now-6h"),
        time_to=text(time, "to", "now"),
        now_delay=text(picker, "nowDelay"),
        week_start=text(body, "weekStart"),
        fiscal_month=integer(body, "fiscalYearStartMonth"),
        cursor=_CURSORS.get(integer(body, "graphTooltip"), "off"),
        links=tuple(_link(link) for link in mappings(body, "links")),
        annotations=tuple(mappings(mapping(body, "annotations"), "list")),
        schema=schema,
        classic=body,
        notices=tuple(notices),
    )


def _panels(found: Sequence[Any], left: int) -> tuple[tuple[Panel, ...], int]:
    """The first ``left`` panels, inner ones counted; how many more there could have been, negative if cut."""
    out: list[Panel] = []
    for item in found:
        if not isinstance(item, Mapping):
            continue
        if left <= 0:
            return tuple(out), -1
        left -= 1
        inner: tuple[Panel, ...] = ()
        if text(item, "type") == "row":
            inner, left = _panels(items(item, "panels"), left)
        out.append(_panel(item, inner))
    return tuple(out), left


def _panel(found: JSON, inner: tuple[Panel, ...]) -> Panel:
    uid, kind = _source(found.get("datasource"))
    points = number(found, "maxDataPoints")
    return Panel(
        id=integer(found, "id"),
        type=text(found, "type"),
        source_type=text(found, "type"),
        title=text(found, "title"),
        description=text(found, "description"),
        grid=_grid(mapping(found, "gridPos")),
        datasource=uid,
        datasource_type=kind,
        targets=_targets(mappings(found, "targets")),
        field_config=_config(mapping(found, "fieldConfig")),
        options=mapping(found, "options"),
        transformations=tuple(
            Transformation(text(t, "id"), mapping(t, "options"), flag(t, "disabled"), mapping(t, "filter"))
            for t in mappings(found, "transformations")
        ),
        interval=text(found, "interval"),
        max_data_points=None if points is None or points < 1 else min(int(points), 100_000),
        time_from=text(found, "timeFrom"),
        time_shift=text(found, "timeShift"),
        hide_time_override=flag(found, "hideTimeOverride"),
        repeat=text(found, "repeat"),
        repeat_vertical=text(found, "repeatDirection") == "v",
        max_per_row=max(1, integer(found, "maxPerRow", 4)),
        links=tuple(_link(link) for link in mappings(found, "links")),
        transparent=flag(found, "transparent"),
        collapsed=flag(found, "collapsed"),
        panels=inner,
        missing=text(found, "__missing"),
    )


def _grid(found: JSON) -> Grid:
    x = min(max(integer(found, "x"), 0), 23)
    return Grid(
        x=x,
        y=min(max(integer(found, "y"), 0), 100_000),
        w=min(max(integer(found, "w", 12), 1), 24 - x),
        h=min(max(integer(found, "h", 8), 1), 1000),
    )


def _source(found: Any) -> tuple[str, str]:
    """Uid (or name) and type; old files have a plain name, or null for the default."""
    if isinstance(found, Mapping):
        return text(found, "uid"), text(found, "type")
    return (found, "") if isinstance(found, str) else ("", "")


def _targets(found: Sequence[JSON]) -> tuple[Target, ...]:
    used = {text(t, "refId") for t in found}
    free = iter(name for name in _names() if name not in used)
    return tuple(_target(t, text(t, "refId") or next(free)) for t in found)


def _names() -> list[str]:
    return [*_LETTERS, *(a + b for a in _LETTERS for b in _LETTERS)]


def _target(found: JSON, ref: str) -> Target:
    uid, kind = _source(found.get("datasource"))
    instant, ranged = flag(found, "instant"), flag(found, "range")
    return Target(
        ref=ref,
        expr=text(found, "expr"),
        legend=text(found, "legendFormat"),
        format=text(found, "format", "time_series"),
        instant=instant,
        range=ranged or not instant,
        interval=text(found, "interval"),
        interval_factor=max(1, integer(found, "intervalFactor", 1)),
        hidden=flag(found, "hide"),
        datasource=uid,
        datasource_type=kind,
        exemplars=flag(found, "exemplar"),
        panel_id=integer(found, "panelId"),
        with_transforms=flag(found, "withTransforms"),
    )


def _config(found: JSON) -> FieldConfig:
    overrides = tuple(
        Override(
            text(mapping(o, "matcher"), "id"),
            mapping(o, "matcher").get("options"),
            tuple((text(p, "id"), p.get("value")) for p in mappings(o, "properties")),
        )
        for o in mappings(found, "overrides")
    )
    return FieldConfig(mapping(found, "defaults"), overrides)


def _link(found: JSON) -> DashboardLink:
    return DashboardLink(
        title=text(found, "title"),
        url=text(found, "url") or text(found, "dashUri"),
        type=text(found, "type", "link"),
        tags=tuple(texts(found.get("tags"))),
        tooltip=text(found, "tooltip"),
        new_tab=flag(found, "targetBlank"),
        include_vars=flag(found, "includeVars"),
        keep_time=flag(found, "keepTime"),
        as_dropdown=flag(found, "asDropdown"),
    )


def _variable(found: JSON) -> Variable:
    query = found.get("query")
    source, _ = _source(found.get("datasource"))
    current = mapping(found, "current")
    return Variable(
        name=text(found, "name"),
        type=text(found, "type", "query"),
        label=text(found, "label"),
        description=text(found, "description"),
        query=text(query, "query") if isinstance(query, Mapping) else text(found, "query"),
        definition=query if isinstance(query, Mapping) else {},
        regex=text(found, "regex"),
        datasource=source,
        multi=flag(found, "multi"),
        include_all=flag(found, "includeAll"),
        all_value=text(found, "allValue"),
        sort=integer(found, "sort"),
        refresh=integer(found, "refresh", 1),
        hide=integer(found, "hide"),
        skip_url=flag(found, "skipUrlSync"),
        current=tuple(texts(current.get("value"))),
        current_text=tuple(texts(current.get("text"))),
        options=tuple((text(o, "text"), text(o, "value")) for o in mappings(found, "options")),
        auto=flag(found, "auto"),
        auto_count=integer(found, "auto_count", 30),
        auto_min=text(found, "auto_min", "10s"),
    )
