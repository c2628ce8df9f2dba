"""Quotas and limit ranges."""

from __future__ import annotations

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    Object,
    created,
    identity,
    label_metric,
    spec_of,
    status_of,
)
from wavetank.exporters.quantity import quantity

__all__ = ["limit_range", "quota"]


def quota(found: Families, item: Object) -> None:
    labels = identity(item, "resourcequota")
    created(found, "kube_resourcequota_created", item, labels)
    label_metric(found, "kube_resourcequota_labels", item, labels)
    for kind in ("hard", "used"):
        for resource, amount in (status_of(item).get(kind) or {}).items():
            found.gauge(
                "kube_resourcequota", {**labels, "resource": resource, "type": kind}, quantity(amount)
            )


def limit_range(found: Families, item: Object) -> None:
    labels = identity(item, "limitrange")
    created(found, "kube_limitrange_created", item, labels)
    for limit in spec_of(item).get("limits") or []:
        for constraint in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio"):
            for resource, amount in (limit.get(constraint) or {}).items():
                named = {"resource": resource, "type": str(limit.get("type") or ""), "constraint": constraint}
                found.gauge("kube_limitrange", {**labels, **named}, quantity(amount))
