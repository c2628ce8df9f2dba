"""What a watch with selectors sees of a change to storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavetank.kube.client import WatchEvent, WatchType
from wavetank.kube.storage import Change

if TYPE_CHECKING:
    from wavetank.kube.api import Api, Selection

__all__ = ["visible"]


def visible(api: Api, selection: Selection, change: Change) -> WatchEvent | None:
    """The event, or None. An object that comes to match is ADDED, one that ceases to match DELETED."""
    before = change.previous is not None and selection.matches(change.previous)
    after = change.type is not WatchType.DELETED and selection.matches(change.object)
    if not before and not after:
        return None
    if after:
        kind = WatchType.MODIFIED if before else WatchType.ADDED
        return WatchEvent(kind, api.served(selection.resource, change.object))
    # The last state that matched, under the revision of the change, as the watch cache sends it.
    assert change.previous is not None
    obj = change.object
    if change.type is not WatchType.DELETED:
        version = change.object["metadata"]["resourceVersion"]
        obj = {**change.previous, "metadata": {**change.previous["metadata"], "resourceVersion": version}}
    return WatchEvent(WatchType.DELETED, api.served(selection.resource, obj))
