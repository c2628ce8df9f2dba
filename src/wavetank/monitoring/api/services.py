"""What the endpoints work on: the parts of a running server, without the server."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wavetank.clock import Clock
from wavetank.exposition.registry import Registry
from wavetank.limits import SEARCH_LIMIT_MAX
from wavetank.monitoring.config.model import Config
from wavetank.monitoring.notifications import Notifications
from wavetank.monitoring.notifier import Notifier
from wavetank.monitoring.options import OtlpDeltas
from wavetank.monitoring.querying import Queries
from wavetank.monitoring.rules.engine import RuleEngine
from wavetank.monitoring.scrape.pool import ScrapePools
from wavetank.tsdb.db import DB

__all__ = ["Services", "Settings", "State"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``--web.*`` flags and others that decide what the API does."""

    flags: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    enable_lifecycle: bool = False
    enable_admin_api: bool = False
    enable_remote_write_receiver: bool = False
    enable_otlp_receiver: bool = False
    otlp_deltas: OtlpDeltas = "refuse"
    enable_search: bool = False
    search_limit_max: int = SEARCH_LIMIT_MAX
    agent: bool = False
    retention: str = "15d"
    loopback_only: bool = True
    accepted_messages: Sequence[str] = ()
    read_sample_limit: int = 0
    read_concurrent_limit: int = 10
    read_frame_bytes: int = 1 << 20
    page_title: str = ""
    route_prefix: str = ""
    cors_origin: re.Pattern[str] | None = None
    user_assets: Path | None = None
    console_templates: Path = Path("consoles")
    console_libraries: Path = Path("console_libraries")


class State(Protocol):
    """How the server as a whole stands."""

    config: Config
    ready: bool
    reload_ok: bool
    reloaded_at: float
    started_at: float


@dataclass(frozen=True, slots=True)
class Services:
    """All an endpoint may use. ``reload`` raises InputError; ``quit`` asks the server to end."""

    db: DB
    clock: Clock
    queries: Queries
    pools: ScrapePools
    rules: RuleEngine
    notifier: Notifier
    registry: Registry
    settings: Settings
    state: State
    reload: Callable[[], Awaitable[None]]
    quit: Callable[[], None]
    notifications: Notifications
    written: Callable[[int, int], None] = lambda samples, bytes: None
