"""The controller's own series, under upstream's names."""

from __future__ import annotations

from wavetank.exposition.registry import Registry

__all__ = ["HpaMonitor"]

_BUCKETS = tuple(0.001 * 2**i for i in range(16))


class HpaMonitor:
    """``registry`` is rendered by whoever serves the controller manager's /metrics."""

    def __init__(self) -> None:
        self.registry = Registry()
        prefix = "horizontal_pod_autoscaler_controller"
        self._reconciliations = self.registry.counter(
            f"{prefix}_reconciliations_total",
            "Number of reconciliations of HPA controller. The label 'action' should be either 'scale_down', "
            "'scale_up', or 'none'. Also, the label 'error' should be either 'spec', 'internal', or 'none'.",
            ("action", "error"),
        )
        self._durations = self.registry.histogram(
            f"{prefix}_reconciliation_duration_seconds",
            "The time(seconds) that the HPA controller takes to reconcile once.",
            ("action", "error"),
            _BUCKETS,
        )
        self._computations = self.registry.counter(
            f"{prefix}_metric_computation_total",
            "Number of metric computations. The label 'metric_type' corresponds to HPA.spec.metrics[*].type",
            ("action", "error", "metric_type"),
        )
        self._reads = self.registry.histogram(
            f"{prefix}_metric_computation_duration_seconds",
            "The time(seconds) that the HPA controller takes to calculate one metric.",
            ("action", "error", "metric_type"),
            _BUCKETS,
        )

    def reconciled(self, action: str, error: str, seconds: float) -> None:
        self._reconciliations.inc(1, action, error)
        self._durations.observe(seconds, action, error)

    def computed(self, metric_type: str, change: int, error: str, seconds: float) -> None:
        """``change`` is the proposal against the current size, ``seconds`` what reading the metric took."""
        action = "scale_up" if change > 0 else "scale_down" if change < 0 else "none"
        action = action if error == "none" else "none"
        self._computations.inc(1, action, error, metric_type)
        self._reads.observe(seconds, action, error, metric_type)
