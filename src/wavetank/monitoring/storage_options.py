"""What the ``storage`` section of the configuration file changes about the flags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wavetank.monitoring.config import Config
from wavetank.tsdb.options import Options

__all__ = ["storage_options"]


def storage_options(flags: Options, config: Config) -> Options:
    """The file decides where it says something; retention and the out-of-order window at every reload."""
    tsdb = config.storage.tsdb
    retention = tsdb.retention
    changes: dict[str, Any] = {"exemplars_max": config.storage.exemplars.max_exemplars}
    if tsdb.out_of_order_time_window is not None:
        changes["out_of_order_window_ms"] = int(tsdb.out_of_order_time_window)
    if retention.time is not None:
        changes["retention_ms"] = int(retention.time)
    if retention.size is not None:
        changes["retention_bytes"] = int(retention.size)
    if retention.percentage:
        changes["retention_percent"] = retention.percentage
    return replace(flags, **changes)
