"""Storage and watches under any order of writes: every watcher, whenever it began, ends with what is stored."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube import deletion
from wavetank.kube.api import Api
from wavetank.kube.client import ApiError, Object, WatchType
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.registry import Registry
from wavetank.kube.resources import CONFIGMAPS, NAMESPACES
from wavetank.kube.storage import Storage
from wavetank.kube.watching import visible

NAMES = st.sampled_from(["a", "b", "c"])
LABELS = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]), max_size=2)


class Watcher:
    """A list and then a cursor, as a client keeps them."""

    def __init__(self, api: Api, selector: str) -> None:
        self.api = api
        self.selection = api.select(CONFIGMAPS, "default", selector)
        listed = api.list(self.selection)
        self.cache = {o["metadata"]["name"]: o for o in listed.items}
        self.cursor = api.cursor(CONFIGMAPS, int(listed.resource_version))
        self.last = int(listed.resource_version)

    def catch_up(self) -> None:
        for change in self.cursor.take():
            event = visible(self.api, self.selection, change)
            if event is None:
                continue
            version = int(event.object["metadata"]["resourceVersion"])
            assert version > self.last, "revisions only go up"
            self.last = version
            name = event.object["metadata"]["name"]
            if event.type is WatchType.DELETED:
                del self.cache[name]
            else:
                assert (name in self.cache) is (event.type is WatchType.MODIFIED)
                self.cache[name] = event.object


class StoreAndWatch(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        clock = VirtualClock(1e9, seed=1)
        registry = Registry()
        register_built_in(registry)
        self.api = Api(Storage(), registry, clock, MemoryJournal(clock))
        self.api.create(NAMESPACES, None, {"metadata": {"name": "default"}})
        self.model: dict[str, Object] = {}
        self.watchers: list[Watcher] = []
        self.stale: dict[str, Object] = {}

    @rule(name=NAMES, labels=LABELS)
    def create(self, name: str, labels: dict[str, str]) -> None:
        body = {"metadata": {"name": name, "labels": labels}}
        try:
            made = self.api.create(CONFIGMAPS, "default", body)
        except ApiError as error:
            assert error.reason == "AlreadyExists" and name in self.model
            return
        assert name not in self.model
        self.model[name] = made

    @rule(name=NAMES, labels=LABELS, value=st.integers(0, 2))
    def update(self, name: str, labels: dict[str, str], value: int) -> None:
        if name not in self.model:
            return
        old = self.model[name]
        new: dict[str, Any] = {
            **old,
            "metadata": {**old["metadata"], "labels": labels},
            "data": {"v": str(value)},
        }
        self.stale[name] = old
        self.model[name] = self.api.update(CONFIGMAPS, "default", name, new)

    @rule(name=NAMES)
    def update_from_a_stale_copy(self, name: str) -> None:
        old = self.stale.get(name)
        if old is None or name not in self.model:
            return
        current = self.model[name]["metadata"]["resourceVersion"]
        if old["metadata"]["resourceVersion"] == current:
            return
        try:
            self.api.update(CONFIGMAPS, "default", name, {**old, "data": {"v": "stale"}})
        except ApiError as error:
            assert error.reason == "Conflict"
        else:
            raise AssertionError("a stale write went through")

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        try:
            self.api.delete(CONFIGMAPS, "default", name, deletion.Options())
        except ApiError as error:
            assert error.reason == "NotFound" and name not in self.model
            return
        del self.model[name]

    @rule(selector=st.sampled_from(["", "x=1", "x in (1,2),!y", "y"]))
    def watch(self, selector: str) -> None:
        if len(self.watchers) < 6:
            self.watchers.append(Watcher(self.api, selector))

    @rule(index=st.integers(0, 5))
    def one_watcher_reads(self, index: int) -> None:
        if index < len(self.watchers):
            self.watchers[index].catch_up()

    @invariant()
    def storage_is_the_model(self) -> None:
        stored = {o["metadata"]["name"]: o for o in self.api.bucket(CONFIGMAPS).objects("default")}
        assert stored == self.model

    def teardown(self) -> None:
        for watcher in self.watchers:
            watcher.catch_up()
            expected = {o["metadata"]["name"]: o for o in self.api.list(watcher.selection).items}
            assert watcher.cache == expected


TestStoreAndWatch = StoreAndWatch.TestCase
TestStoreAndWatch.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
