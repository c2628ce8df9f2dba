"""Alertmanager's own metrics, under upstream's names."""

from __future__ import annotations

import platform
from typing import Final

from wavetank import __version__
from wavetank.exposition.registry import Registry

__all__ = ["AlertmanagerMetrics"]

_LATENCY: Final = (1.0, 5.0, 10.0, 15.0, 20.0)
_HTTP: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0, 20.0, 60.0)
_INTEGRATION: Final = ("integration", "receiver_name")


class AlertmanagerMetrics:
    """What is counted as it happens; what is only looked at is gathered by the service."""

    def __init__(self, registry: Registry) -> None:
        counter, gauge, histogram = registry.counter, registry.gauge, registry.histogram
        build = gauge(
            "alertmanager_build_info",
            "A metric with a constant '1' value labeled by version and revision.",
            ("version", "revision", "goversion"),
        )
        build.set(1, __version__, "wavetank", f"python{platform.python_version()}")
        self.reload_ok = gauge(
            "alertmanager_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
        )
        self.reload_at = gauge(
            "alertmanager_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
        )
        self.config_hash = gauge("alertmanager_config_hash", "Hash of the currently loaded configuration.")
        self.received = counter(
            "alertmanager_alerts_received_total", "Alerts received by status.", ("status", "version")
        )
        self.invalid = counter(
            "alertmanager_alerts_invalid_total", "Alerts received that were invalid.", ("version",)
        )
        for status in ("firing", "resolved"):
            self.received.inc(0, status, "v2")
        self.invalid.inc(0, "v2")
        self.notifications = counter(
            "alertmanager_notifications_total", "Notifications attempted.", _INTEGRATION
        )
        self.notifications_failed = counter(
            "alertmanager_notifications_failed_total",
            "Notifications that failed, by why.",
            (*_INTEGRATION, "reason"),
        )
        self.requests = counter(
            "alertmanager_notification_requests_total", "Attempts to deliver.", _INTEGRATION
        )
        self.requests_failed = counter(
            "alertmanager_notification_requests_failed_total", "Attempts that failed.", _INTEGRATION
        )
        self.latency = histogram(
            "alertmanager_notification_latency_seconds", "Time an attempt took.", _INTEGRATION, _LATENCY
        )
        self.suppressed = counter(
            "alertmanager_notifications_suppressed_total",
            "Notifications suppressed, by silence, inhibition or time interval.",
            ("reason",),
        )
        self.http_seconds = histogram(
            "alertmanager_http_request_duration_seconds",
            "Time HTTP requests took.",
            ("handler", "method", "code"),
            _HTTP,
        )
        self.in_flight = gauge(
            "alertmanager_http_requests_in_flight",
            "Current number of HTTP requests being processed.",
            ("method",),
        )
        self.concurrency_exceeded = counter(
            "alertmanager_http_concurrency_limit_exceeded_total",
            "HTTP requests that were refused for want of room.",
            ("method",),
        )
        self.in_flight.set(0, "get")
        self.concurrency_exceeded.inc(0, "get")
        self.nflog_errors = counter(
            "alertmanager_nflog_maintenance_errors_total", "Writes of the notification log that failed."
        )
        self.silences_errors = counter(
            "alertmanager_silences_maintenance_errors_total", "Writes of the silences that failed."
        )
        self.nflog_runs = counter(
            "alertmanager_nflog_maintenance_total", "Maintenance of the notification log."
        )
        self.silences_runs = counter("alertmanager_silences_maintenance_total", "Maintenance of silences.")
        self.processing = histogram(
            "alertmanager_dispatcher_alert_processing_duration_seconds",
            "Time to put alerts into their groups.",
        )

    def announce(self, receiver: str, integration: str) -> None:
        """Let an integration's series start at zero, so that rates see its first failure."""
        for vector in (self.notifications, self.requests, self.requests_failed):
            vector.inc(0, integration, receiver)
        for reason in ("clientError", "contextCanceled", "contextDeadlineExceeded", "other", "serverError"):
            self.notifications_failed.inc(0, integration, receiver, reason)
