"""``prometheus_sd_*``: what discovery did, under upstream's names.

Mirrors discovery/metrics*.go and the metrics.go of each mechanism that is built in. One object serves the
discovery of targets and that of Alertmanagers, which differ by the label ``name``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wavetank.exposition.registry import Registry

__all__ = ["DiscoveryMetrics", "Took"]

_SECONDS: Final = (0.01, 0.1, 1.0, 10.0)
_ROLES: Final = ("endpointslice", "endpoints", "node", "pod", "service", "ingress")

# Hears how long a question took.
Took = Callable[[float], None]


class DiscoveryMetrics:
    """Without a registry of its own it counts for nobody."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry()
        counter, summary = registry.counter, registry.summary
        config = ("mechanism", "config")
        self.received = counter(
            "prometheus_sd_received_updates_total", "Update events received from the SD providers.", ("name",)
        )
        self.sent = counter(
            "prometheus_sd_updates_total", "Update events sent to the SD consumers.", ("name",)
        )
        self.delayed = counter(
            "prometheus_sd_updates_delayed_total", "Update events that could not be sent at once.", ("name",)
        )
        self.updated_at = registry.gauge(
            "prometheus_sd_last_update_timestamp_seconds",
            "When the SD consumers were last sent an update.",
            ("name", "config"),
        )
        self.failed_configs = registry.gauge(
            "prometheus_sd_failed_configs", "SD configurations that failed to load.", ("name",)
        )
        self._failures = counter("prometheus_sd_refresh_failures_total", "Refreshes that failed.", config)
        self._seconds = summary("prometheus_sd_refresh_duration_seconds", "How long refreshes took.", config)
        self._histogram = registry.histogram(
            "prometheus_sd_refresh_duration_histogram_seconds",
            "How long refreshes took.",
            ("mechanism",),
            _SECONDS,
        )
        self._own_failures = {
            "http": counter("prometheus_sd_http_failures_total", "HTTP service discovery refreshes failed."),
            "dns": counter("prometheus_sd_dns_lookup_failures_total", "DNS-SD lookups that failed."),
            "consul": counter("prometheus_sd_consul_rpc_failures_total", "Questions to Consul that failed."),
            "kubernetes": counter(
                "prometheus_sd_kubernetes_failures_total", "Lists and watches that failed."
            ),
            "file": counter("prometheus_sd_file_read_errors_total", "Files that could not be read."),
        }
        for made in self._own_failures.values():
            made.inc(0)
        self.dns_lookups = counter("prometheus_sd_dns_lookups_total", "DNS-SD lookups.")
        self.dns_lookups.inc(0)
        self.consul_seconds = summary(
            "prometheus_sd_consul_rpc_duration_seconds",
            "How long questions to Consul took.",
            ("endpoint", "call"),
        )
        self.file_seconds = summary(
            "prometheus_sd_file_scan_duration_seconds", "How long looking at the files took."
        )
        self.kubernetes_events = counter(
            "prometheus_sd_kubernetes_events_total", "Kubernetes events handled.", ("role", "event")
        )
        for role in _ROLES:
            for event in ("add", "delete", "update"):
                self.kubernetes_events.inc(0, role, event)

    def failing(self, mechanism: str, job: str) -> Callable[[], None]:
        """Counts a failure of a section of a job; refreshes are those of mechanisms that ask regularly."""
        own = self._own_failures[mechanism]
        refreshes = mechanism in ("http", "dns")
        if refreshes:
            self._failures.inc(0, mechanism, job)

        def failed() -> None:
            own.inc()
            if refreshes:
                self._failures.inc(1, mechanism, job)

        return failed

    def refreshing(self, mechanism: str, job: str) -> Took:
        """Notes how long a refresh took."""

        def took(seconds: float) -> None:
            self._seconds.observe(seconds, mechanism, job)
            self._histogram.observe(seconds, mechanism)

        return took
