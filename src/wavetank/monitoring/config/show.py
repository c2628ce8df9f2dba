"""A configuration back to YAML, as ``/api/v1/status/config`` shows it.

Values equal to their default are left out, except those that a scrape configuration took from ``global``;
secrets are masked. What ``scrape_config_files`` brought in is shown in its place.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from wavetank.monitoring.config.discovery import NOT_BUILT_IN
from wavetank.monitoring.config.model import Config, ScrapeConfig
from wavetank.monitoring.config.values import Duration, Secret, Size

__all__ = ["plain", "show_config", "show_scrape_config"]

_ALWAYS = frozenset(
    [
        "job_name",
        "scrape_interval",
        "scrape_timeout",
        "evaluation_interval",
        "scrape_protocols",
        "metrics_path",
        "scheme",
        "honor_timestamps",
        "separator",
        "regex",
        "replacement",
        "action",
        "url",
        "role",
    ]
)


def show_config(config: Config) -> str:
    """The YAML text."""
    return yaml.safe_dump(plain(config), sort_keys=False, default_flow_style=False, allow_unicode=True)


def show_scrape_config(config: ScrapeConfig) -> str:
    """The YAML text of one job, with what it takes from ``global``."""
    return yaml.safe_dump(plain(config), sort_keys=False, default_flow_style=False, allow_unicode=True)


def plain(value: Any) -> Any:
    """Structs to dicts and scalars that YAML and JSON know."""
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if isinstance(value, Duration | Size | Secret):
        return str(value)
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return value


def _struct(value: msgspec.Struct) -> dict[str, Any]:
    shown = {}
    for field in msgspec.structs.fields(value):
        entry = getattr(value, field.name)
        if field.name in NOT_BUILT_IN or field.name == "scrape_config_files":
            continue
        empty = entry is None or entry == "" or entry == []
        default = field.default if field.default is not msgspec.NODEFAULT else None
        if empty or entry == {} or (entry == default and field.name not in _ALWAYS):
            continue
        shown[field.encode_name] = plain(entry)
    return shown
