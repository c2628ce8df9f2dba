"""One step of a deployment: find its replica sets; scale, roll out or clean up; say how it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wavetank.kube.client import Object, WatchType
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Emit, Key, Update, View
from wavetank.kube.controllers.claims import claim
from wavetank.kube.controllers.deployment.progress import complete, deadline_at, new_status
from wavetank.kube.controllers.deployment.replicas import (
    DESIRED,
    REVISION,
    available_total,
    fenceposts,
    is_rolling,
    oldest_first,
    saturated,
    shares,
    spec_total,
    status_total,
    wanted,
)  # fmt: skip
from wavetank.kube.controllers.deployment.revisions import (
    annotated,
    current_set,
    new_set,
    revision_of,
    revisions_after,
    sized,
)  # fmt: skip
from wavetank.kube.controllers.sources import by_owner, itself, key_in
from wavetank.kube.objects import controller_of, is_deleting, is_terminal, key_of
from wavetank.kube.resources import DEPLOYMENTS, PODS, REPLICASETS
from wavetank.kube.storage import Change

__all__ = ["DeploymentController"]


class DeploymentController:
    name = "deployment-controller"
    sources = (
        itself(DEPLOYMENTS),
        by_owner(REPLICASETS, DEPLOYMENTS),
        key_in(PODS, lambda view, change: _deployment_of_gone(view, change)),
    )

    def step(self, now: float, key: Key, view: View) -> Decision:
        deployment = view.get(DEPLOYMENTS, *key)
        if deployment is None:
            return Decision()
        sets, claims = claim(view, deployment, DEPLOYMENTS, REPLICASETS)
        rollout = _Rollout(deployment, sets, view)
        if not is_deleting(deployment):
            rollout.advance()
        status = new_status(deployment, rollout.current, sets, now, rollout.created)
        rollout.settle(status)
        actions = [*claims, *rollout.actions]
        changed = rollout.with_annotations()
        if changed is not deployment:
            actions.append(Update(DEPLOYMENTS, changed))
        if status != deployment.get("status"):
            # The annotation may just have moved the resourceVersion, so the status has no precondition.
            metadata = {k: v for k, v in deployment["metadata"].items() if k != "resourceVersion"}
            actions.append(
                Update(DEPLOYMENTS, {**deployment, "metadata": metadata, "status": status}, "status")
            )
        return Decision(actions, deadline_at(deployment, status))


def _deployment_of_gone(view: View, change: Change) -> Iterable[Key]:
    """Recreate waits for the old pods to be gone, which their replica set's counts do not show."""
    if change.type is not WatchType.DELETED:
        return ()
    owner = controller_of(change.object)
    namespace = change.object["metadata"]["namespace"]
    rs = view.get(REPLICASETS, namespace, owner["name"]) if owner is not None else None
    above = controller_of(rs) if rs is not None else None
    return ((namespace, above["name"]),) if above is not None else ()


