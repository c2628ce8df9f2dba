"""The server's own metrics, under Prometheus' names.

Mirrors the instrumentation of prometheus/prometheus as far as its own dashboards and alert rules use it.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable

from wavetank.clock import Clock
from wavetank.exposition.process import process_families
from wavetank.exposition.registry import Registry
from wavetank.exposition.render import MetricFamily, Sample
from wavetank.monitoring.discovery.metrics import DiscoveryMetrics
from wavetank.monitoring.own_state import LIMIT_COUNTERS
from wavetank.tsdb.db import DB
from wavetank.tsdb.wal.log import segments

__all__ = ["ServerMetrics", "storage_families"]

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)


class ServerMetrics:
    """All of them; each is registered once, at the start."""

    def __init__(self, registry: Registry, clock: Clock, version: str) -> None:
        counter, gauge, histogram = registry.counter, registry.gauge, registry.histogram
        build = gauge(
            "prometheus_build_info",
            "A metric with a constant '1' value labeled by version and revision.",
            ("version", "revision", "goversion"),
        )
        build.set(1, version, "wavetank", f"python{platform.python_version()}")
        self.ready = gauge("prometheus_ready", "Whether Prometheus startup was fully completed.")
        self.reload_ok = gauge(
            "prometheus_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
        )
        self.reload_at = gauge(
            "prometheus_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
        )
        self.scrape_seconds = histogram(
            "prometheus_target_scrape_duration_seconds", "Duration of scrapes.", ("scrape_job",), _SECONDS
        )
        self.interval_seconds = registry.summary(
            "prometheus_target_interval_length_seconds", "Actual intervals between scrapes.", ("interval",)
        )
        self.limits = {
            name: counter(name, "Scrapes that failed because they went over this limit.")
            for name in LIMIT_COUNTERS
        }
        self.scrape_failures = counter(
            "prometheus_target_scrapes_failed_total", "Scrapes that failed.", ("scrape_job",)
        )
        self.discovery = DiscoveryMetrics(registry)
        self.query_seconds = histogram(
            "prometheus_engine_query_duration_histogram_seconds", "Duration of queries.", ("slice",), _SECONDS
        )
        self.query_quantiles = registry.summary(
            "prometheus_engine_query_duration_seconds", "Query timings.", ("slice",)
        )
        self.rule_seconds = registry.summary(
            "prometheus_rule_group_duration_seconds", "The duration of rule group evaluations."
        )
        self.rule_evaluation_seconds = registry.summary(
            "prometheus_rule_evaluation_duration_seconds", "The duration for a rule to execute."
        )
        self.compactions_failed = counter(
            "prometheus_tsdb_compactions_failed_total", "Rounds of upkeep that failed."
        )
        self.alerts_sent = counter("prometheus_notifications_sent_total", "Alerts sent.", ("alertmanager",))
        self.alert_errors = counter(
            "prometheus_notifications_errors_total",
            "Alerts that an Alertmanager did not take.",
            ("alertmanager",),
        )
        self.alerts_dropped = counter(
            "prometheus_notifications_dropped_total", "Alerts that were never sent.", ("alertmanager",)
        )
        self.alert_seconds = registry.summary(
            "prometheus_notifications_latency_seconds", "How long sending alerts took.", ("alertmanager",)
        )
        self.alert_histogram = histogram(
            "prometheus_notifications_latency_histogram_seconds",
            "How long sending alerts took.",
            ("alertmanager",),
            (0.01, 0.1, 1.0, 10.0),
        )
        self.samples_received = counter(
            "prometheus_remote_write_received_samples_total", "Samples received by remote write."
        )
        self.commits_failed = counter(
            "wavetank_storage_commits_failed_total", "Scrapes and rule results that could not be stored."
        )
        self.spans = counter(
            "wavetank_tracing_spans_total",
            "Spans by what became of them: sent, failed, dropped.",
            ("outcome",),
        )
        registry.collector(_process)

    def queried(self, seconds: float, slice: str) -> None:
        """Note how long a part of a query took."""
        self.query_seconds.observe(seconds, slice)
        self.query_quantiles.observe(seconds, slice)

    def notified(self, outcome: str, url: str, alerts: int, seconds: float) -> None:
        """Count what became of alerts: sent, error or dropped."""
        if outcome == "sent":
            self.alerts_sent.inc(alerts, url)
            if alerts:
                self.alert_seconds.observe(seconds, url)
                self.alert_histogram.observe(seconds, url)
        elif outcome == "error":
            self.alert_errors.inc(alerts, url)
        else:
            self.alerts_dropped.inc(alerts, url)


def _process() -> Iterable[MetricFamily]:
    """``process_*``, and how many threads there are."""
    yield from process_families()
    threads = Sample("process_threads", {}, float(threading.active_count()))
    yield MetricFamily("process_threads", "gauge", "Number of threads of Python.", samples=[threads])


def storage_families(db: DB) -> Iterable[MetricFamily]:
    """``prometheus_tsdb_*``: what became of samples, and how many blocks there are."""
    counts = db.counts
    float_type = {"type": "float"}
    head = db.store.head
    empty = head.samples_appended == 0
    for name, kind, labels, value in (
        ("prometheus_tsdb_head_series", "gauge", {}, len(head)),
        ("prometheus_tsdb_head_series_limit", "gauge", {}, db.options.series_max),
        ("prometheus_tsdb_head_series_dropped_total", "counter", {}, counts.series_dropped),
        ("prometheus_tsdb_head_chunks", "gauge", {}, head.closed_count + head.open_count),
        ("prometheus_tsdb_head_min_time", "gauge", {}, 0 if empty else head.mint_ms),
        ("prometheus_tsdb_head_max_time", "gauge", {}, 0 if empty else head.maxt_ms),
        ("prometheus_tsdb_head_min_time_seconds", "gauge", {}, 0 if empty else head.mint_ms / 1000),
        ("prometheus_tsdb_head_max_time_seconds", "gauge", {}, 0 if empty else head.maxt_ms / 1000),
        ("prometheus_tsdb_data_replay_duration_seconds", "gauge", {}, db.replay_status.seconds),
        ("prometheus_tsdb_data_replay_ratio", "gauge", {}, 1.0 if db.is_whole else db.replay_status.fraction),
        ("prometheus_tsdb_wal_corruptions_total", "counter", {}, sum(len(r.damage) for r in db.replays)),
        ("prometheus_tsdb_blocks_quarantined", "gauge", {}, len(db.quarantined)),
        ("prometheus_tsdb_head_samples_appended_total", "counter", float_type, counts.appended),
        ("prometheus_tsdb_out_of_order_samples_appended_total", "counter", float_type, counts.backfilled),
        ("prometheus_tsdb_out_of_order_samples_total", "counter", float_type, counts.out_of_order),
        ("prometheus_tsdb_duplicate_samples_total", "counter", float_type, counts.duplicate),
        ("prometheus_tsdb_blocks_loaded", "gauge", {}, len(db.blocks)),
        ("prometheus_tsdb_storage_blocks_bytes", "gauge", {}, sum(b.bytes_on_disk for b in db.blocks)),
        ("prometheus_tsdb_lowest_timestamp", "gauge", {}, _lowest_ms(db)),
        ("prometheus_tsdb_lowest_timestamp_seconds", "gauge", {}, _lowest_ms(db) / 1000),
        ("prometheus_tsdb_retention_limit_percentage", "gauge", {}, db.options.retention_percent),
        ("prometheus_tsdb_exemplar_exemplars_in_storage", "gauge", {}, len(db.store.exemplars)),
        ("prometheus_tsdb_exemplar_max_exemplars", "gauge", {}, db.options.exemplars_max),
        ("prometheus_tsdb_exemplar_out_of_order_exemplars_total", "counter", {}, db.store.exemplars.dropped),
        ("prometheus_tsdb_wal_segment_current", "gauge", {}, _current_segment(db)),
        ("prometheus_tsdb_retention_limit_bytes", "gauge", {}, db.options.retention_bytes),
        ("prometheus_tsdb_retention_limit_seconds", "gauge", {}, db.options.retention_ms / 1000),
        ("prometheus_target_scrapes_sample_out_of_order_total", "counter", {}, counts.out_of_order),
        ("prometheus_target_scrapes_sample_duplicate_timestamp_total", "counter", {}, counts.duplicate),
        # Samples of any age are within bounds; those the window leaves out are counted as out of order.
        ("prometheus_target_scrapes_sample_out_of_bounds_total", "counter", {}, 0),
        ("prometheus_tsdb_reloads_failures_total", "counter", {}, len(db.quarantined)),
    ):
        yield MetricFamily(name, kind, samples=[Sample(name, labels, float(value))])


def _current_segment(db: DB) -> int:
    """The number of the segment of the log that is being written; -1 where there is none."""
    return max((number for number, _ in segments(db.path / "wal")), default=-1)


def _lowest_ms(db: DB) -> int:
    """The time of the oldest sample there is; 0 where there is none."""
    head = db.store.head
    oldest = [b.meta.min_time for b in db.blocks] + ([head.mint_ms] if head.samples_appended else [])
    return min(oldest, default=0)
