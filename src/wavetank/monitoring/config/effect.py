"""What a configuration asks for that this server does not do.

A setting that cannot be refused without breaking files that work elsewhere is said aloud at every load.
"""

from __future__ import annotations

from collections.abc import Iterator

from wavetank.monitoring.config.model import Config, Runtime, ScrapeConfig

__all__ = ["without_effect"]


def without_effect(config: Config) -> list[str]:
    """One line a setting, naming it and what happens instead."""
    return [*_whole(config), *(line for scrape in config.scrape_configs for line in _scrape(scrape))]


def _whole(config: Config) -> Iterator[str]:
    if config.tracing is not None:
        yield "tracing: no traces are sent"
    if config.runtime != Runtime():
        yield "runtime.gogc: there is no Go runtime"
    tsdb = config.storage.tsdb
    if tsdb.stale_series_compaction_threshold:
        yield "storage.tsdb.stale_series_compaction_threshold: stale series wait for the next block"
    for section in config.remote_write:
        if section.round_robin_dns:
            yield f"remote_write {section.url}: round_robin_dns: the resolver's order is used"


def _scrape(scrape: ScrapeConfig) -> Iterator[str]:
    job = f"scrape_configs job {scrape.job_name!r}"
    if scrape.native_histogram_bucket_limit or scrape.native_histogram_min_bucket_factor:
        yield f"{job}: native_histogram_*: histograms are stored with the buckets they have"
    if scrape.convert_classic_histograms_to_nhcb:
        yield f"{job}: convert_classic_histograms_to_nhcb: classic histograms stay classic"
