"""What the ``storage`` section of the configuration file changes about the flags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from wavetank.monitoring.config import Config
from wavetank.monitoring.config.model import RetentionRule
from wavetank.promql.parser import parse_metric_selector
from wavetank.tsdb.options import HOUR_MS, Downsample, Keep, Options
from wavetank.tsdb.options import RetentionRule as StoredRule

__all__ = ["storage_options"]

_LONGEST_BLOCK_MS: Final = 31 * 24 * HOUR_MS
_KEEPS: Final[dict[str, Keep]] = {"last": "last", "min": "min", "max": "max", "avg": "avg"}


def storage_options(flags: Options, config: Config) -> Options:
    """The file decides where it says something; retention and the out-of-order window at every reload."""
    tsdb = config.storage.tsdb
    retention = tsdb.retention
    changes: dict[str, Any] = {"exemplars_max": config.storage.exemplars.max_exemplars}
    if tsdb.out_of_order_time_window is not None:
        changes["out_of_order_window_ms"] = int(tsdb.out_of_order_time_window)
    if tsdb.chunk_encoding.floats:
        changes["float_chunks"] = tsdb.chunk_encoding.floats
    if retention.time is not None or retention.size is not None or retention.percentage:
        # A section takes the place of the flags as a whole: what it leaves out is no limit.
        changes["retention_ms"] = int(retention.time or 0)
        changes["retention_bytes"] = int(retention.size or 0)
        changes["retention_percent"] = retention.percentage
    changes["retention_rules"] = tuple(_rule(rule) for rule in retention.rules)
    options = replace(flags, **changes)
    return options if options.max_block_ms else replace(options, max_block_ms=_longest_block_ms(options))


def _longest_block_ms(options: Options) -> int:
    """Where no flag says: a tenth of the retention, as whole blocks are deleted, and a month at most."""
    tenth = options.retention_ms // 10 if options.retention_ms else _LONGEST_BLOCK_MS
    return max(options.min_block_ms, min(_LONGEST_BLOCK_MS, tenth))


def _rule(rule: RetentionRule) -> StoredRule:
    stages = rule.downsample if isinstance(rule.downsample, list) else [rule.downsample]
    return StoredRule(
        tuple(parse_metric_selector(rule.matchers)),
        int(rule.time or 0),
        tuple(Downsample(int(s.after), int(s.to), _KEEPS[s.keep]) for s in stages),
    )
