"""The updater: running pods that are far from their recommendation are resized in place or evicted.

Mirrors ``pkg/updater``: once a minute, at most half of a workload at a time, growing pods first. In place: a
resize that a kubelet calls infeasible, defers for over five minutes or has in progress for over an hour is
given up, and the pod evicted where the mode allows that.
"""

from __future__ import annotations

from collections.abc import Sequence

from wavetank.autoscaling.vpa.admit import new_resources
from wavetank.autoscaling.vpa.kinds import vpa_key
from wavetank.autoscaling.vpa.recommend import policy_of
from wavetank.autoscaling.vpa.target import find_target
from wavetank.autoscaling.vpa.update import (
    UpdateOptions,
    evictable,
    resize_given_up,
    resize_pending,
    update_mode,
    wants_update,
)
from wavetank.clock import Clock
from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.events import EventRecorder
from wavetank.kube.metrics_server.index import LabelIndex
from wavetank.kube.resources import PODS

__all__ = ["Updater"]

_ACTIVE = ("Recreate", "InPlaceOrRecreate", "InPlace")


class Updater:
    """``once`` is one pass over the VPAs given."""

    def __init__(
        self, client: Client, pods: LabelIndex, clock: Clock, journal: Journal, options: UpdateOptions
    ) -> None:
        self._client = client
        self._pods = pods
        self._clock = clock
        self._journal = journal
        self._options = options
        self._recorder = EventRecorder(client, clock, "vpa-updater")

    async def flush(self) -> None:
        await self._recorder.flush()

    async def once(self, vpas: Sequence[Object]) -> None:
        """Change the pods that are furthest from their recommendation, as many as may be missed."""
        for vpa in vpas:
            if update_mode(vpa) not in _ACTIVE:
                continue
            try:
                await self._update(vpa)
            except (ApiError, KeyError, TypeError, AttributeError) as error:
                self._journal.record("vpa.failed", vpa=vpa_key(vpa), error=str(error))

    async def _update(self, vpa: Object) -> None:
        mode, now = update_mode(vpa), self._clock.now()
        target = await find_target(self._client, self._pods, vpa)
        ranked = sorted(
            (
                (found.rank, pod)
                for pod in target.pods
                if pod["metadata"].get("deletionTimestamp") is None
                and (found := wants_update(now, pod, vpa, self._options)) is not None
            ),
            key=lambda entry: entry[0],
            reverse=True,
        )
        minimum = (vpa["spec"].get("updatePolicy") or {}).get("minReplicas")
        allowed = evictable(target.pods, target.replicas, self._options, minimum)
        for _, pod in ranked[:allowed]:
            await self._change(vpa, pod, mode, now)

    async def _change(self, vpa: Object, pod: Object, mode: str, now: float) -> None:
        if mode == "Recreate":
            await self._evict(vpa, pod)
            return
        resized = not resize_given_up(now, pod, self._options) and await self._resize(vpa, pod)
        if not resized and mode != "InPlace":
            await self._evict(vpa, pod)

    async def _evict(self, vpa: Object, pod: Object) -> None:
        meta = pod["metadata"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        }
        try:
            await self._client.create_subresource(PODS, meta["name"], "eviction", body, meta["namespace"])
        except ApiError as error:
            self._recorder.event(_typed(pod), "Warning", "FailedEviction", error.message)
            return
        self._note("evicted", vpa, pod)
        text = "Pod was evicted by VPA Updater to apply resource recommendation."
        self._recorder.event(_typed(pod), "Normal", "EvictedByVPA", text)

    async def _resize(self, vpa: Object, pod: Object) -> bool:
        """Change the running pod's resources; whether the API took it, or has it in hand."""
        if resize_pending(pod):
            return True
        status = vpa.get("status") or {}
        found = {
            r["containerName"]: r.get("target") or {}
            for r in (status.get("recommendation") or {}).get("containerRecommendations") or ()
        }
        containers = [
            {
                "name": c["name"],
                "resources": new_resources(c.get("resources") or {}, target, policy_of(vpa, c["name"])),
            }
            for c in pod["spec"]["containers"]
            if (target := found.get(c["name"])) and policy_of(vpa, c["name"]).get("mode") != "Off"
        ]
        meta = pod["metadata"]
        try:
            await self._client.patch(
                PODS,
                meta["name"],
                {"spec": {"containers": containers}},
                meta["namespace"],
                subresource="resize",
                content_type="application/strategic-merge-patch+json",
            )
        except ApiError:
            return False
        self._note("resized", vpa, pod)
        text = "Pod was resized in place by VPA Updater."
        self._recorder.event(_typed(pod), "Normal", "InPlaceResizedByVPA", text)
        return True

    def _note(self, action: str, vpa: Object, pod: Object) -> None:
        meta = pod["metadata"]
        self._journal.record(
            "vpa.update", vpa=vpa_key(vpa), pod=f"{meta['namespace']}/{meta['name']}", action=action
        )


def _typed(pod: Object) -> Object:
    return {**pod, "apiVersion": "v1", "kind": "Pod"}
