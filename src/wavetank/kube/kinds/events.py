"""Events: stored in their core form, served as events.k8s.io/v1 too."""

from __future__ import annotations

from typing import Final

from wavetank.kube.client import Object

__all__ = ["from_core", "to_core"]

_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_BACK: Final = {new: old for old, new in _NAMES.items()}


def from_core(obj: Object) -> Object:
    """The events.k8s.io/v1 form."""
    renamed = {_NAMES.get(name, name): value for name, value in obj.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}


def to_core(obj: Object) -> Object:
    """The core form of an events.k8s.io/v1 event."""
    renamed = {_BACK.get(name, name): value for name, value in obj.items()}
    return {**renamed, "apiVersion": "v1"}
