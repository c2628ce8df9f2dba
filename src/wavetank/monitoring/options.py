"""What the command line decides about a server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wavetank.monitoring.config import ScrapeConfig
from wavetank.monitoring.rules.load import RuleOptions
from wavetank.promql.context import EngineOptions
from wavetank.tsdb.options import Options as StorageOptions

__all__ = ["ServerOptions"]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """``extra_scrape_configs`` are scraped beside those of the configuration file and survive reloads;
    ``environment`` is where discovery looks for ``KUBECONFIG``."""

    listen_address: str = "127.0.0.1:9090"
    storage: StorageOptions = field(default_factory=StorageOptions)
    engine: EngineOptions = field(default_factory=EngineOptions)
    rules: RuleOptions = field(default_factory=RuleOptions)
    external_url: str = ""
    query_concurrency: int = 20
    query_threads: int = 4
    notification_queue_capacity: int = 10_000
    enable_lifecycle: bool = False
    enable_admin_api: bool = False
    enable_remote_write_receiver: bool = False
    auto_reload_seconds: float = 0.0
    flags: Mapping[str, str] = field(default_factory=dict)
    extra_scrape_configs: Sequence[ScrapeConfig] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
