"""What the command line decides about a server."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wavetank.limits import NOTIFICATION_SUBSCRIBERS_MAX, SEARCH_LIMIT_MAX
from wavetank.monitoring.config import ScrapeConfig
from wavetank.monitoring.rules.load import RuleOptions
from wavetank.promql.context import EngineOptions
from wavetank.tsdb.options import Options as StorageOptions

__all__ = ["AgentOptions", "OtlpDeltas", "RemoteOptions", "ServerOptions", "WebOptions"]

#: What becomes of deltas sent by OTLP: they are refused, added up, or stored as they are.
OtlpDeltas = Literal["refuse", "totals", "keep"]


@dataclass(frozen=True, slots=True)
class WebOptions:
    """The ``--web.*`` flags that decide how the server is reached.

    route_prefix  the path everything is served below; None takes the external URL's
    cors_origin   web pages of these origins may read; None sends no CORS headers
    """

    config_file: Path | None = None
    listen_also: Sequence[str] = ()
    read_timeout_seconds: float = 300.0
    connections_max: int = 512
    route_prefix: str | None = None
    cors_origin: re.Pattern[str] | None = None
    page_title: str = "Wavetank"
    user_assets: Path | None = None
    console_templates: Path = Path("consoles")
    console_libraries: Path = Path("console_libraries")


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """The ``--storage.remote.*`` flags, and which remote write messages are taken."""

    flush_seconds: float = 60.0
    read_sample_limit: int = 50_000_000
    read_concurrent_limit: int = 10
    read_frame_bytes: int = 1 << 20
    accepted_messages: Sequence[str] = ("prometheus.WriteRequest", "io.prometheus.write.v2.Request")


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """``--agent``: scrape and forward only. The log forgets what was sent once it spans ``min_ms``, and
    whatever there is once it spans ``max_ms``."""

    min_ms: int = 5 * 60_000
    max_ms: int = 4 * 3_600_000


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """``extra_scrape_configs`` are scraped beside those of the configuration file and survive reloads;
    ``environment`` is where discovery looks for ``KUBECONFIG``; ``snap_seconds`` is how far a scrape may be
    from its tick to be stored at the tick; ``gather_seconds`` how long changes of discovery are gathered."""

    listen_address: str = "127.0.0.1:9090"
    web: WebOptions = field(default_factory=WebOptions)
    remote: RemoteOptions = field(default_factory=RemoteOptions)
    agent: AgentOptions | None = None
    storage: StorageOptions = field(default_factory=StorageOptions)
    engine: EngineOptions = field(default_factory=EngineOptions)
    rules: RuleOptions = field(default_factory=RuleOptions)
    external_url: str = ""
    query_concurrency: int = 20
    query_threads: int = 4
    notification_queue_capacity: int = 10_000
    notification_batch_size: int = 256
    notification_subscribers_max: int = NOTIFICATION_SUBSCRIBERS_MAX
    enable_lifecycle: bool = False
    enable_admin_api: bool = False
    enable_remote_write_receiver: bool = False
    enable_otlp_receiver: bool = False
    otlp_deltas: OtlpDeltas = "refuse"
    enable_search: bool = False
    search_limit_max: int = SEARCH_LIMIT_MAX
    auto_reload_seconds: float = 0.0
    drain_alerts: bool = True
    snap_seconds: float = 0.002
    gather_seconds: float = 0.1
    flags: Mapping[str, str] = field(default_factory=dict)
    extra_scrape_configs: Sequence[ScrapeConfig] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
