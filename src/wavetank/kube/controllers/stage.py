"""The life of pods that nothing runs: ``runtimeClassName: simulated``, stage by stage.

Mirrors kwok's stage controller for pods. Declared stages replace the built-in ones as a whole. What a pod
waits for is kept in memory: after a restart it waits anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from wavetank.errors import InputError
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.controllers.actions import Action, Decision, Delete, Emit, Key, Source, Update, View
from wavetank.kube.resources import NODES, PODS
from wavetank.kube.stages.stage import choose, delay_seconds, is_for, with_finalizers, with_status
from wavetank.kube.storage import Change, name_of
from wavetank.yamlfile import parse_documents

__all__ = ["SIMULATED", "STAGES", "StageController", "is_simulated"]

SIMULATED: Final = "simulated"
STAGES: Final = Resource("kwok.x-k8s.io", "v1alpha1", "Stage", "stages", False, "stage", (), (), ("status",))
_READY: Final = ("Initialized", "Ready", "ContainersReady", "PodScheduled", "PodReadyToStartContainers")


def is_simulated(pod: Object) -> bool:
    return bool((pod.get("spec") or {}).get("runtimeClassName") == SIMULATED)


def _simulated(view: View, change: Change) -> Iterable[Key]:
    del view
    return (name_of(change.object),) if is_simulated(change.object) else ()


def _every(view: View, change: Change) -> Iterable[Key]:
    del change
    return [name_of(pod) for pod in view.list(PODS) if is_simulated(pod)]


@dataclass(frozen=True, slots=True)
class _Wait:
    """A pod has come to a stage and waits for its moment."""

    uid: str
    stage: str
    due: float


class StageController:
    name = "stage-controller"
    sources = (Source(PODS, _simulated), Source(STAGES, _every))

    def __init__(self) -> None:
        self._waits: dict[Key, _Wait] = {}
        self._addresses: dict[str, str] = {}

    def step(self, now: float, key: Key, view: View) -> Decision:
        pod = view.get(PODS, *key)
        if pod is None or not is_simulated(pod) or not pod["spec"].get("nodeName"):
            self._waits.pop(key, None)
            if pod is None:
                self._addresses.pop("/".join(key), None)
            return Decision()
        pod = {**pod, "kind": PODS.kind, "apiVersion": PODS.api_version}
        try:
            return self._advance(now, key, view, pod)
        except (ApiError, InputError) as error:
            return Decision([Emit(pod, "Warning", "StageFailed", str(error))])

    def _advance(self, now: float, key: Key, view: View, pod: Object) -> Decision:
        declared = [s for s in view.list(STAGES) if _is_about_pods(s)] or _built_in()
        fitting = {s["metadata"]["name"]: s for s in declared if is_for(s, pod)}
        if not fitting:
            self._waits.pop(key, None)
            return Decision()
        wait = self._waits.get(key)
        if wait is None or wait.stage not in fitting or wait.uid != pod["metadata"]["uid"]:
            stage = choose(list(fitting.values()), _draw(pod, "stage"))
            due = now + delay_seconds(stage, pod, now, _draw(pod, "delay"))
            wait = self._waits[key] = _Wait(pod["metadata"]["uid"], stage["metadata"]["name"], due)
        if now < wait.due:
            return Decision(again_at=wait.due)
        del self._waits[key]
        return Decision(self._next(fitting[wait.stage], pod, now, view))

    def _next(self, stage: Object, pod: Object, now: float, view: View) -> list[Action]:
        follow = (stage.get("spec") or {}).get("next") or {}
        actions: list[Action] = []
        event = follow.get("event")
        if event:
            kind, reason = str(event.get("type") or "Normal"), str(event.get("reason") or "")
            actions.append(Emit(pod, kind, reason, str(event.get("message") or "")))
        freed = with_finalizers(stage, pod)
        if freed is not pod:
            actions.append(Update(PODS, _unversioned(freed)))
        changed = with_status(stage, pod, now, self._functions(pod, view))
        if changed is not pod and changed["status"] != pod.get("status"):
            actions.append(Update(PODS, _unversioned(changed), "status"))
        if follow.get("delete"):
            actions.append(Delete(PODS, pod, grace_period_seconds=0))
        return actions

    def _functions(self, pod: Object, view: View) -> Mapping[str, Any]:
        node = view.get(NODES, "", pod["spec"]["nodeName"])
        addresses = ((node or {}).get("status") or {}).get("addresses") or ()
        node_ip = next((a["address"] for a in addresses if a.get("type") == "InternalIP"), "127.0.0.1")
        address = (pod.get("status") or {}).get("podIP") or self._address("/".join(name_of(pod)))
        return {
            "PodIP": lambda: address,
            "PodIPWith": lambda *rest: address,
            "NodeIP": lambda: node_ip,
            "NodeIPWith": lambda *rest: node_ip,
            "NodeName": lambda: pod["spec"]["nodeName"],
            "ReadyConditions": lambda: list(_READY),
            "Version": lambda: "v1alpha1",
        }

    def _address(self, key: str) -> str:
        """An address nobody listens at, different for each pod."""
        if key not in self._addresses:
            number = len(self._addresses) + 1
            while (found := f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}") in (
                self._addresses.values()
            ):
                number += 1
            self._addresses[key] = found
        return self._addresses[key]


def _is_about_pods(stage: Object) -> bool:
    return bool(((stage.get("spec") or {}).get("resourceRef") or {}).get("kind") == PODS.kind)


@cache
def _built_in() -> list[Object]:
    text = resources.files("wavetank.kube.stages").joinpath("default.yaml").read_text()
    return [document.value for document in parse_documents(text, path="default.yaml")]


def _unversioned(obj: Object) -> Object:
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}


def _draw(pod: Object, what: str) -> float:
    """A number in [0, 1) that is the same whenever this revision of the pod is looked at."""
    metadata = pod["metadata"]
    text = f"{metadata['uid']}/{metadata.get('resourceVersion')}/{what}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
