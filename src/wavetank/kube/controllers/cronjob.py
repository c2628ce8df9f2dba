"""CronJobs: a Job at each time of a schedule.

Mirrors ``pkg/controller/cronjob``: concurrency policies, starting deadline, suspension, history limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Emit, Key, Told, Update, View
from wavetank.kube.controllers.cron import Schedule, parse_schedule
from wavetank.kube.controllers.job import is_finished
from wavetank.kube.controllers.sources import by_owner, itself
from wavetank.kube.events import reference
from wavetank.kube.objects import condition, is_deleting, owner_reference
from wavetank.kube.resources import CRONJOBS, JOBS
from wavetank.kube.times import format_time, parse_time

__all__ = ["CronJobController"]

_MISSED_MAX: Final = 100


class CronJobController:
    name = "cronjob-controller"
    sources = (itself(CRONJOBS), by_owner(JOBS, CRONJOBS))

    def step(self, now: float, key: Key, view: View) -> Decision:
        cron = view.get(CRONJOBS, *key)
        if cron is None or is_deleting(cron):
            return Decision()
        try:
            schedule = parse_schedule(cron["spec"]["schedule"], cron["spec"].get("timeZone") or "")
        except InputError as error:
            message = f"unparseable schedule: {cron['spec']['schedule']!r} : {error}"
            return Decision([Emit(cron, "Warning", "UnparseableSchedule", message)])
        jobs = view.owned(cron, JOBS)
        active = [j for j in jobs if not is_finished(j)]
        actions = _forget(cron, jobs)
        last = (cron.get("status") or {}).get("lastScheduleTime")
        started: float | None = None
        if not cron["spec"].get("suspend"):
            due = _due(cron, schedule, now)
            if due is not None:
                started = _start(cron, due, active, actions, view)
        status = _status(cron, active, last if started is None else format_time(started), jobs)
        if status != (cron.get("status") or {}):
            metadata = {k: v for k, v in cron["metadata"].items() if k != "resourceVersion"}
            actions.append(Update(CRONJOBS, {**cron, "metadata": metadata, "status": status}, "status"))
        return Decision(actions, None if cron["spec"].get("suspend") else schedule.after(now))


def _due(cron: Object, schedule: Schedule, now: float) -> float | None:
    """The latest time that has come and has not been served."""
    status = cron.get("status") or {}
    since = parse_time(status.get("lastScheduleTime") or cron["metadata"]["creationTimestamp"]) or now
    deadline = cron["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, now - deadline)
    latest: float | None = None
    at = schedule.after(since)
    for _ in range(_MISSED_MAX):
        if at is None or at > now:
            break
        latest, at = at, schedule.after(at)
    return latest


def _start(
    cron: Object, due: float, active: Sequence[Object], actions: list[Action], view: View
) -> float | None:
    policy = cron["spec"].get("concurrencyPolicy", "Allow")
    name = f"{cron['metadata']['name']}-{int(due // 60)}"
    if view.get(JOBS, cron["metadata"]["namespace"], name) is not None:
        return due
    if policy == "Forbid" and active:
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        actions.append(Emit(cron, "Normal", "JobAlreadyActive", message))
        return None
    if policy == "Replace":
        actions += [Delete(JOBS, job, policy="Background") for job in active]
    template = cron["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    annotations = {
        **(given.get("annotations") or {}),
        "batch.kubernetes.io/cronjob-scheduled-timestamp": format_time(due),
    }
    job = {
        "metadata": {
            "name": name,
            "namespace": cron["metadata"]["namespace"],
            "labels": given.get("labels") or {},
            "annotations": annotations,
            "ownerReferences": [owner_reference(cron, CRONJOBS)],
        },
        "spec": template["spec"],
    }
    told = Told(cron, "SuccessfulCreate", "Created job {name}", "FailedCreate", "Error creating job: {error}")
    actions.append(Create(JOBS, job, told))
    return due


def _forget(cron: Object, jobs: Sequence[Object]) -> list[Action]:
    """Delete the oldest finished jobs beyond the history limits."""
    actions: list[Action] = []
    for kind, field, default in (
        ("Complete", "successfulJobsHistoryLimit", 3),
        ("Failed", "failedJobsHistoryLimit", 1),
    ):
        finished = [j for j in jobs if (condition(j, kind) or {}).get("status") == "True"]
        finished.sort(key=lambda j: j["metadata"]["creationTimestamp"])
        surplus = len(finished) - cron["spec"].get(field, default)
        actions += [Delete(JOBS, job, policy="Background") for job in finished[: max(0, surplus)]]
    return actions


def _status(cron: Object, active: Sequence[Object], last: str | None, jobs: Sequence[Object]) -> Object:
    status: Object = {}
    if active:
        status["active"] = [reference(job) for job in active]
    if last:
        status["lastScheduleTime"] = last
    done = [(j.get("status") or {}).get("completionTime") for j in jobs]
    successes = [t for t in (*done, (cron.get("status") or {}).get("lastSuccessfulTime")) if t]
    if successes:
        status["lastSuccessfulTime"] = max(successes)
    return status
