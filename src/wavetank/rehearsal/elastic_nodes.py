"""The node autoscaler's flags, from the rehearsal file."""

from __future__ import annotations

from wavetank.autoscaling.nodes.model import GROUP_LABEL, NodesOptions
from wavetank.load.stages import parse_duration
from wavetank.rehearsal.spec import NodeAutoscaling

__all__ = ["nodes_options"]

GROUP = "auto"


def nodes_options(given: NodeAutoscaling) -> NodesOptions:
    template = given.template
    capacity = {"cpu": str(template.cpu), "memory": str(template.memory), "pods": str(template.pods)}
    return NodesOptions(
        template={
            "metadata": {"name": GROUP, "labels": {**template.labels, GROUP_LABEL: GROUP}},
            "status": {"capacity": capacity, "allocatable": capacity},
        },
        group=GROUP,
        minimum=given.min,
        maximum=given.max,
        boot_delay=parse_duration(given.boot_delay),
        scan_interval=parse_duration(given.scan_interval),
        unneeded_time=parse_duration(given.unneeded_time),
        delay_after_add=parse_duration(given.delay_after_add),
        utilization_threshold=given.utilization_threshold,
    )
