"""StatefulSets: pods with names that last, started and stopped in order.

Mirrors ``pkg/controller/statefulset``: OrderedReady and Parallel, RollingUpdate with a partition, OnDelete.
Left out: volumeClaimTemplates (there are no volumes that outlive pods) and maxUnavailable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Key, Told, Update, View
from wavetank.kube.controllers.claims import claim
from wavetank.kube.controllers.replicaset import next_availability, pod_from_template
from wavetank.kube.controllers.revisions import REVISION_LABEL, History, history_of
from wavetank.kube.controllers.sources import by_owner, itself
from wavetank.kube.objects import (
    is_available,
    is_deleting,
    is_ready,
    is_terminal,
    labels_of,
    owner_reference,
)  # fmt: skip
from wavetank.kube.resources import PODS, STATEFULSETS

__all__ = ["StatefulSetController"]

_ORDINAL = re.compile(r"-(\d+)$")


class StatefulSetController:
    name = "statefulset-controller"
    sources = (itself(STATEFULSETS), by_owner(PODS, STATEFULSETS))

    def step(self, now: float, key: Key, view: View) -> Decision:
        sts = view.get(STATEFULSETS, *key)
        if sts is None:
            return Decision()
        pods, claims = claim(view, sts, STATEFULSETS, PODS)
        history = history_of(view, sts, STATEFULSETS)
        revision = history.name
        actions: list[Action] = list(claims)
        if not is_deleting(sts):
            used = {labels_of(pod).get(REVISION_LABEL, "") for pod in pods} | {_old_revision(sts, revision)}
            actions += history.actions + history.surplus(used, sts["spec"].get("revisionHistoryLimit", 10))
            actions += _manage(sts, pods, history, now)
        status = _status(sts, pods, revision, now)
        if status != sts.get("status"):
            metadata = {k: v for k, v in sts["metadata"].items() if k != "resourceVersion"}
            actions.append(Update(STATEFULSETS, {**sts, "metadata": metadata, "status": status}, "status"))
        return Decision(actions, next_availability(pods, sts["spec"].get("minReadySeconds", 0), now))


def _ordinal(pod: Object) -> int:
    found = _ORDINAL.search(pod["metadata"]["name"])
    return int(found[1]) if found else -1


def _old_revision(sts: Object, revision: str) -> str:
    """What pods below the partition are kept at."""
    return (sts.get("status") or {}).get("currentRevision") or revision


def _manage(sts: Object, pods: Sequence[Object], history: History, now: float) -> list[Action]:
    spec, revision = sts["spec"], history.name
    start = (spec.get("ordinals") or {}).get("start", 0)
    wanted = range(start, start + spec.get("replicas", 1))
    parallel = spec.get("podManagementPolicy") == "Parallel"
    by_ordinal = {_ordinal(pod): pod for pod in pods}
    seconds = spec.get("minReadySeconds", 0)
    told = Told(
        sts,
        "SuccessfulCreate",
        f"create Pod {{name}} in StatefulSet {sts['metadata']['name']} successful",
        "FailedCreate",
        f"create Pod {{name}} in StatefulSet {sts['metadata']['name']} failed error: {{error}}",
    )
    actions: list[Action] = []
    for ordinal in wanted:
        pod = by_ordinal.get(ordinal)
        if pod is None:
            wanted_revision = _revision_for(sts, ordinal, revision)
            template = history.template(wanted_revision, spec["template"])
            if wanted_revision == revision:
                template = spec["template"]
            actions.append(Create(PODS, _pod(sts, ordinal, wanted_revision, template), told))
        elif is_terminal(pod) and not is_deleting(pod):
            actions.append(Delete(PODS, pod))
        if not parallel and (pod is None or is_deleting(pod) or not is_available(pod, seconds, now)):
            return actions
    surplus = sorted((o for o in by_ordinal if o not in wanted), reverse=True)
    gone = Told(
        sts, "SuccessfulDelete", f"delete Pod {{name}} in StatefulSet {sts['metadata']['name']} successful"
    )
    for ordinal in surplus:
        if not is_deleting(by_ordinal[ordinal]):
            actions.append(Delete(PODS, by_ordinal[ordinal], gone))
        if not parallel:
            return actions
    if not actions:
        actions += _update(sts, by_ordinal, list(wanted), revision, gone, now)
    return actions


def _revision_for(sts: Object, ordinal: int, revision: str) -> str:
    strategy = sts["spec"].get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    rolling = strategy.get("type", "RollingUpdate") == "RollingUpdate"
    return _old_revision(sts, revision) if rolling and ordinal < partition else revision


def _update(
    sts: Object, by_ordinal: dict[int, Object], wanted: list[int], revision: str, gone: Told, now: float
) -> list[Action]:
    """Replace one outdated pod at a time, the highest first, when all above it are well."""
    if (sts["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return []
    seconds = sts["spec"].get("minReadySeconds", 0)
    for ordinal in reversed(wanted):
        pod = by_ordinal[ordinal]
        if (
            _revision_for(sts, ordinal, revision) == revision
            and labels_of(pod).get(REVISION_LABEL) != revision
        ):
            return [] if is_deleting(pod) else [Delete(PODS, pod, gone)]
        if not is_available(pod, seconds, now):
            return []
    return []


def _pod(sts: Object, ordinal: int, revision: str, template: Object) -> Object:
    name = f"{sts['metadata']['name']}-{ordinal}"
    pod = pod_from_template(sts, owner_reference(sts, STATEFULSETS), template, name)
    pod["metadata"]["labels"] = {
        **(pod["metadata"].get("labels") or {}),
        "apps.kubernetes.io/pod-index": str(ordinal),
        "statefulset.kubernetes.io/pod-name": name,
        REVISION_LABEL: revision,
    }
    pod["spec"] = {**pod["spec"], "hostname": name}
    if sts["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = sts["spec"]["serviceName"]
    claims = [c["metadata"]["name"] for c in sts["spec"].get("volumeClaimTemplates") or ()]
    if claims:
        volumes = [v for v in pod["spec"].get("volumes") or () if v["name"] not in claims]
        pod["spec"]["volumes"] = [*volumes, *({"name": c, "emptyDir": {}} for c in claims)]
    return pod


def _status(sts: Object, pods: Sequence[Object], revision: str, now: float) -> Object:
    active = [p for p in pods if not is_terminal(p)]
    seconds = sts["spec"].get("minReadySeconds", 0)
    updated = sum(1 for p in active if labels_of(p).get(REVISION_LABEL) == revision)
    ready = sum(1 for p in active if is_ready(p))
    rolling = (sts["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
    wanted = sts["spec"].get("replicas", 1)
    done = rolling and updated == wanted and ready == wanted
    current = revision if done else _old_revision(sts, revision)
    return {
        "observedGeneration": sts["metadata"].get("generation", 0),
        "replicas": len(active),
        "readyReplicas": ready,
        "currentReplicas": sum(1 for p in active if labels_of(p).get(REVISION_LABEL) == current),
        "updatedReplicas": updated,
        "availableReplicas": sum(1 for p in active if is_available(p, seconds, now)),
        "currentRevision": current,
        "updateRevision": revision,
        "collisionCount": 0,
    }
