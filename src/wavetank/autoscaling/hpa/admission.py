"""What the API server of an emulated release refuses or drops of an HPA, by its feature gates.

Mirrors ``pkg/registry/autoscaling`` (dropDisabledFields) and the validation of minReplicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.kube.api import Api
from wavetank.kube.client import Object, Resource
from wavetank.kube.status import FieldError, invalid

__all__ = ["HpaAdmission"]


class HpaAdmission:
    """To be put among the API server's admissions. What an HPA already has, it may keep."""

    def __init__(self, options: HpaOptions) -> None:
        self._options = options

    def __call__(self, api: Api, resource: Resource, new: Object, old: Object | None) -> None:
        if (resource.group, resource.plural) != ("autoscaling", "horizontalpodautoscalers"):
            return
        spec, before = new.get("spec") or {}, (old or {}).get("spec") or {}
        errors = []
        if (
            spec.get("minReplicas") == 0
            and not self._options.scale_to_zero
            and before.get("minReplicas") != 0
        ):
            detail = "must be greater than or equal to 1"
            errors.append(FieldError.bad("spec.minReplicas", 0, detail))
        if not self._options.configurable_tolerance and not _tolerances(before):
            for rules in _rules(spec):
                rules.pop("tolerance", None)
        if not self._options.container_resources and not _contained(before):
            spec["metrics"] = [m for m in spec.get("metrics") or () if m.get("type") != "ContainerResource"]
        if errors:
            raise invalid(resource, new["metadata"]["name"], errors)


def _rules(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    behavior = spec.get("behavior") or {}
    return [behavior[name] for name in ("scaleUp", "scaleDown") if isinstance(behavior.get(name), dict)]


def _tolerances(spec: Mapping[str, Any]) -> bool:
    return any("tolerance" in rules for rules in _rules(spec))


def _contained(spec: Mapping[str, Any]) -> bool:
    return any(m.get("type") == "ContainerResource" for m in spec.get("metrics") or ())
