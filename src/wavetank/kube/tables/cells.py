"""What several kinds' cells have in common: ages, lists of images, selectors, JSONPath of CRD columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.selectors import from_object
from wavetank.kube.times import parse_time

__all__ = ["age", "container_cells", "human_duration", "joined_map", "json_path", "selector_text", "since"]

_UNKNOWN: Final = "<unknown>"


def human_duration(seconds: float) -> str:
    """Two significant units, as ``k8s.io/apimachinery/pkg/util/duration`` shortens them."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = whole // 3600
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    if days < 365 * 8:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"


def since(timestamp: str | None, now: float) -> str:
    moment = parse_time(timestamp)
    return _UNKNOWN if moment is None else human_duration(now - moment)


def age(obj: Object, now: float) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def container_cells(template_spec: Mapping[str, Any]) -> tuple[str, str]:
    """(names, images) of the containers."""
    containers: Iterable[Object] = template_spec.get("containers") or ()
    pairs = [(c.get("name", ""), c.get("image", "")) for c in containers]
    return ",".join(name for name, _ in pairs), ",".join(image for _, image in pairs)


def selector_text(selector: Mapping[str, Any] | None) -> str:
    text = str(from_object(selector)) if selector else ""
    return text or "<none>"


def joined_map(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items())) or "<none>"


_STEP: Final = re.compile(
    r"""\.?([A-Za-z0-9_\-/]+)|\[['"]([^'"]+)['"]\]|\[(\d+)\]|\[\*\]|\[\?\(@\.([\w.]+)\s*==\s*['"]([^'"]*)['"]\)\]"""
)


def json_path(obj: Any, path: str) -> Any:
    """The first value at a simple JSONPath (``.a.b[0].c``, ``[?(@.type=="X")]``), or None."""
    found = obj
    for name, quoted, index, field, wanted in _STEP.findall(path.replace("\\.", ".")):
        if name or quoted:
            found = found.get(name or quoted) if isinstance(found, Mapping) else None
        elif index:
            at = int(index)
            found = found[at] if isinstance(found, list) and at < len(found) else None
        elif field:
            candidates = found if isinstance(found, list) else ()
            found = next((c for c in candidates if json_path(c, f".{field}") == wanted), None)
        else:
            found = found[0] if isinstance(found, list) and found else None
        if found is None:
            return None
    return found
