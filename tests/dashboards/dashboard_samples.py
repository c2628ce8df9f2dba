"""Dashboards, panels and variables as JSON, for the tests."""

from __future__ import annotations

from typing import Any

NOW_S = 1_760_000_000
JOBS = ("api", "db", "web")


def board(panels: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """A classic dashboard of schema 42 over the last hour."""
    return {
        "uid": "b",
        "title": "Board",
        "schemaVersion": 42,
        "time": {"from": "now-1h", "to": "now"},
        "panels": panels or [],
        **more,
    }


def panel(type_: str, *targets: dict[str, Any] | str, **more: Any) -> dict[str, Any]:
    """A panel over the whole width; a target may be just an expression."""
    found = [{"expr": t} if isinstance(t, str) else t for t in targets]
    return {
        "id": 1,
        "type": type_,
        "gridPos": {"x": 0, "y": 0, "w": 24, "h": 8},
        "targets": [{"refId": "ABCDEF"[i], **t} for i, t in enumerate(found)],
        **more,
    }


def custom(name: str, *values: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "custom", "query": ",".join(values), **more}
