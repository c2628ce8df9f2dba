"""Timestamps as the Kubernetes API writes them: ``Time`` in whole seconds, ``MicroTime`` in microseconds.

Both are RFC 3339 in UTC. Values in this package are Unix seconds as floats.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["format_micro_time", "format_time", "parse_time"]


def format_time(seconds: float) -> str:
    """``metav1.Time``: ``2026-01-02T03:04:05Z``, fraction dropped."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(seconds: float) -> str:
    """``metav1.MicroTime``: ``2026-01-02T03:04:05.123456Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str | None) -> float | None:
    """Unix seconds of an RFC 3339 time; None for None, "" and texts that are not one."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
