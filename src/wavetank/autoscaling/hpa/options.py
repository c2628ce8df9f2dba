"""The HPA controller's flags (``--horizontal-pod-autoscaler-*``) and the rules of single releases."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["HpaOptions"]


@dataclass(frozen=True, slots=True)
class HpaOptions:
    """Defaults are upstream's; durations in seconds, tolerance a ratio.

    ``scale_up_factor`` and ``scale_up_minimum`` bound a step where the HPA has no ``behavior``: not more
    than max(factor x current, minimum). They are constants upstream (2 and 4).
    """

    sync_period: float = 15.0
    downscale_stabilization: float = 300.0
    tolerance: float = 0.1
    cpu_initialization_period: float = 300.0
    initial_readiness_delay: float = 30.0
    concurrent_syncs: int = 5
    scale_up_factor: float = 2.0
    scale_up_minimum: float = 4.0
    pod_level_resources: bool = False
    configurable_tolerance: bool = False
    scaled_to_zero_condition: bool = False

    def emulate(self, minor: int) -> HpaOptions:
        """The same flags under the feature gates that Kubernetes 1.``minor`` has on by default.

        Pod-level resources: on from 1.34; ``behavior.*.tolerance``: from 1.35 (KEP-4951); the condition
        ScaledToZero and its rules: from 1.36 (KEP-2021).
        """
        return replace(
            self,
            pod_level_resources=minor >= 34,
            configurable_tolerance=minor >= 35,
            scaled_to_zero_condition=minor >= 36,
        )
