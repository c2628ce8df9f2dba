"""The HPA controller's flags (``--horizontal-pod-autoscaler-*``) and the rules of single releases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from wavetank.errors import InputError, did_you_mean

__all__ = ["GATES", "NEWEST", "OLDEST", "HpaOptions", "parse_release"]

OLDEST: Final = 23
NEWEST: Final = 37

#: Feature gates that change what an HPA decides, and the release that has each on by default.
GATES: Final[Mapping[str, int]] = {
    "HPAContainerMetrics": 27,  # beta; stable in 1.30
    "PodLevelResources": 34,
    "HPAConfigurableTolerance": 35,  # KEP-4951; alpha in 1.33
    "HPAScaleToZero": 37,  # KEP-2021; alpha since 1.16
}


@dataclass(frozen=True, slots=True)
class HpaOptions:
    """Defaults are upstream's; durations in seconds, tolerance a ratio.

    ``scale_up_factor`` and ``scale_up_minimum`` bound a step where the HPA has no ``behavior``: not more
    than max(factor x current, minimum). They are constants upstream (2 and 4). Without ``emulate`` the rules
    are those of 1.33, but minReplicas may be 0.
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
    scale_to_zero: bool = True
    container_resources: bool = True
    observed_generation: bool = False

    def emulate(self, minor: int, gates: Mapping[str, bool] | None = None) -> HpaOptions:
        """The same flags as Kubernetes 1.``minor`` has them: its feature gates' defaults, and ``gates`` set
        by the user. Raises InputError for a gate that does not concern the HPA."""
        on = {gate: minor >= since for gate, since in GATES.items()}
        for gate, value in (gates or {}).items():
            if gate not in GATES:
                raise InputError(f"unknown feature gate {gate!r}", fix=did_you_mean(gate, GATES))
            on[gate] = value
        return replace(
            self,
            container_resources=on["HPAContainerMetrics"],
            pod_level_resources=on["PodLevelResources"],
            configurable_tolerance=on["HPAConfigurableTolerance"],
            scale_to_zero=on["HPAScaleToZero"],
            observed_generation=minor >= 37,
            # The condition came with 1.36; the gate decides whether anybody meets it.
            scaled_to_zero_condition=minor >= 36 and (on["HPAScaleToZero"] or not gates),
        )


def parse_release(text: str) -> int:
    """The minor version of ``1.36``, ``v1.36.2`` or ``36``. Raises InputError for what is not emulated."""
    found = re.fullmatch(r"v?(?:1\.)?(\d+)(?:\.\d+)?", text.strip())
    minor = int(found[1]) if found else 0
    if not OLDEST <= minor <= NEWEST:
        fix = f"give one from 1.{OLDEST} to 1.{NEWEST}"
        raise InputError(f"Kubernetes {text!r} is not emulated", fix=fix)
    return minor
