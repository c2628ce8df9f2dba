"""The cluster page's view: nodes, workloads, pods and autoscalers, out of plain Kubernetes objects.

Pure functions: lists of objects in, one JSON value out. What ``kubectl get`` and ``kubectl describe`` show of
these kinds, with usage beside requests; why an autoscaler decided as it did is told from its own record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.quantity import parse_quantity

__all__ = ["cluster_view", "last_syncs", "why"]

Record = Mapping[str, Any]
EVENTS_SHOWN = 100


def cluster_view(objects: Mapping[str, Sequence[Object]], records: Iterable[Record]) -> dict[str, Any]:
    """``objects`` by the names used below; a kind that is missing counts as empty."""
    usage = {_key(o): _usage(o) for o in objects.get("pod_metrics", ())}
    pods = [_pod(o, usage.get(_key(o))) for o in objects.get("pods", ())]
    syncs = last_syncs(records)
    told = {_key(o): (o.get("decisions") or [{}])[0] for o in objects.get("hpa_decisions", ())}
    return {
        "nodes": [_node(o, pods) for o in objects.get("nodes", ())],
        "workloads": [_workload(o) for o in objects.get("workloads", ())],
        "pods": pods,
        "hpas": [_hpa(o, syncs.get(_key(o), []), told.get(_key(o), {})) for o in objects.get("hpas", ())],
        "vpas": [_vpa(o) for o in objects.get("vpas", ())],
        "events": _events(objects.get("events", ())),
    }


def _key(obj: Object) -> str:
    metadata = obj["metadata"]
    return f"{metadata.get('namespace') or 'default'}/{metadata['name']}"


def _amount(value: Any) -> float:
    return float(parse_quantity(str(value)).value) if value not in (None, "") else 0.0


def _usage(obj: Object) -> tuple[float, float]:
    """Cores and bytes of all containers."""
    used = [c.get("usage") or {} for c in obj.get("containers") or ()]
    return sum(_amount(u.get("cpu")) for u in used), sum(_amount(u.get("memory")) for u in used)


def _wanted(pod: Object, kind: str, resource: str) -> float:
    containers = (pod.get("spec") or {}).get("containers") or ()
    return sum(_amount(((c.get("resources") or {}).get(kind) or {}).get(resource)) for c in containers)


def _pod(pod: Object, used: tuple[float, float] | None) -> dict[str, Any]:
    status, spec, metadata = pod.get("status") or {}, pod.get("spec") or {}, pod["metadata"]
    containers = status.get("containerStatuses") or []
    owners = [o for o in metadata.get("ownerReferences") or () if o.get("controller")]
    return {
        "namespace": metadata.get("namespace") or "default",
        "name": metadata["name"],
        "owner": owners[0].get("name", "") if owners else "",
        "node": spec.get("nodeName", ""),
        "ip": status.get("podIP", ""),
        "state": _state(pod),
        "ready": sum(bool(c.get("ready")) for c in containers),
        "containers": [c["name"] for c in spec.get("containers") or ()],
        "restarts": sum(int(c.get("restartCount") or 0) for c in containers),
        "lastExit": _last_exit(containers),
        "message": _message(status, containers),
        "createdAt": metadata.get("creationTimestamp"),
        "cpu": used[0] if used else None,
        "memory": used[1] if used else None,
        "cpuRequest": _wanted(pod, "requests", "cpu"),
        "cpuLimit": _wanted(pod, "limits", "cpu"),
        "memoryRequest": _wanted(pod, "requests", "memory"),
        "memoryLimit": _wanted(pod, "limits", "memory"),
    }


def _state(pod: Object) -> str:
    """The word of kubectl's STATUS column."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason")
        if reason:
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _last_exit(containers: Iterable[Mapping[str, Any]]) -> str:
    for container in containers:
        ended = (container.get("lastState") or {}).get("terminated")
        if ended:
            return f"{ended.get('reason') or 'exit'} {ended.get('exitCode', '')}".strip()
    return ""


