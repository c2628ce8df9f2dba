"""The cells of a HorizontalPodAutoscaler: TARGETS shows each metric's current value and target."""

from __future__ import annotations

from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.tables.cells import age

__all__ = ["hpa_cells"]

_SHOWN_MAX = 2


def hpa_cells(hpa: Object, now: float) -> list[Any]:
    spec, status = hpa.get("spec") or {}, hpa.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    minimum = spec.get("minReplicas")
    return [
        hpa["metadata"]["name"],
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(spec.get("metrics") or [], status.get("currentMetrics") or []),
        "<unset>" if minimum is None else str(minimum),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(hpa, now),
    ]


def _targets(specs: list[Object], statuses: list[Object]) -> str:
    if not specs:
        return "<none>"
    shown = [_target(spec, statuses[i] if i < len(statuses) else {}) for i, spec in enumerate(specs)]
    if len(shown) > _SHOWN_MAX:
        return f"{', '.join(shown[:_SHOWN_MAX])} + {len(shown) - _SHOWN_MAX} more..."
    return ", ".join(shown)


_KEYS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _target(spec: Object, status: Object) -> str:
    key = _KEYS.get(spec.get("type", ""), "")
    if not key:
        return "<unknown type>"
    source = spec.get(key) or {}
    target = source.get("target") or {}
    current = (status.get(key) or {}).get("current") or {}
    prefix = f"{source.get('name', '')}: " if "esource" in key else ""
    if target.get("averageUtilization") is not None and "esource" in key:
        now = current.get("averageUtilization")
        value = "<unknown>" if now is None else f"{now}%"
        return f"{prefix}{value}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        suffix = " (avg)" if key in ("object", "external") else ""
        return f"{prefix}{current.get('averageValue') or '<unknown>'}/{target['averageValue']}{suffix}"
    return f"{prefix}{current.get('value') or '<unknown>'}/{target.get('value', '<auto>')}"
