"""``status`` of a pod from the kubelet's records: phase, conditions, container statuses.

Mirrors ``pkg/kubelet/status/generate.go`` and ``convertStatusToAPIStatus``. A pure function; conditions
owned by others (PodScheduled, readiness gates) are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.kubelet.lifecycle import ContainerRecord, Plan, Termination, is_sidecar
from wavetank.kube.times import format_time

__all__ = ["is_ready", "pod_status"]

_OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def pod_status(
    now: float,
    pod: Object,
    records: Mapping[str, ContainerRecord],
    plan: Plan,
    *,
    pod_ip: str,
    host_ip: str,
    start_time: float,
    override: tuple[str, str, str] | None = None,
) -> dict[str, Any]:
    """The fields of ``status`` the kubelet owns. ``override`` is (phase, reason, message) of a pod that was
    ended by the kubelet, such as Failed/DeadlineExceeded."""
    spec, old = pod["spec"], pod.get("status") or {}
    inits: Sequence[Mapping[str, Any]] = spec.get("initContainers") or ()
    phase, reason, message = override or (plan.phase, None, None)
    if old.get("phase") in ("Succeeded", "Failed"):
        phase = old["phase"]  # final
    waiting = plan.waiting or {}
    status: dict[str, Any] = {
        "phase": phase,
        "reason": reason,
        "message": message,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod_ip or None,
        "podIPs": [{"ip": pod_ip}] if pod_ip else None,
        "startTime": format_time(start_time),
        "conditions": _conditions(now, pod, records, phase, bool(pod_ip)),
        "containerStatuses": [_container(pod, c, records[c["name"]], waiting) for c in spec["containers"]],
    }
    if inits:
        status["initContainerStatuses"] = [_container(pod, c, records[c["name"]], waiting) for c in inits]
    return status


def is_ready(status: Mapping[str, Any]) -> bool:
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())


def _container(
    pod: Object, spec: Mapping[str, Any], record: ContainerRecord, waiting: Mapping[str, float]
) -> dict[str, Any]:
    state: dict[str, Any]
    last = record.ended
    if record.running:
        state = {"running": {"startedAt": format_time(record.started_at)}}
    elif record.state == "terminated" and record.ended is not None and record.name not in waiting:
        state, last = {"terminated": _terminated(record.ended)}, record.before
    else:
        state = {"waiting": _waiting(pod, record, waiting)}
    resources = {"resources": spec["resources"]} if record.running and spec.get("resources") else {}
    return {
        "name": record.name,
        "state": state,
        "lastState": {"terminated": _terminated(last)} if last is not None else {},
        "ready": record.ready,
        "started": record.started and record.running,
        "restartCount": record.restarts,
        "image": spec.get("image", ""),
        "imageID": record.image_id,
        "containerID": f"wavetank://{record.container_id}" if record.container_id else "",
        **resources,
    }


def _waiting(pod: Object, record: ContainerRecord, waiting: Mapping[str, float]) -> dict[str, str]:
    """Why it waits. Upstream shows CrashLoopBackOff over the cause; we keep a cause that has a remedy."""
    if record.reason in ("RunContainerError", "CreateContainerError"):
        return {"reason": record.reason, "message": record.message}
    if record.name in waiting:
        meta = pod["metadata"]
        message = (
            f"back-off {_duration(waiting[record.name])} restarting failed container={record.name} "
            f"pod={meta['name']}_{meta.get('namespace', 'default')}({meta.get('uid', '')})"
        )
        cause = record.ended.message if record.ended is not None else ""
        return {"reason": "CrashLoopBackOff", "message": f"{message}: {cause}" if cause else message}
    reason = record.reason or "ContainerCreating"
    if reason == "ContainerCreating" and pod["spec"].get("initContainers") and not record.init:
        reason = "PodInitializing"
    return {"reason": reason, **({"message": record.message} if record.message else {})}


def _duration(seconds: float) -> str:
    """Go's notation: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _terminated(end: Termination) -> dict[str, Any]:
    found: dict[str, Any] = {
        "exitCode": end.exit_code,
        "reason": end.reason,
        "startedAt": format_time(end.started_at),
        "finishedAt": format_time(end.finished_at),
        "containerID": f"wavetank://{end.container_id}" if end.container_id else "",
    }
    if end.signal:
        found["signal"] = end.signal
    if end.message:
        found["message"] = end.message
    return found


def _conditions(
    now: float, pod: Object, records: Mapping[str, ContainerRecord], phase: str, sandboxed: bool
) -> list[dict[str, Any]]:
    spec = pod["spec"]
    old = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
    inits = spec.get("initContainers") or ()
    incomplete = [c["name"] for c in inits if not _initialised(c, records[c["name"]])]
    counted = [c["name"] for c in spec["containers"]] + [c["name"] for c in inits if is_sidecar(c)]
    unready = [name for name in counted if not records[name].ready]
    over = phase in ("Succeeded", "Failed")

    initialised: tuple[bool, str, str] = (True, "", "")
    if phase == "Succeeded":
        initialised = (True, "PodCompleted", "")
    elif incomplete:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        initialised = (False, "ContainersNotInitialized", message)
    ready: tuple[bool, str, str] = (True, "", "")
    if over:
        ready = (False, "PodCompleted" if phase == "Succeeded" else "PodFailed", "")
    elif unready:
        ready = (False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    gates = [g["conditionType"] for g in spec.get("readinessGates") or ()]
    missing = [g for g in gates if old.get(g, {}).get("status") != "True"]
    whole = ready
    if ready[0] and missing:
        shown = "; ".join(_gate(gate, old.get(gate)) for gate in missing)
        whole = (False, "ReadinessGatesNotReady", shown)
    states = {
        "PodReadyToStartContainers": (sandboxed and not over, "", ""),
        "Initialized": initialised,
        "Ready": whole,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    found = [_condition(now, kind, states[kind], old.get(kind)) for kind in _OURS]
    return found + [c for kind, c in old.items() if kind not in _OURS]


def _gate(gate: str, condition: Mapping[str, Any] | None) -> str:
    if condition is None:
        return f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    return f'the status of pod readiness gate "{gate}" is not "True", but {condition.get("status")}'


def _initialised(container: Mapping[str, Any], record: ContainerRecord) -> bool:
    if is_sidecar(container):
        return record.started or record.ended is not None
    return record.state == "terminated" and record.ended is not None and record.ended.succeeded


def _condition(
    now: float, kind: str, state: tuple[bool, str, str], old: Mapping[str, Any] | None
) -> dict[str, Any]:
    status, reason, message = ("True" if state[0] else "False"), state[1], state[2]
    same = old is not None and old.get("status") == status
    entry: dict[str, Any] = {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": old["lastTransitionTime"]
        if same and old is not None and old.get("lastTransitionTime")
        else format_time(now),
    }
    if reason:
        entry["reason"] = reason
    if message:
        entry["message"] = message
    return entry
