"""The cells of workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs."""

from __future__ import annotations

from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.objects import condition, controller_of
from wavetank.kube.tables.cells import age, container_cells, human_duration, joined_map, selector_text, since
from wavetank.kube.times import parse_time

__all__ = [
    "controller_revision_cells", "cron_job_cells", "daemon_set_cells", "deployment_cells", "job_cells",
    "replica_set_cells", "stateful_set_cells",
]  # fmt: skip


def _parts(obj: Object) -> tuple[Object, Object, Object]:
    spec = obj.get("spec") or {}
    return spec, obj.get("status") or {}, (spec.get("template") or {}).get("spec") or {}


def deployment_cells(obj: Object, now: float) -> list[Any]:
    spec, status, pod = _parts(obj)
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *container_cells(pod),
        selector_text(spec.get("selector")),
    ]


def replica_set_cells(obj: Object, now: float) -> list[Any]:
    spec, status, pod = _parts(obj)
    return [
        obj["metadata"]["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *container_cells(pod),
        selector_text(spec.get("selector")),
    ]


def stateful_set_cells(obj: Object, now: float) -> list[Any]:
    spec, status, pod = _parts(obj)
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [obj["metadata"]["name"], ready, age(obj, now), *container_cells(pod)]


def daemon_set_cells(obj: Object, now: float) -> list[Any]:
    spec, status, pod = _parts(obj)
    return [
        obj["metadata"]["name"],
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        joined_map(pod.get("nodeSelector")),
        age(obj, now),
        *container_cells(pod),
        selector_text(spec.get("selector")),
    ]


def controller_revision_cells(obj: Object, now: float) -> list[Any]:
    owner = controller_of(obj)
    shown = "<none>"
    if owner is not None:
        group = owner["apiVersion"].rpartition("/")[0]
        kind = owner["kind"].lower()
        shown = f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"
    return [obj["metadata"]["name"], shown, obj.get("revision", 0), age(obj, now)]


def job_cells(obj: Object, now: float) -> list[Any]:
    spec, status, pod = _parts(obj)
    started, finished = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    duration = "" if started is None else human_duration((now if finished is None else finished) - started)
    succeeded = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    elif (parallelism := spec.get("parallelism") or 0) > 1:
        completions = f"{succeeded}/1 of {parallelism}"
    else:
        completions = f"{succeeded}/1"
    return [
        obj["metadata"]["name"],
        _job_state(obj),
        completions,
        duration,
        age(obj, now),
        *container_cells(pod),
        selector_text(spec.get("selector")),
    ]


def _job_state(job: Object) -> str:
    for kind, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if (condition(job, kind) or {}).get("status") == "True":
            return shown
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind, shown in (
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if (condition(job, kind) or {}).get("status") == "True":
            return shown
    return "Running"


def cron_job_cells(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    pod = (job.get("template") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        obj["metadata"]["name"],
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        since(last, now) if last else "<none>",
        age(obj, now),
        *container_cells(pod),
        selector_text(job.get("selector")),
    ]
