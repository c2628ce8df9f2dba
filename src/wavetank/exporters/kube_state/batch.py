"""Jobs and cron jobs."""

from __future__ import annotations

from wavetank.exporters.families import Families
from wavetank.exporters.kube_state.common import (
    CONDITION_STATUS,
    Labels,
    Object,
    created,
    identity,
    label_metric,
    meta_of,
    number,
    owners,
    spec_of,
    status_of,
)
from wavetank.exporters.quantity import unix_seconds

__all__ = ["cronjob", "job"]


def job(found: Families, item: Object) -> None:
    labels, spec, status = identity(item, "job_name"), spec_of(item), status_of(item)
    found.gauge("kube_job_info", labels, 1)
    created(found, "kube_job_created", item, labels)
    label_metric(found, "kube_job_labels", item, labels)
    for name, key in (
        ("parallelism", "parallelism"),
        ("completions", "completions"),
        ("active_deadline_seconds", "activeDeadlineSeconds"),
    ):
        number(found, f"kube_job_spec_{name}", labels, spec.get(key))
    for name in ("succeeded", "active"):
        found.gauge(f"kube_job_status_{name}", labels, float(status.get(name) or 0))
    number(found, "kube_job_status_ready", labels, status.get("ready"))
    found.gauge("kube_job_status_suspended", labels, bool(spec.get("suspend")))
    number(found, "kube_job_status_start_time", labels, unix_seconds(status.get("startTime")))
    number(found, "kube_job_status_completion_time", labels, unix_seconds(status.get("completionTime")))
    _outcome(found, item, labels)
    owners(found, "kube_job_owner", item, labels)


_FAILURES = ("BackoffLimitExceeded", "DeadlineExceeded", "Evicted")


def _outcome(found: Families, item: Object, labels: Labels) -> None:
    """Completion and failure; a failed job's pods are counted by the reason of the failure."""
    reasons = {}
    for condition in status_of(item).get("conditions") or []:
        kind = {"Complete": "kube_job_complete", "Failed": "kube_job_failed"}.get(str(condition.get("type")))
        if kind is None:
            continue
        for value in CONDITION_STATUS:
            actual = str(condition.get("status")).lower() == value
            found.gauge(kind, {**labels, "condition": value}, actual)
        if kind == "kube_job_failed" and condition.get("status") == "True":
            reasons[str(condition.get("reason") or "")] = 1
    failed = float(status_of(item).get("failed") or 0)
    if not reasons or not failed:
        found.gauge("kube_job_status_failed", {**labels, "reason": ""}, failed)
        return
    for reason in _FAILURES:
        found.gauge("kube_job_status_failed", {**labels, "reason": reason}, reason in reasons)


def cronjob(found: Families, item: Object) -> None:
    """Without the next time of its schedule, which depends on when it is asked."""
    labels, spec, status = identity(item, "cronjob"), spec_of(item), status_of(item)
    info = {
        "schedule": str(spec.get("schedule") or ""),
        "concurrency_policy": str(spec.get("concurrencyPolicy") or ""),
        "timezone": str(spec.get("timeZone") or "local"),
    }
    found.gauge("kube_cronjob_info", {**labels, **info}, 1)
    created(found, "kube_cronjob_created", item, labels)
    label_metric(found, "kube_cronjob_labels", item, labels)
    found.gauge("kube_cronjob_status_active", labels, len(status.get("active") or ()))
    last, success = status.get("lastScheduleTime"), status.get("lastSuccessfulTime")
    number(found, "kube_cronjob_status_last_schedule_time", labels, unix_seconds(last))
    number(found, "kube_cronjob_status_last_successful_time", labels, unix_seconds(success))
    found.gauge("kube_cronjob_spec_suspend", labels, bool(spec.get("suspend")))
    deadline = spec.get("startingDeadlineSeconds")
    number(found, "kube_cronjob_spec_starting_deadline_seconds", labels, deadline)
    for name, key in (("successful", "successfulJobsHistoryLimit"), ("failed", "failedJobsHistoryLimit")):
        number(found, f"kube_cronjob_spec_{name}_job_history_limit", labels, spec.get(key))
    _resource_version(found, "kube_cronjob", item, labels)


def _resource_version(found: Families, prefix: str, item: Object, labels: Labels) -> None:
    version = str(meta_of(item).get("resourceVersion") or "")
    if version.isdigit():
        found.gauge(f"{prefix}_metadata_resource_version", labels, float(version))