def _message(status: Mapping[str, Any], containers: Iterable[Mapping[str, Any]]) -> str:
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("message"):
            return str(waiting["message"])
    for condition in status.get("conditions") or ():
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])
    return ""


def _node(node: Object, pods: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    name, status = node["metadata"]["name"], node.get("status") or {}
    mine = [p for p in pods if p["node"] == name]
    room = status.get("allocatable") or status.get("capacity") or {}
    ready = any(
        c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ()
    )
    return {
        "name": name,
        "ready": ready,
        "schedulable": not (node.get("spec") or {}).get("unschedulable"),
        "cpu": _amount(room.get("cpu")),
        "memory": _amount(room.get("memory")),
        "podsMax": int(_amount(room.get("pods"))),
        "pods": len(mine),
        "cpuRequests": sum(p["cpuRequest"] for p in mine),
        "memoryRequests": sum(p["memoryRequest"] for p in mine),
        "cpuUsed": sum(p["cpu"] or 0.0 for p in mine),
        "memoryUsed": sum(p["memory"] or 0.0 for p in mine),
        "version": (status.get("nodeInfo") or {}).get("kubeletVersion", ""),
    }


def _workload(obj: Object) -> dict[str, Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    daemon = obj.get("kind") == "DaemonSet"
    failing = [
        c for c in status.get("conditions") or () if c.get("type") == "Available" and c["status"] != "True"
    ]
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    return {
        "kind": obj.get("kind"),
        "namespace": obj["metadata"].get("namespace") or "default",
        "name": obj["metadata"]["name"],
        "desired": int((status.get("desiredNumberScheduled") if daemon else spec.get("replicas", 1)) or 0),
        "ready": int(status.get("numberReady" if daemon else "readyReplicas") or 0),
        "updated": int(status.get("updatedNumberScheduled" if daemon else "updatedReplicas") or 0),
        "message": failing[0].get("message", "") if failing else "",
        "images": [c.get("image", "") for c in containers],
        "createdAt": obj["metadata"].get("creationTimestamp"),
    }


def last_syncs(records: Iterable[Record], keep: int = 30) -> dict[str, list[Record]]:
    """The newest decisions of every HPA, by namespace/name, newest first; repetitions count once."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "hpa.sync":
            syncs = found.setdefault(str(record["hpa"]), [])
            same = syncs and (syncs[0]["desired"], syncs[0]["limited"]) == (
                record["desired"],
                record["limited"],
            )
            if same and not record.get("rescaled") and not syncs[0].get("rescaled"):
                syncs[0] = record
            else:
                syncs.insert(0, record)
            del syncs[keep:]
    return found


def why(sync: Record) -> str:
    """One sentence for a decision: what was measured, what that wanted, and what bound it."""
    parts = []
    for metric in sync.get("metrics") or ():
        value, target, ratio = metric.get("value"), metric.get("target"), metric.get("ratio")
        if value is None or target is None:
            parts.append(f"{metric.get('name')} has no value")
            continue
        parts.append(f"{metric['name']} {_figure(value)} against {_figure(target)}" + _times(ratio))
    current, proposed, desired = sync.get("current"), sync.get("proposed"), sync.get("desired")
    text = "; ".join(parts) or "no metric was read"
    if proposed is not None:
        text += f": {current} to {proposed} wanted" if proposed != current else f": {current} is right"
    if proposed is not None and desired != proposed:
        text += f", {desired} allowed"
    return text + (f" ({sync['limited']})" if sync.get("limited") else "")


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _times(ratio: Any) -> str:
    return f" ({ratio:.2f} of it)" if isinstance(ratio, int | float) else ""


def _hpa(hpa: Object, syncs: Sequence[Record], told: Mapping[str, Any]) -> dict[str, Any]:
    """``told`` is the controller's own account of its newest decision (autoscaling.wavetank.dev)."""
    spec, status = hpa.get("spec") or {}, hpa.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    return {
        "namespace": hpa["metadata"].get("namespace") or "default",
        "name": hpa["metadata"]["name"],
        "target": f"{target.get('kind')}/{target.get('name')}",
        "min": int(spec.get("minReplicas") or 1),
        "max": int(spec.get("maxReplicas") or 0),
        "current": int(status.get("currentReplicas") or 0),
        "desired": int(status.get("desiredReplicas") or 0),
        "metrics": [_metric(m, status) for m in spec.get("metrics") or ()],
        "conditions": [
            {
                "type": c.get("type"),
                "status": c.get("status"),
                "reason": c.get("reason", ""),
                "message": c.get("message", ""),
            }
            for c in status.get("conditions") or ()
        ],
        "lastScaleAt": status.get("lastScaleTime"),
        "explained": {"at": told.get("at"), "lines": list(told.get("lines") or ())},
        "decisions": [
            {
                "at": s["at"],
                "why": why(s),
                "from": s.get("current"),
                "to": s.get("desired"),
                "rescaled": bool(s.get("rescaled")),
                "reason": s.get("reason", ""),
                "limited": s.get("limited", ""),
            }
            for s in syncs
        ],
    }


def _metric(metric: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """Target and current value of one metric, as texts of the API."""
    kind = str(metric.get("type", ""))
    source = metric.get(kind[:1].lower() + kind[1:]) or {}
    name = source.get("name") or (source.get("metric") or {}).get("name", "")
    current: Mapping[str, Any] = {}
    for shown in status.get("currentMetrics") or ():
        other = shown.get(kind[:1].lower() + kind[1:]) or {}
        if shown.get("type") == kind and name == (
            other.get("name") or (other.get("metric") or {}).get("name", "")
        ):
            current = other.get("current") or {}
    return {
        "type": kind,
        "name": name,
        "target": _value(source.get("target") or {}),
        "current": _value(current),
    }


def _value(value: Mapping[str, Any]) -> str:
    if value.get("averageUtilization") is not None:
        return f"{value['averageUtilization']} %"
    return str(value.get("averageValue") or value.get("value") or "")


def _vpa(vpa: Object) -> dict[str, Any]:
    spec, status = vpa.get("spec") or {}, vpa.get("status") or {}
    target = spec.get("targetRef") or {}
    advice = (status.get("recommendation") or {}).get("containerRecommendations") or ()
    return {
        "namespace": vpa["metadata"].get("namespace") or "default",
        "name": vpa["metadata"]["name"],
        "target": f"{target.get('kind')}/{target.get('name')}",
        "mode": (spec.get("updatePolicy") or {}).get("updateMode", "Recreate"),
        "recommendations": [
            {
                "container": a.get("containerName"),
                "target": dict(a.get("target") or {}),
                "lower": dict(a.get("lowerBound") or {}),
                "upper": dict(a.get("upperBound") or {}),
            }
            for a in advice
        ],
        "conditions": [
            {"type": c.get("type"), "status": c.get("status"), "message": c.get("message", "")}
            for c in status.get("conditions") or ()
        ],
    }


def _events(events: Iterable[Object]) -> list[dict[str, Any]]:
    """The newest first."""
    shown = [
        {
            "at": e.get("lastTimestamp")
            or e.get("eventTime")
            or e["metadata"].get("creationTimestamp")
            or "",
            "type": e.get("type", "Normal"),
            "reason": e.get("reason", ""),
            "object": "/".join(str((e.get("involvedObject") or {}).get(n)) for n in ("kind", "name")),
            "message": e.get("message", ""),
            "count": int(e.get("count") or 1),
        }
        for e in events
    ]
    return sorted(shown, key=lambda e: str(e["at"]), reverse=True)[:EVENTS_SHOWN]
