"""Storage: one revision, watch history, expiry, ownership, and what survives a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavetank.kube.client import ApiError, WatchType
from wavetank.kube.persistence import SqliteLog
from wavetank.kube.storage import Cursor, Storage
from wavetank.limits import KUBE_WATCH_HISTORY_EVENTS_MAX


def pod(name: str, namespace: str = "default", **metadata: object) -> dict[str, object]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": namespace, "uid": f"u-{name}", **metadata}}


def test_every_write_takes_the_next_revision_of_one_counter() -> None:
    storage = Storage()
    first = storage.put(storage.bucket("/pods"), pod("a"))
    second = storage.put(storage.bucket("apps/deployments"), pod("b"))
    assert int(second["metadata"]["resourceVersion"]) == int(first["metadata"]["resourceVersion"]) + 1


def test_a_cursor_gives_what_happened_after_it_and_only_once() -> None:
    storage = Storage()
    bucket = storage.bucket("/pods")
    storage.put(bucket, pod("before"))
    cursor = Cursor(bucket, storage.revision)
    storage.put(bucket, pod("a"))
    storage.put(bucket, pod("a", labels={"x": "y"}))
    storage.remove(bucket, "default", "a")
    assert [c.type for c in cursor.take()] == [WatchType.ADDED, WatchType.MODIFIED, WatchType.DELETED]
    assert cursor.take() == []


def test_a_cursor_the_history_has_passed_is_expired() -> None:
    storage = Storage()
    bucket = storage.bucket("/pods")
    cursor = Cursor(bucket, storage.revision)
    for i in range(KUBE_WATCH_HISTORY_EVENTS_MAX + 1):
        storage.put(bucket, pod("a", generation=i))
    with pytest.raises(ApiError) as caught:
        cursor.take()
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


def test_dependents_are_found_by_the_uid_of_their_owner() -> None:
    storage = Storage()
    bucket = storage.bucket("/pods")
    owner = {"uid": "rs-1", "kind": "ReplicaSet", "name": "web", "apiVersion": "apps/v1"}
    storage.put(bucket, pod("a", ownerReferences=[owner]))
    storage.put(bucket, pod("b"))
    assert [obj["metadata"]["name"] for _, obj in storage.owned_by("rs-1")] == ["a"]
    storage.put(bucket, pod("a"))
    assert storage.owned_by("rs-1") == []


def test_objects_and_the_revision_survive_a_restart(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "state.db")
    storage = Storage(log)
    bucket = storage.bucket("/pods")
    storage.put(bucket, pod("a"))
    storage.put(bucket, pod("b"))
    storage.remove(bucket, "default", "a")
    revision = storage.revision
    log.close()

    log = SqliteLog(tmp_path / "state.db")
    restored = Storage(log)
    assert [obj["metadata"]["name"] for obj in restored.bucket("/pods").objects()] == ["b"]
    assert restored.revision == revision
    with pytest.raises(ApiError):
        Cursor(restored.bucket("/pods"), revision - 1)
    log.close()
