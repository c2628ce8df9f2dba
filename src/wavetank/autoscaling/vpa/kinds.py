"""The two custom resources of the VPA."""

from __future__ import annotations

from typing import Final

from wavetank.kube.client import Object, Resource

__all__ = ["VPAS", "VPA_CHECKPOINTS", "vpa_key"]

VPAS: Final = Resource(
    "autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "verticalpodautoscalers", True,
    "verticalpodautoscaler", ("vpa",), (), ("status",),
)  # fmt: skip
VPA_CHECKPOINTS: Final = Resource(
    "autoscaling.k8s.io", "v1", "VerticalPodAutoscalerCheckpoint", "verticalpodautoscalercheckpoints", True,
    "verticalpodautoscalercheckpoint", ("vpacheckpoint",), (), ("status",),
)  # fmt: skip


def vpa_key(vpa: Object) -> str:
    """namespace/name."""
    return f"{vpa['metadata'].get('namespace', 'default')}/{vpa['metadata']['name']}"
