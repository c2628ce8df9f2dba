"""Jobs: pods that run to completion, so many at a time, until enough have succeeded.

Mirrors ``pkg/controller/job``: parallelism, completions, indexed mode, back-off limit, deadline, suspension,
time to live. Left out: pod failure and success policies, per-index limits, tracking finalizers (pods that are
deleted by hand are run again).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.actions import Action, Create, Decision, Delete, Emit, Key, Told, Update, View
from wavetank.kube.controllers.replicaset import pod_from_template
from wavetank.kube.controllers.sources import by_owner, itself
from wavetank.kube.objects import (
    condition,
    is_deleting,
    is_ready,
    is_terminal,
    owner_reference,
    set_condition,
)  # fmt: skip
from wavetank.kube.resources import JOBS, PODS
from wavetank.kube.times import format_time, parse_time

__all__ = ["JobController", "is_finished"]

_INDEX: Final = "batch.kubernetes.io/job-completion-index"
_BACKOFF_SECONDS: Final = 10.0
_BACKOFF_SECONDS_MAX: Final = 600.0


def is_finished(job: Object) -> bool:
    return any((condition(job, kind) or {}).get("status") == "True" for kind in ("Complete", "Failed"))


class JobController:
    name = "job-controller"
    sources = (itself(JOBS), by_owner(PODS, JOBS))

    def step(self, now: float, key: Key, view: View) -> Decision:
        job = view.get(JOBS, *key)
        if job is None or is_deleting(job):
            return Decision()
        if is_finished(job):
            return _expire(job, now)
        return _Run(job, view.owned(job, PODS), now).decide()


def _expire(job: Object, now: float) -> Decision:
    seconds = job["spec"].get("ttlSecondsAfterFinished")
    if seconds is None:
        return Decision()
    ended = [
        parse_time(c.get("lastTransitionTime"))
        for c in job["status"].get("conditions") or ()
        if c["type"] in ("Complete", "Failed")
    ]
    due = max((t for t in ended if t is not None), default=now) + seconds
    return Decision([Delete(JOBS, job, policy="Background")]) if due <= now else Decision((), due)


class _Run:
    """One step of a job that is not finished."""

    def __init__(self, job: Object, pods: Sequence[Object], now: float) -> None:
        self.job, self.pods, self.now = job, pods, now
        self.spec = job["spec"]
        phases = [(p.get("status") or {}).get("phase") for p in pods]
        self.succeeded = phases.count("Succeeded")
        self.failed = phases.count("Failed")
        self.active = [p for p in pods if not is_terminal(p) and not is_deleting(p)]
        self.indexed = self.spec.get("completionMode") == "Indexed"
        self.started = parse_time((job.get("status") or {}).get("startTime"))

    def decide(self) -> Decision:
        suspended = bool(self.spec.get("suspend"))
        conditions = list((self.job.get("status") or {}).get("conditions") or ())
        actions: list[Action] = []
        again: float | None = None
        if failure := self._failure():
            actions = [Delete(PODS, p) for p in self.active]
            conditions = set_condition(conditions, "Failed", "True", *failure, self.now)
            actions.append(Emit(self.job, "Warning", *failure))
        elif self._complete():
            actions = [Delete(PODS, p) for p in self.active]
            reason, message = "CompletionsReached", "Reached expected number of succeeded pods"
            conditions = set_condition(conditions, "Complete", "True", reason, message, self.now)
            actions.append(Emit(self.job, "Normal", "Completed", "Job completed"))
        elif suspended:
            actions = [Delete(PODS, p) for p in self.active]
            conditions = set_condition(
                conditions, "Suspended", "True", "JobSuspended", "Job suspended", self.now
            )
        else:
            if condition(self.job, "Suspended") is not None:
                conditions = set_condition(
                    conditions, "Suspended", "False", "JobResumed", "Job resumed", self.now
                )
            created, again = self._create()
            actions = list(created)
        actions.append(self._status(conditions, suspended))
        return Decision([a for a in actions if not self._is_unchanged(a)], self._next(again))

    def _failure(self) -> tuple[str, str] | None:
        if self.failed > self.spec.get("backoffLimit", 6):
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        deadline = self.spec.get("activeDeadlineSeconds")
        if deadline is not None and self.started is not None and self.now >= self.started + deadline:
            return "DeadlineExceeded", "Job was active longer than specified deadline"
        return None

    def _complete(self) -> bool:
        completions = self.spec.get("completions")
        if completions is None:
            return self.succeeded > 0 and not self.active
        done = len(self._done_indexes()) if self.indexed else self.succeeded
        return bool(done >= completions)

    def _done_indexes(self) -> set[int]:
        return {_index(p) for p in self.pods if (p.get("status") or {}).get("phase") == "Succeeded"}

    def _create(self) -> tuple[Sequence[Action], float | None]:
        completions, parallelism = self.spec.get("completions"), self.spec.get("parallelism", 1)
        if completions is None:
            wanted = 0 if self.succeeded else parallelism
        else:
            done = len(self._done_indexes()) if self.indexed else self.succeeded
            wanted = min(parallelism, completions - done)
        missing = wanted - len(self.active)
        if missing < 0:
            return [Delete(PODS, p) for p in self.active[wanted:]], None
        if missing == 0:
            return (), None
        if (due := self._backoff_ends()) > self.now:
            return (), due
        told = Told(
            self.job, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}"
        )
        free = self._free_indexes()
        return [
            Create(PODS, self._pod(free[i] if self.indexed else None), told) for i in range(missing)
        ], None

    def _backoff_ends(self) -> float:
        """Failed pods are replaced ever more slowly."""
        if not self.failed:
            return self.now
        pause: float = min(_BACKOFF_SECONDS * 2 ** min(self.failed - 1, 10), _BACKOFF_SECONDS_MAX)
        ends = [_finished_at(p) for p in self.pods if (p.get("status") or {}).get("phase") == "Failed"]
        last: float = max((t for t in ends if t is not None), default=self.now - pause)
        return last + float(pause)

    def _free_indexes(self) -> list[int]:
        taken = self._done_indexes() | {_index(p) for p in self.active}
        return [i for i in range(self.spec.get("completions") or 0) if i not in taken] if self.indexed else []

    def _pod(self, index: int | None) -> Object:
        pod = pod_from_template(self.job, owner_reference(self.job, JOBS), self.spec["template"])
        metadata = self.job["metadata"]
        labels = {
            **(pod["metadata"].get("labels") or {}),
            "batch.kubernetes.io/controller-uid": metadata["uid"],
            "batch.kubernetes.io/job-name": metadata["name"],
            "controller-uid": metadata["uid"],
            "job-name": metadata["name"],
        }
        if index is not None:
            labels[_INDEX] = str(index)
            pod["metadata"]["annotations"] = {
                **(pod["metadata"].get("annotations") or {}),
                _INDEX: str(index),
            }
            variable = {"name": "JOB_COMPLETION_INDEX", "value": str(index)}
            containers = [{**c, "env": [*(c.get("env") or ()), variable]} for c in pod["spec"]["containers"]]
            pod["spec"] = {**pod["spec"], "containers": containers}
            pod["metadata"]["generateName"] = f"{metadata['name']}-{index}-"
        pod["metadata"]["labels"] = labels
        return pod

    def _status(self, conditions: list[Object], suspended: bool) -> Update:
        old = self.job.get("status") or {}
        counts = {
            "active": len(self.active),
            "succeeded": self.succeeded,
            "failed": self.failed,
        }
        status: Object = {name: count for name, count in counts.items() if count}
        status["ready"] = sum(1 for p in self.active if is_ready(p))
        if conditions:
            status["conditions"] = conditions
        if not suspended:
            status["startTime"] = old.get("startTime") or format_time(self.now)
        if (condition({"status": status}, "Complete") or {}).get("status") == "True":
            status["completionTime"] = format_time(self.now)
        metadata = {k: v for k, v in self.job["metadata"].items() if k != "resourceVersion"}
        return Update(JOBS, {**self.job, "metadata": metadata, "status": status}, "status")

    def _is_unchanged(self, action: Action) -> bool:
        same = isinstance(action, Update) and action.resource is JOBS
        return same and action.obj["status"] == self.job.get("status")  # type: ignore[union-attr]

    def _next(self, again: float | None) -> float | None:
        deadline = self.spec.get("activeDeadlineSeconds")
        if deadline is None:
            return again
        due = (self.now if self.started is None else self.started) + float(deadline)
        return due if again is None else min(due, again)


def _index(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(_INDEX, "-1")
    return int(text) if text.isdigit() else -1


def _finished_at(pod: Object) -> float | None:
    times = [
        parse_time(((s.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for s in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    known = [t for t in times if t is not None]
    return max(known) if known else parse_time(pod["metadata"].get("creationTimestamp"))
