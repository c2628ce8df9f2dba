"""The scheduling queue around the decision: highest priority first, back-off, retries when things change."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from typing import Any, Final

from wavetank.clock import next_turn
from wavetank.kube.api import Api, Caller
from wavetank.kube.client import ApiError, Object, WatchType
from wavetank.kube.controllers.loop import record_event
from wavetank.kube.events import EventLog
from wavetank.kube.objects import condition, is_deleting, is_terminal, key_of, set_condition
from wavetank.kube.resources import NODES, PODS
from wavetank.kube.scheduler.decide import Placement, place
from wavetank.kube.scheduler.nodes import NodeInfo, priority_of
from wavetank.kube.storage import Change
from wavetank.kube.subresources import create_subresource
from wavetank.limits import KUBE_CONTROLLER_KEYS_PER_TURN

__all__ = ["Scheduler"]

_NAME: Final = "default-scheduler"
_BACKOFF_SECONDS: Final = 1.0
_BACKOFF_SECONDS_MAX: Final = 10.0
_FLUSH_SECONDS: Final = 300.0


@dataclass(slots=True)
class _Waiting:
    """A pod that could not be placed: how often it was tried, and when it may be tried again."""

    attempts: int
    not_before: float
    last: float


class Scheduler:
    """Binds pending pods. ``start`` subscribes it; then ``run_step`` or ``run``, as with a Driver."""

    name = _NAME

    def __init__(self, api: Api) -> None:
        self._api = api
        self._clock = api.clock
        self._random = api.clock.random("kube.scheduler")
        self._caller = Caller("kube-scheduler")
        self._events = EventLog(api.clock, _NAME)
        self._nodes: dict[str, NodeInfo] = {}
        self._homeless: dict[str, dict[str, Object]] = {}
        self._active: list[tuple[int, float, int, str]] = []
        self._pending: dict[str, Object] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._order = 0
        self._wake = asyncio.Event()

    def start(self) -> None:
        for resource, take in ((NODES, self._node_changed), (PODS, self._pod_changed)):
            bucket = self._api.bucket(resource)
            bucket.subscribers.append(take)
            for obj in bucket.sorted():
                take(Change(WatchType.ADDED, 0, obj, None))

    def nodes(self) -> list[NodeInfo]:
        """The nodes with what runs on them, by name."""
        return [self._nodes[name] for name in sorted(self._nodes)]

    # What changes tell

    def _node_changed(self, change: Change) -> None:
        node = change.object
        name = node["metadata"]["name"]
        if change.type is WatchType.DELETED:
            info = self._nodes.pop(name, None)
            if info is not None:
                self._homeless[name] = dict(info.pods)
            return
        if name in self._nodes:
            before = change.previous or {}
            self._nodes[name].refresh(node)
            if not _better(before, node):
                return
        else:
            info = self._nodes[name] = NodeInfo.of(node)
            for pod in self._homeless.pop(name, {}).values():
                info.add(pod)
        self._retry_waiting()

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        uid = pod["metadata"]["uid"]
        node = pod["spec"].get("nodeName")
        gone = change.type is WatchType.DELETED or is_terminal(pod)
        if node:
            self._bound(pod, uid, node, gone)
            return
        if gone or is_deleting(pod):
            self._forget(uid)
            return
        if pod["spec"].get("schedulerName", _NAME) != _NAME or pod["spec"].get("schedulingGates"):
            return
        known = uid in self._pending
        self._pending[uid] = pod
        same_spec = change.previous is not None and change.previous["spec"] == pod["spec"]
        if not known or (uid in self._waiting and not same_spec):
            self._activate(uid)

    def _bound(self, pod: Object, uid: str, node: str, gone: bool) -> None:
        self._forget(uid)
        info = self._nodes.get(node)
        if info is None:
            home = self._homeless.setdefault(node, {})
            if gone:
                home.pop(uid, None)
            else:
                home[uid] = pod
        elif gone:
            info.remove(uid)
            self._retry_waiting()
        else:
            info.add(pod)

    def _forget(self, uid: str) -> None:
        self._pending.pop(uid, None)
        self._waiting.pop(uid, None)

    def _activate(self, uid: str) -> None:
        pod = self._pending[uid]
        self._order += 1
        heapq.heappush(self._active, (-priority_of(pod), self._clock.now(), self._order, uid))
        self._wake.set()

    def _retry_waiting(self) -> None:
        """Something got better: pods that wait may try again once their back-off is over."""
        now = self._clock.now()
        for waiting in self._waiting.values():
            waiting.last = min(waiting.last, max(now, waiting.not_before))
        if self._waiting:
            self._wake.set()

    # Working

    def run_step(self, limit: int | None = None) -> float | None:
        """Try what may be tried now. Returns when to come back: now, a time, or None."""
        now = self._clock.now()
        for uid, waiting in list(self._waiting.items()):
            if waiting.last <= now:
                waiting.last = now + _FLUSH_SECONDS
                self._activate(uid)
        done = 0
        while self._active and (limit is None or done < limit):
            uid = heapq.heappop(self._active)[3]
            pod = self._pending.get(uid)
            if pod is not None:
                self._schedule(uid, pod)
                done += 1
        if self._active:
            return now
        self._wake.clear()
        return min((w.last for w in self._waiting.values()), default=None)

    async def run(self) -> None:
        while True:
            due = self.run_step(KUBE_CONTROLLER_KEYS_PER_TURN)
            left = None if due is None else due - self._clock.now()
            if left is not None and left <= 0:
                await next_turn()
                continue
            tasks: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._wake.wait())}
            if left is not None:
                tasks.add(asyncio.ensure_future(self._clock.sleep(left)))
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()

    def _schedule(self, uid: str, pod: Object) -> None:
        placement = place(pod, self.nodes(), self._random)
        try:
            if placement.node is not None:
                self._bind(uid, pod, placement.node)
            else:
                self._park(uid, pod)
                self._refuse(pod, placement)
        except ApiError as error:
            if error.code == 404:
                self._forget(uid)
            elif uid in self._pending:
                self._park(uid, pod)

    def _bind(self, uid: str, pod: Object, node: str) -> None:
        metadata = pod["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        create_subresource(
            self._api, PODS, metadata["namespace"], metadata["name"], "binding", body, self._caller
        )
        self._api.journal.record("pod.scheduled", pod=key_of(pod), uid=uid, node=node)
        message = f"Successfully assigned {key_of(pod)} to {node}"
        record_event(self._api, self._events, pod, "Normal", "Scheduled", message)

    def _park(self, uid: str, pod: Object) -> None:
        now = self._clock.now()
        attempts = self._waiting[uid].attempts + 1 if uid in self._waiting else 1
        pause = min(_BACKOFF_SECONDS * 2 ** (min(attempts, 10) - 1), _BACKOFF_SECONDS_MAX)
        self._waiting[uid] = _Waiting(attempts, now + pause, now + _FLUSH_SECONDS)

    def _refuse(self, pod: Object, placement: Placement) -> None:
        metadata = pod["metadata"]
        old = condition(pod, "PodScheduled")
        if old is None or old.get("message") != placement.message or placement.nominated:
            status = pod.get("status") or {}
            conditions = set_condition(
                status.get("conditions") or (),
                "PodScheduled",
                "False",
                "Unschedulable",
                placement.message,
                self._clock.now(),
            )
            status = {**status, "conditions": conditions}
            if placement.nominated:
                status["nominatedNodeName"] = placement.nominated
            fresh = {k: v for k, v in metadata.items() if k != "resourceVersion"}
            body = {**pod, "metadata": fresh, "status": status}
            self._api.update(PODS, metadata["namespace"], metadata["name"], body, self._caller, "status")
            self._api.journal.record(
                "pod.unschedulable", pod=key_of(pod), uid=metadata["uid"], message=placement.message
            )
        record_event(self._api, self._events, pod, "Warning", "FailedScheduling", placement.message)
        for victim in placement.victims:
            if is_deleting(victim):
                continue
            text = f"Preempted by pod {metadata['uid']} on node {placement.nominated}"
            record_event(self._api, self._events, victim, "Normal", "Preempted", text)
            gone = victim["metadata"]
            self._api.delete(PODS, gone["namespace"], gone["name"], caller=self._caller)


def _better(before: Object, after: Object) -> bool:
    """Whether a node's change could let a waiting pod in."""
    return any(
        (before.get(part) or {}).get(name) != (after.get(part) or {}).get(name)
        for part, name in (
            ("status", "allocatable"),
            ("metadata", "labels"),
            ("spec", "taints"),
            ("spec", "unschedulable"),
        )
    )
