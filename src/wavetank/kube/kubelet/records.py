"""The records a worker begins with: what the API knows of a pod that this kubelet has not run before."""

from __future__ import annotations

from wavetank.kube.client import Object
from wavetank.kube.kubelet.lifecycle import ContainerRecord, Termination, ended, is_sidecar
from wavetank.kube.times import parse_time

__all__ = ["first_records"]


def first_records(pod: Object) -> dict[str, ContainerRecord]:
    """Records of a pod that this kubelet has not run before. Restart counts go on where the API left them;
    containers that ran under an earlier kubelet are taken to have ended with it."""
    spec, status = pod["spec"], pod.get("status") or {}
    known = {
        s["name"]: s
        for s in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    }
    records: dict[str, ContainerRecord] = {}
    for init, containers in ((True, spec.get("initContainers") or ()), (False, spec["containers"])):
        for container in containers:
            name = container["name"]
            old = known.get(name, {})
            ran = bool(old.get("containerID"))
            terminated = (old.get("state") or {}).get("terminated")
            record = ContainerRecord(
                name,
                init=init,
                sidecar=init and is_sidecar(container),
                restarts=int(old.get("restartCount") or 0) + (1 if ran and not terminated else 0),
            )
            if terminated is not None:
                end = Termination(
                    int(terminated.get("exitCode") or 0),
                    str(terminated.get("reason") or "Error"),
                    parse_time(terminated.get("startedAt")) or 0.0,
                    parse_time(terminated.get("finishedAt")) or 0.0,
                    str(terminated.get("containerID") or "").removeprefix("wavetank://"),
                )
                record = ended(record, end)
            records[name] = record
    return records