class _Rollout:
    """The step in the making: ``actions`` and, among ``sets``, the ``current`` replica set."""

    def __init__(self, deployment: Object, sets: Sequence[Object], view: View) -> None:
        self.deployment = deployment
        self.sets = sets
        self.view = view
        self.current = current_set(deployment, sets)
        self.old = [rs for rs in sets if rs is not self.current]
        self.actions: list[Action] = []
        self.created = ""
        self.revision = 0

    def advance(self) -> None:
        if self.deployment["spec"].get("paused") or self._was_scaled():
            self._sync_current(create=False)
            self._scale()
            return
        if is_rolling(self.deployment):
            self._roll()
        else:
            self._recreate()

    def settle(self, status: Object) -> None:
        """Once all is done, forget replica sets beyond the history limit."""
        if complete(self.deployment, status) and not self.actions and not is_deleting(self.deployment):
            limit = self.deployment["spec"].get("revisionHistoryLimit", 10)
            idle = [
                rs
                for rs in self.old
                if not wanted(rs) and not (rs.get("status") or {}).get("replicas") and not is_deleting(rs)
            ]
            idle.sort(key=revision_of)
            for rs in idle[: max(0, len(idle) - limit)]:
                self.actions.append(Delete(REPLICASETS, rs, policy="Background"))

    def with_annotations(self) -> Object:
        """The deployment under the revision of its current replica set."""
        if not self.revision:
            return self.deployment
        metadata = self.deployment["metadata"]
        given = metadata.get("annotations") or {}
        if given.get(REVISION) == str(self.revision):
            return self.deployment
        return {
            **self.deployment,
            "metadata": {**metadata, "annotations": {**given, REVISION: str(self.revision)}},
        }

    def _was_scaled(self) -> bool:
        total = str(wanted(self.deployment))
        return any(
            (rs["metadata"].get("annotations") or {}).get(DESIRED, total) != total
            for rs in self.sets
            if wanted(rs) > 0
        )

    def _sync_current(self, *, create: bool) -> bool:
        """Make the current replica set, or bring its annotations up to date. True if that is all for now."""
        revision = revisions_after(self.old)
        if self.current is None:
            if create:
                self._create(revision)
            return True
        annotations = annotated(self.deployment, self.current, revision)
        self.revision = int(annotations[REVISION])
        seconds = self.deployment["spec"].get("minReadySeconds", 0)
        spec = self.current["spec"]
        if annotations != (self.current["metadata"].get("annotations") or {}) or (
            spec.get("minReadySeconds", 0) != seconds
        ):
            metadata = {**self.current["metadata"], "annotations": annotations}
            updated = {**self.current, "metadata": metadata, "spec": {**spec, "minReadySeconds": seconds}}
            self.actions.append(Update(REPLICASETS, updated))
            return True
        return False

    def _create(self, revision: int) -> None:
        made = new_set(self.deployment, self._new_replicas(0), revision)
        name = made["metadata"]["name"]
        if self.view.get(REPLICASETS, made["metadata"]["namespace"], name) is not None:
            # Somebody else's replica set has our name: hash again with a count of such collisions.
            status = self.deployment.get("status") or {}
            counted = {**status, "collisionCount": status.get("collisionCount", 0) + 1}
            self.actions.append(Update(DEPLOYMENTS, {**self.deployment, "status": counted}, "status"))
            return
        self.revision = revision
        self.created = name
        self.actions.append(Create(REPLICASETS, made))
        if replicas := made["spec"]["replicas"]:
            self._say(f"Scaled up replica set {name} from 0 to {replicas}")

    def _new_replicas(self, now: int) -> int:
        """How many replicas the current replica set may have at this point of the rollout."""
        total = wanted(self.deployment)
        if not is_rolling(self.deployment):
            return total
        surge, _ = fenceposts(self.deployment)
        have = spec_total(self.sets)
        if have >= total + surge:
            return now
        return now + min(total + surge - have, total - now)

    def _resize(self, rs: Object, replicas: int) -> bool:
        """Scale a replica set. True if its replicas change."""
        before = wanted(rs)
        annotations = sized(self.deployment, rs["metadata"].get("annotations") or {})
        if before == replicas and annotations == rs["metadata"].get("annotations"):
            return False
        metadata = {**rs["metadata"], "annotations": annotations}
        updated = {**rs, "metadata": metadata, "spec": {**rs["spec"], "replicas": replicas}}
        self.actions.append(Update(REPLICASETS, updated))
        if before != replicas:
            way = "up" if replicas > before else "down"
            name = rs["metadata"]["name"]
            self._say(f"Scaled {way} replica set {name} from {before} to {replicas}")
        return before != replicas

    def _say(self, message: str) -> None:
        self.actions.append(Emit(self.deployment, "Normal", "ScalingReplicaSet", message))

    # Scaling outside a rollout step

    def _scale(self) -> None:
        active = [rs for rs in self.sets if wanted(rs) > 0]
        target = active[0] if len(active) == 1 else self.current if not active else None
        if not active and target is None and self.sets:
            target = oldest_first(self.sets)[-1]
        if target is not None:
            self._resize(target, wanted(self.deployment))
            return
        if saturated(self.deployment, self.current):
            for rs in self.old:
                if wanted(rs):
                    self._resize(rs, 0)
            return
        if is_rolling(self.deployment) and active:
            surge, _ = fenceposts(self.deployment)
            total = wanted(self.deployment)
            for name, size in shares(self.deployment, active, total + surge if total else 0).items():
                self._resize(next(rs for rs in active if rs["metadata"]["name"] == name), size)

    # Rolling update

    def _roll(self) -> None:
        if self._sync_current(create=True) or self.current is None:
            return
        now, total = wanted(self.current), wanted(self.deployment)
        if now > total:
            self._resize(self.current, total)
            return
        if now < total and (size := self._new_replicas(now)) != now:
            self._resize(self.current, size)
            return
        self._shrink_old()

    def _shrink_old(self) -> None:
        assert self.current is not None
        old = [rs for rs in self.old if wanted(rs) > 0]
        if not old:
            return
        _, unavailable = fenceposts(self.deployment)
        floor = wanted(self.deployment) - unavailable
        new_unavailable = wanted(self.current) - (self.current.get("status") or {}).get(
            "availableReplicas", 0
        )
        spare = spec_total(self.sets) - floor - new_unavailable
        if spare <= 0:
            return
        sizes = {key_of(rs): wanted(rs) for rs in old}
        cleaned = 0
        for rs in oldest_first(old):  # replicas that serve nobody go first
            idle = sizes[key_of(rs)] - (rs.get("status") or {}).get("availableReplicas", 0)
            step = min(spare - cleaned, max(0, idle))
            sizes[key_of(rs)] -= step
            cleaned += step
        surplus = available_total(self.sets) - floor
        for rs in oldest_first(old):
            if surplus <= 0:
                break
            step = min(sizes[key_of(rs)], surplus)
            sizes[key_of(rs)] -= step
            surplus -= step
        for rs in oldest_first(old):
            if sizes[key_of(rs)] != wanted(rs):
                self._resize(rs, sizes[key_of(rs)])

    # Recreate

    def _recreate(self) -> None:
        old = [rs for rs in self.old if wanted(rs) > 0]
        if old:
            for rs in old:
                self._resize(rs, 0)
            return
        if self._old_pods_run():
            return
        if self._sync_current(create=True) or self.current is None:
            return
        self._resize(self.current, wanted(self.deployment))

    def _old_pods_run(self) -> bool:
        if status_total(self.old):
            return True
        return any(not is_terminal(pod) for rs in self.old for pod in self.view.owned(rs, PODS))
