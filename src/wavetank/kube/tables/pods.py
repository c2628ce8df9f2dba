"""The cells of a pod: READY, STATUS and RESTARTS are derived from its container statuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.objects import condition
from wavetank.kube.tables.cells import age, human_duration
from wavetank.kube.times import parse_time

__all__ = ["pod_cells", "pod_phase"]


def pod_cells(pod: Object, now: float) -> list[Any]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    statuses: Sequence[Object] = status.get("containerStatuses") or ()
    sidecars = [c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    init_statuses = [s for s in status.get("initContainerStatuses") or () if s.get("name") in sidecars]
    ready = sum(
        1 for s in (*statuses, *init_statuses) if s.get("ready") and "running" in (s.get("state") or {})
    )
    total = len(spec.get("containers") or ()) + len(sidecars)
    gates = spec.get("readinessGates") or ()
    gate_text = "<none>"
    if gates:
        true = sum(
            1 for g in gates if (condition(pod, g.get("conditionType", "")) or {}).get("status") == "True"
        )
        gate_text = f"{true}/{len(gates)}"
    return [
        pod["metadata"]["name"],
        f"{ready}/{total}",
        pod_phase(pod),
        _restarts(pod, now),
        age(pod, now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        gate_text,
    ]


def _restarts(pod: Object, now: float) -> str:
    status = pod.get("status") or {}
    count, last = 0, None
    for found in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        count += found.get("restartCount", 0)
        finished = parse_time(((found.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))
        if finished is not None:
            last = max(last or finished, finished)
    if count and last is not None:
        return f"{count} ({human_duration(now - last)} ago)"
    return str(count)


def pod_phase(pod: Object) -> str:
    """The STATUS column."""
    status = pod.get("status") or {}
    reason = str(status.get("reason") or status.get("phase") or "Unknown")
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    reason = _initializing(pod) or _main_reason(pod, reason)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return reason


def _initializing(pod: Object) -> str:
    """What the first init container that is not done is at, or ""."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    by_name = {c["name"]: c for c in spec.get("initContainers") or ()}
    for index, found in enumerate(status.get("initContainerStatuses") or ()):
        state = found.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if by_name.get(found.get("name"), {}).get("restartPolicy") == "Always" and found.get("started"):
            continue
        if terminated is not None:
            return "Init:" + _terminated(terminated)
        if waiting is not None and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(by_name)}"
    return ""


def _terminated(state: Object) -> str:
    if state.get("reason"):
        return str(state["reason"])
    if state.get("signal"):
        return f"Signal:{state['signal']}"
    return f"ExitCode:{state.get('exitCode', 0)}"


def _main_reason(pod: Object, reason: str) -> str:
    running = False
    statuses: Sequence[Object] = (pod.get("status") or {}).get("containerStatuses") or ()
    for found in reversed(statuses):
        state = found.get("state") or {}
        waiting, terminated = state.get("waiting"), state.get("terminated")
        if waiting is not None and waiting.get("reason"):
            reason = str(waiting["reason"])
        elif terminated is not None:
            reason = _terminated(terminated)
        elif found.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        ready = condition(pod, "Ready")
        return "Running" if ready is not None and ready.get("status") == "True" else "NotReady"
    return reason
