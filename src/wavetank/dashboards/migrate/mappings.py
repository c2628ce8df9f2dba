"""Value mappings: the two old forms become the present one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["modern_mappings", "old_maps"]


def modern_mappings(config: dict[str, Any]) -> None:
    """Defaults and overrides of one field configuration."""
    defaults = config["defaults"]
    if isinstance(defaults.get("mappings"), list):
        defaults["mappings"] = _modern(defaults["mappings"])
    for override in config["overrides"]:
        for item in override.get("properties") or ():
            if (
                isinstance(item, dict)
                and item.get("id") == "mappings"
                and isinstance(item.get("value"), list)
            ):
                item["value"] = _modern(item["value"])


def _modern(found: list[Any]) -> list[dict[str, Any]]:
    """``type`` 1 and 2 (numbers, until Grafana 7) are value and range."""
    out: list[dict[str, Any]] = []
    for item in found:
        if not isinstance(item, Mapping):
            continue
        kind = item.get("type")
        if kind in (1, "1"):
            out.append(_value(item.get("value"), item.get("text"), None))
        elif kind in (2, "2"):
            out.append(_range(item.get("from"), item.get("to"), item.get("text"), None))
        else:
            out.append(dict(item))
    return out


def old_maps(panel: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``valueMaps`` and ``rangeMaps`` of singlestat panels and table styles."""
    kind = panel.get("mappingType")
    out = []
    if kind != 2:
        out = [
            _value(m.get("value"), m.get("text"), m.get("color")) for m in _objects(panel.get("valueMaps"))
        ]
    else:
        out = [
            _range(m.get("from"), m.get("to"), m.get("text"), m.get("color"))
            for m in _objects(panel.get("rangeMaps"))
        ]
    return out


def _objects(found: Any) -> Iterable[Mapping[str, Any]]:
    return [m for m in found if isinstance(m, Mapping)] if isinstance(found, list) else ()


def _result(text: Any, colour: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"text": "" if text is None else str(text)}
    if colour:
        out["color"] = colour
    return out


def _value(value: Any, text: Any, colour: Any) -> dict[str, Any]:
    if value in (None, "null"):
        return {"type": "special", "options": {"match": "null", "result": _result(text, colour)}}
    return {"type": "value", "options": {str(value): _result(text, colour)}}


def _range(low: Any, high: Any, text: Any, colour: Any) -> dict[str, Any]:
    if low == "null" and high == "null":
        return {"type": "special", "options": {"match": "null", "result": _result(text, colour)}}
    return {"type": "range", "options": {"from": low, "to": high, "result": _result(text, colour)}}
