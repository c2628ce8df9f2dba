"""``prometheus_*`` families that are read off the parts when somebody asks.

Mirrors the instrumentation of scrape/, rules/, notifier/ and discovery/ as far as upstream's dashboard, its
alert rules and the server's own pages use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from wavetank.exposition.render import MetricFamily, Sample
from wavetank.monitoring.notifier import Notifier
from wavetank.monitoring.querying import Queries
from wavetank.monitoring.rules.group import Group
from wavetank.monitoring.scrape.pool import ScrapePool, ScrapePools

if TYPE_CHECKING:
    from wavetank.monitoring.discovery import DiscoveryPool

__all__ = [
    "LIMIT_COUNTERS",
    "discovery_families",
    "notifier_families",
    "query_families",
    "rule_families",
    "scrape_families",
    "scrape_limit",
]

#: How a failed scrape's text names the limit that it went over, and the counter of that limit.
_LIMITS: Final = (
    ("sample limit exceeded", "prometheus_target_scrapes_exceeded_sample_limit_total"),
    ("body size limit exceeded", "prometheus_target_scrapes_exceeded_body_size_limit_total"),
    ("label_limit exceeded", "prometheus_target_scrape_pool_exceeded_label_limits_total"),
    ("label_name_length_limit exceeded", "prometheus_target_scrape_pool_exceeded_label_limits_total"),
    ("label_value_length_limit exceeded", "prometheus_target_scrape_pool_exceeded_label_limits_total"),
    (
        "native_histogram_bucket_limit exceeded",
        "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total",
    ),
)
LIMIT_COUNTERS: Final = tuple(dict.fromkeys(name for _, name in _LIMITS))


def scrape_limit(error: str) -> str | None:
    """The counter that a failed scrape belongs to, if a limit made it fail."""
    return next((name for text, name in _LIMITS if text in error), None)


def _family(name: str, kind: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> MetricFamily:
    return MetricFamily(name, kind, samples=[Sample(name, labels, float(value)) for labels, value in samples])


def scrape_families(pools: ScrapePools) -> Iterable[MetricFamily]:
    """Of each job: targets, limits, failures to make targets, and the metadata kept."""
    jobs = [({"scrape_job": name}, pool) for name, pool in pools.pools.items()]
    yield _family("prometheus_target_scrape_pools_total", "counter", [({}, len(jobs))])
    table: tuple[tuple[str, str, Callable[[ScrapePool], float]], ...] = (
        ("prometheus_target_scrape_pool_targets", "gauge", lambda p: len(p.loops)),
        ("prometheus_target_scrape_pool_target_limit", "gauge", lambda p: p.config.target_limit),
        ("prometheus_target_scrape_pool_sync_total", "counter", lambda p: p.syncs),
        ("prometheus_target_scrape_pool_exceeded_target_limit_total", "counter", lambda p: p.over_limit),
        ("prometheus_target_sync_failed_total", "counter", lambda p: p.failed_targets),
        (
            "prometheus_target_metadata_cache_entries",
            "gauge",
            lambda p: sum(len(loop.store.metadata) for loop in p.loops.values()),
        ),
    )
    for name, kind, value in table:
        yield _family(name, kind, [(labels, value(pool)) for labels, pool in jobs])
    yield _family("prometheus_target_scrape_pools_failed_total", "counter", [({}, 0)])
    yield _family(
        "prometheus_target_scrape_pool_reloads_total", "counter", [({}, sum(p.reloads for _, p in jobs))]
    )
    yield _family("prometheus_target_scrape_pool_reloads_failed_total", "counter", [({}, 0)])
    name = "prometheus_target_sync_length_seconds"
    samples = [Sample(f"{name}_sum", labels, pool.sync_seconds) for labels, pool in jobs]
    samples += [Sample(f"{name}_count", labels, float(pool.syncs)) for labels, pool in jobs]
    yield MetricFamily(name, "summary", "How long syncs of targets took.", samples=samples)


def rule_families(groups: Iterable[Group]) -> Iterable[MetricFamily]:
    """Of each rule group: rules, times, evaluations and what went wrong."""
    labelled = [({"rule_group": group.key}, group) for group in groups]
    table: tuple[tuple[str, str, Callable[[Group], float]], ...] = (
        ("rules", "gauge", lambda g: len(g.rules)),
        ("interval_seconds", "gauge", lambda g: g.interval_ms / 1000),
        ("last_duration_seconds", "gauge", lambda g: g.duration_seconds),
        ("last_evaluation_timestamp_seconds", "gauge", lambda g: g.last_evaluation_ms / 1000),
        ("last_evaluation_samples", "gauge", lambda g: sum(len(rule.written) for rule in g.rules)),
        ("iterations_total", "counter", lambda g: g.iterations + g.missed),
        ("iterations_missed_total", "counter", lambda g: g.missed),
    )
    for suffix, kind, value in table:
        yield _family(f"prometheus_rule_group_{suffix}", kind, [(labels, value(g)) for labels, g in labelled])
    yield _family(
        "prometheus_rule_evaluations_total", "counter", [(labels, g.evaluations) for labels, g in labelled]
    )
    yield _family(
        "prometheus_rule_evaluation_failures_total",
        "counter",
        [(labels, g.failures) for labels, g in labelled],
    )


def notifier_families(notifier: Notifier) -> Iterable[MetricFamily]:
    """The queue of alerts, and who takes them."""
    queued = [({"alertmanager": url}, count) for url, count in notifier.queued.items()]
    yield _family("prometheus_notifications_queue_length", "gauge", queued)
    yield _family("prometheus_notifications_queue_capacity", "gauge", [({}, notifier.capacity)])
    known = sum(len(managers) for managers in notifier.active.values())
    yield _family("prometheus_notifications_alertmanagers_discovered", "gauge", [({}, known)])


def query_families(queries: Queries) -> Iterable[MetricFamily]:
    """Queries at work, and how many may be at once."""
    yield _family("prometheus_engine_queries", "gauge", [({}, len(queries.active))])
    yield _family("prometheus_engine_queries_concurrent_max", "gauge", [({}, queries.concurrency)])


def discovery_families(pools: Mapping[str, DiscoveryPool]) -> Iterable[MetricFamily]:
    """Targets found, before relabelling, by each section, and when its files changed; by ``scrape`` and
    ``notify``."""
    yield _family(
        "prometheus_sd_discovered_targets",
        "gauge",
        [
            ({"name": name, "config": job}, count)
            for name, pool in pools.items()
            for job, count in pool.counts().items()
        ],
    )
    times = {path: at for pool in pools.values() for path, at in pool.file_times().items()}
    yield _family(
        "prometheus_sd_file_mtime_seconds", "gauge", [({"filename": p}, t) for p, t in times.items()]
    )
