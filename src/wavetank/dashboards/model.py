"""A dashboard as values: what every accepted file becomes.

The fields are Grafana's classic model of schema 42 after all migrations. ``options`` and ``custom`` stay JSON
objects, read by whoever draws that type of panel, since they differ from type to type.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wavetank.dashboards.values import JSON

__all__ = [
    "Dashboard",
    "DashboardLink",
    "FieldConfig",
    "Grid",
    "Override",
    "Panel",
    "Target",
    "Transformation",
    "Variable",
]


@dataclass(frozen=True, slots=True)
class Grid:
    """24 columns; one unit of height is 30 px and a gap of 8 px."""

    x: int = 0
    y: int = 0
    w: int = 12
    h: int = 8


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel. ``datasource`` is a uid or name as written, "" for the panel's."""

    ref: str
    expr: str
    legend: str = ""
    format: str = "time_series"
    instant: bool = False
    range: bool = True
    interval: str = ""
    interval_factor: int = 1
    hidden: bool = False
    datasource: str = ""
    datasource_type: str = ""
    exemplars: bool = False
    panel_id: int = 0
    with_transforms: bool = False

    @property
    def borrowed(self) -> bool:
        """Whether it shows what another panel, ``panel_id``, has asked."""
        return self.datasource == "-- Dashboard --"


@dataclass(frozen=True, slots=True)
class Override:
    """``matcher`` is ``byName`` and the like; ``properties`` are (path, value) in order."""

    matcher: str
    options: Any
    properties: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class FieldConfig:
    defaults: JSON = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class Transformation:
    id: str
    options: JSON
    disabled: bool = False
    filter: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DashboardLink:
    """A link as written; variables in it are filled in when the dashboard is resolved."""

    title: str
    url: str
    type: str = "link"
    tags: tuple[str, ...] = ()
    tooltip: str = ""
    new_tab: bool = False
    include_vars: bool = False
    keep_time: bool = False
    as_dropdown: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel or, with type ``row``, a row; only a collapsed row holds its ``panels`` itself."""

    id: int
    type: str
    source_type: str
    title: str
    description: str
    grid: Grid
    datasource: str = ""
    datasource_type: str = ""
    targets: tuple[Target, ...] = ()
    field_config: FieldConfig = FieldConfig()
    options: JSON = field(default_factory=dict)
    transformations: tuple[Transformation, ...] = ()
    interval: str = ""
    max_data_points: int | None = None
    time_from: str = ""
    time_shift: str = ""
    hide_time_override: bool = False
    repeat: str = ""
    repeat_vertical: bool = False
    max_per_row: int = 4
    links: tuple[DashboardLink, ...] = ()
    transparent: bool = False
    collapsed: bool = False
    panels: tuple[Panel, ...] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Variable:
    """A template variable as written; ``options`` are (text, value) that the file lists itself."""

    name: str
    type: str
    label: str = ""
    description: str = ""
    query: str = ""
    definition: JSON = field(default_factory=dict)
    regex: str = ""
    datasource: str = ""
    multi: bool = False
    include_all: bool = False
    all_value: str = ""
    sort: int = 0
    refresh: int = 1
    hide: int = 0
    skip_url: bool = False
    current: tuple[str, ...] = ()
    current_text: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    auto: bool = False
    auto_count: int = 30
    auto_min: str = "10s"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """``classic`` is the migrated JSON, to be stored and exported; ``notices`` say what was given up."""

    uid: str
    title: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...]
    description: str = ""
    tags: tuple[str, ...] = ()
    timezone: str = "browser"
    refresh: str = ""
    refresh_intervals: tuple[str, ...] = ()
    time_from: str = "now-6h"
    time_to: str = "now"
    now_delay: str = ""
    week_start: str = ""
    fiscal_month: int = 0
    cursor: str = "off"
    links: tuple[DashboardLink, ...] = ()
    annotations: tuple[JSON, ...] = ()
    schema: int = 42
    classic: JSON = field(default_factory=dict)
    notices: tuple[str, ...] = ()
