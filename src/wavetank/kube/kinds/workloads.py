"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs: defaults and validation.

Mirrors ``pkg/apis/{apps,batch}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.kinds.pod import default_pod_spec, validate_pod_spec
from wavetank.kube.selectors import from_object
from wavetank.kube.status import FieldError

__all__ = [
    "default_cron_job", "default_daemon_set", "default_deployment", "default_job", "default_replica_set",
    "default_stateful_set", "validate_cron_job", "validate_daemon_set", "validate_deployment",
    "validate_job", "validate_job_update", "validate_selector_update", "validate_workload",
]  # fmt: skip


def _template(spec: Object) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {}).pop("creationTimestamp", None)
    default_pod_spec(template.setdefault("spec", {}))


def default_deployment(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def default_replica_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)


def default_stateful_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)


def default_daemon_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _template(spec)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)


def default_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _default_job_spec(spec)


def _default_job_spec(spec: Object) -> None:
    _template(spec)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")


def default_cron_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    default_pod_spec(
        spec.setdefault("jobTemplate", {})
        .setdefault("spec", {})
        .setdefault("template", {})
        .setdefault("spec", {})
    )


def validate_workload(obj: Object) -> Iterable[FieldError]:
    """Selector, replicas and template: common to all but Jobs."""
    spec = obj["spec"]
    replicas = spec.get("replicas", 1)
    if replicas < 0:
        yield FieldError.bad("spec.replicas", replicas, "must be greater than or equal to 0")
    selector = spec.get("selector")
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not selector:
        yield FieldError.required("spec.selector")
    else:
        try:
            parsed = from_object(selector)
        except InputError as error:
            yield FieldError.bad("spec.selector", selector, error.message)
        else:
            if parsed.empty:
                yield FieldError.bad("spec.selector", selector, "empty selector is invalid for deployment")
            elif not parsed.matches(labels):
                detail = "`selector` does not match template `labels`"
                yield FieldError.bad("spec.template.metadata.labels", labels, detail)
    if spec.get("minReadySeconds", 0) < 0:
        detail = "must be greater than or equal to 0"
        yield FieldError.bad("spec.minReadySeconds", spec["minReadySeconds"], detail)
    yield from validate_pod_spec(spec["template"]["spec"], "spec.template.spec")
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy != "Always":
        yield FieldError.unsupported("spec.template.spec.restartPolicy", policy, ["Always"])


def validate_deployment(obj: Object) -> Iterable[FieldError]:
    yield from validate_workload(obj)
    strategy = obj["spec"]["strategy"]
    if strategy["type"] not in ("RollingUpdate", "Recreate"):
        yield FieldError.unsupported("spec.strategy.type", strategy["type"], ["Recreate", "RollingUpdate"])
        return
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate":
        if rolling is not None:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            yield FieldError.forbidden("spec.strategy.rollingUpdate", detail)
        return
    for name in ("maxUnavailable", "maxSurge"):
        yield from _int_or_percent(rolling[name], f"spec.strategy.rollingUpdate.{name}")
    if rolling["maxUnavailable"] in (0, "0%") and rolling["maxSurge"] in (0, "0%"):
        detail = "may not be 0 when `maxSurge` is 0"
        yield FieldError.bad("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], detail)


def validate_daemon_set(obj: Object) -> Iterable[FieldError]:
    yield from validate_workload(obj)
    strategy = obj["spec"]["updateStrategy"]
    path = "spec.updateStrategy"
    if strategy["type"] not in ("RollingUpdate", "OnDelete"):
        yield FieldError.unsupported(f"{path}.type", strategy["type"], ["OnDelete", "RollingUpdate"])
        return
    rolling = strategy.get("rollingUpdate") or {}
    for name in ("maxUnavailable", "maxSurge"):
        yield from _int_or_percent(rolling.get(name, 0), f"{path}.rollingUpdate.{name}")
    nothing = (0, "0%", None)
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    if strategy["type"] == "RollingUpdate" and unavailable in nothing and surge in nothing:
        yield FieldError.required(f"{path}.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0")
    elif unavailable not in nothing and surge not in nothing:
        detail = "may not be set when maxUnavailable is non-zero"
        yield FieldError.bad(f"{path}.rollingUpdate.maxSurge", surge, detail)


def _int_or_percent(value: Any, path: str) -> Iterable[FieldError]:
    if isinstance(value, int):
        if value < 0:
            yield FieldError.bad(path, value, "must be greater than or equal to 0")
    elif not (isinstance(value, str) and value.endswith("%") and value[:-1].isdigit()):
        detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
        yield FieldError.bad(path, value, detail + "'93%', regex used for validation is '[0-9]+%')")


def validate_selector_update(new: Object, old: Object) -> Iterable[FieldError]:
    if new["spec"].get("selector") != old["spec"].get("selector"):
        yield FieldError.bad("spec.selector", new["spec"].get("selector"), "field is immutable")


def validate_job(obj: Object) -> Iterable[FieldError]:
    spec = obj["spec"]
    for name in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds"):
        if (spec.get(name) or 0) < 0:
            yield FieldError.bad(f"spec.{name}", spec[name], "must be greater than or equal to 0")
    yield from validate_pod_spec(spec["template"]["spec"], "spec.template.spec")
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        text = f'Required value: valid values: "OnFailure", "Never" (got {policy!r})'
        yield FieldError("spec.template.spec.restartPolicy", "FieldValueRequired", text)


def validate_job_update(new: Object, old: Object) -> Iterable[FieldError]:
    for name in ("completions", "selector", "template"):
        if new["spec"].get(name) != old["spec"].get(name):
            yield FieldError.bad(f"spec.{name}", new["spec"].get(name), "field is immutable")


def validate_cron_job(obj: Object) -> Iterable[FieldError]:
    spec = obj["spec"]
    if not spec.get("schedule"):
        yield FieldError.required("spec.schedule")
    if spec["concurrencyPolicy"] not in ("Allow", "Forbid", "Replace"):
        valid = ["Allow", "Forbid", "Replace"]
        yield FieldError.unsupported("spec.concurrencyPolicy", spec["concurrencyPolicy"], valid)
    job = spec["jobTemplate"]["spec"]
    yield from validate_pod_spec(job["template"]["spec"], "spec.jobTemplate.spec.template.spec")
