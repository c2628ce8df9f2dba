"""Durations as Istio writes them (Go's ``time.ParseDuration``: ``1h2m3.5s``) and as protobuf JSON does."""

from __future__ import annotations

import re

__all__ = ["parse_duration", "proto_duration"]

_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: object) -> float:
    """Seconds. Raises ValueError for anything that Go would refuse; ``0`` needs no unit."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a duration")
    body = text.removeprefix("-").removeprefix("+")
    if body == "0":
        return 0.0
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f"{text!r} is not a duration")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    return -seconds if text.startswith("-") else seconds


def proto_duration(text: object) -> str:
    """The same duration as protobuf's JSON form, e.g. ``90s`` for ``1m30s``."""
    return f"{parse_duration(text):.9f}".rstrip("0").rstrip(".") + "s"
