"""Writing one pod's status to the API, and removing the pod when it has ended."""

from __future__ import annotations

import enum
from typing import Any

from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.kubelet.pod_status import is_ready
from wavetank.kube.resources import PODS

__all__ = ["StatusWriter", "Written"]


class Written(enum.Enum):
    DONE = "done"
    GONE = "gone"  # the pod is not there any more, or another has its name
    FAILED = "failed"  # try again


class StatusWriter:
    """Remembers what it wrote last, and writes what differs. Journals when the pod gets or loses
    readiness."""

    def __init__(self, client: Client, journal: Journal, pod: Object) -> None:
        meta = pod["metadata"]
        self._client = client
        self._journal = journal
        self._uid = meta["uid"]
        self._name = meta["name"]
        self._namespace = meta.get("namespace", "default")
        self._last: dict[str, Any] | None = None

    @property
    def ready(self) -> bool:
        """Whether the API has been told that the pod is ready."""
        return self._last is not None and is_ready(self._last)

    def known(self, pod: Object) -> dict[str, Any]:
        """The newest status: what was written last over what the API says, others' conditions kept."""
        api: dict[str, Any] = pod.get("status") or {}
        if self._last is None:
            return api
        gates = {g["conditionType"] for g in pod["spec"].get("readinessGates") or ()}
        fresh = {c["type"]: c for c in api.get("conditions") or ()}
        ours = {c["type"]: c for c in self._last["conditions"]}
        merged = {**fresh, **{kind: c for kind, c in ours.items() if kind not in gates or kind not in fresh}}
        return {**api, **self._last, "conditions": list(merged.values())}

    async def write(self, status: dict[str, Any]) -> Written:
        if status == self._last:
            return Written.DONE
        was_ready = self.ready
        patch = {"metadata": {"uid": self._uid}, "status": status}
        try:
            await self._client.patch(PODS, self._name, patch, self._namespace, subresource="status")
        except ApiError as error:
            return Written.GONE if error.code in (404, 409) else Written.FAILED
        self._last = status
        if self.ready != was_ready:
            kind = "pod.ready" if self.ready else "pod.unready"
            self._journal.record(kind, pod=f"{self._namespace}/{self._name}", uid=self._uid)
        return Written.DONE

    async def delete(self) -> bool:
        """Remove the pod for good; whether it is gone."""
        try:
            await self._client.delete(PODS, self._name, self._namespace, grace_period_seconds=0)
        except ApiError as error:
            return error.code == 404
        return True
