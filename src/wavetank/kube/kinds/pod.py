"""Pods and pod templates: defaults and validation.

Mirrors ``pkg/apis/core/v1/defaults.go`` and ``pkg/apis/core/validation`` for the fields a rehearsal acts on.
Left out: security contexts, volume sources beyond their names, ephemeral containers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.quantity import parse_quantity
from wavetank.kube.status import FieldError

__all__ = [
    "default_pod", "default_pod_spec", "prepare_pod", "qos_class", "validate_pod", "validate_pod_spec",
    "validate_pod_update",
]  # fmt: skip

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_DETAIL: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc")
_MODE_SOURCES: Final = ("configMap", "secret", "projected", "downwardAPI")


def default_pod(pod: Object) -> None:
    default_pod_spec(pod.setdefault("spec", {}))


def prepare_pod(pod: Object) -> None:
    """A new pod is pending; its QoS class is fixed for life."""
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod.get("spec") or {})}


def default_pod_spec(spec: Object) -> None:
    """Fill a pod spec in place, as the API server stores it."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        _default_container(container)
    for volume in spec.get("volumes") or ():
        if len(volume) == 1:
            volume["emptyDir"] = {}
        for source in _MODE_SOURCES:
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 420)
        if isinstance(volume.get("hostPath"), dict):
            volume["hostPath"].setdefault("type", "")


def _default_container(container: Object) -> None:
    container.setdefault("imagePullPolicy", _pull_policy(str(container.get("image", ""))))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    resources = container.setdefault("resources", {})
    limits = resources.get("limits")
    if isinstance(limits, dict) and limits:
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for kind in _PROBES:
        if isinstance(container.get(kind), dict):
            _default_probe(container[kind])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _default_http(hook.get("httpGet"))


def _default_probe(probe: Object) -> None:
    # Zero is how a typed client sends "not set".
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(name):
            probe[name] = value
    _default_http(probe.get("httpGet"))
    if isinstance(probe.get("grpc"), dict):
        probe["grpc"].setdefault("service", "")


def _default_http(action: Object | None) -> None:
    if action is not None:
        action.setdefault("path", "/")
        action.setdefault("scheme", "HTTP")


def _pull_policy(image: str) -> str:
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def qos_class(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, by requests and limits of cpu and memory."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    guaranteed, anything = True, False
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            anything = anything or name in requests or name in limits
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def validate_pod(pod: Object) -> Iterable[FieldError]:
    return validate_pod_spec(pod.get("spec") or {}, "spec")


def validate_pod_spec(spec: Object, path: str) -> Iterable[FieldError]:
    """What is wrong with a pod spec at ``path``."""
    containers = spec.get("containers") or []
    if not containers:
        yield FieldError.required(f"{path}.containers")
    volumes = {v.get("name") for v in spec.get("volumes") or ()}
    seen: set[str] = set()
    for field, group in (("initContainers", spec.get("initContainers") or []), ("containers", containers)):
        for index, container in enumerate(group):
            here = f"{path}.{field}[{index}]"
            yield from _container(container, here, seen, volumes)
            if field == "initContainers" and container.get("restartPolicy") not in (None, "Always"):
                yield FieldError.unsupported(f"{here}.restartPolicy", container["restartPolicy"], ["Always"])
    yield from _volumes(spec.get("volumes") or (), f"{path}.volumes")
    if spec.get("restartPolicy") not in ("Always", "OnFailure", "Never"):
        valid = ["Always", "OnFailure", "Never"]
        yield FieldError.unsupported(f"{path}.restartPolicy", spec.get("restartPolicy"), valid)
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        detail = "must be greater than or equal to 0"
        yield FieldError.bad(f"{path}.terminationGracePeriodSeconds", grace, detail)


def _volumes(volumes: Sequence[Object], path: str) -> Iterable[FieldError]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        name = volume.get("name", "")
        if not name:
            yield FieldError.required(f"{path}[{index}].name")
        elif not _LABEL.fullmatch(name):
            yield FieldError.bad(f"{path}[{index}].name", name, _LABEL_DETAIL)
        elif name in seen:
            yield FieldError.duplicate(f"{path}[{index}].name", name)
        seen.add(name)


def _container(container: Object, path: str, seen: set[str], volumes: set[Any]) -> Iterable[FieldError]:
    name = container.get("name", "")
    if not name:
        yield FieldError.required(f"{path}.name")
    elif not _LABEL.fullmatch(name) or len(name) > 63:
        yield FieldError.bad(f"{path}.name", name, _LABEL_DETAIL)
    elif name in seen:
        yield FieldError.duplicate(f"{path}.name", name)
    seen.add(name)
    if not container.get("image"):
        yield FieldError.required(f"{path}.image")
    yield from _ports(container.get("ports") or (), f"{path}.ports")
    for index, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield FieldError.required(f"{path}.env[{index}].name")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        here = f"{path}.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            yield FieldError(f"{here}.name", "FieldValueNotFound", f'Not found: "{mount.get("name", "")}"')
        if not mount.get("mountPath"):
            yield FieldError.required(f"{here}.mountPath")
    yield from _resources(container.get("resources") or {}, f"{path}.resources")
    for kind in _PROBES:
        if isinstance(container.get(kind), dict):
            yield from _probe(container[kind], f"{path}.{kind}", kind)


def _ports(ports: Sequence[Object], path: str) -> Iterable[FieldError]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        number = port.get("containerPort")
        if number is None:
            yield FieldError.required(f"{path}[{index}].containerPort")
        elif not 1 <= number <= 65535:
            detail = "must be between 1 and 65535, inclusive"
            yield FieldError.bad(f"{path}[{index}].containerPort", number, detail)
        name = port.get("name")
        if name and name in names:
            yield FieldError.duplicate(f"{path}[{index}].name", name)
        names.add(name or "")
        if port.get("protocol", "TCP") not in ("TCP", "UDP", "SCTP"):
            yield FieldError.unsupported(
                f"{path}[{index}].protocol", port["protocol"], ["TCP", "UDP", "SCTP"]
            )


def _resources(resources: Object, path: str) -> Iterable[FieldError]:
    limits = dict(resources.get("limits") or {})
    for kind in ("limits", "requests"):
        for name, amount in (resources.get(kind) or {}).items():
            field = f"{path}.{kind}[{name}]"
            try:
                value = parse_quantity(amount).value
            except InputError as error:
                yield FieldError.bad(field, amount, error.fix or error.message)
                continue
            if value < 0:
                yield FieldError.bad(field, amount, "must be greater than or equal to 0")
            elif kind == "requests" and name in limits:
                try:
                    limit = parse_quantity(limits[name]).value
                except InputError:
                    continue
                if value > limit:
                    detail = f"must be less than or equal to {name} limit of {limits[name]}"
                    yield FieldError.bad(f"{path}.requests", str(amount), detail)


def _probe(probe: Object, path: str, kind: str) -> Iterable[FieldError]:
    handlers = [h for h in _HANDLERS if probe.get(h) is not None]
    if not handlers:
        yield FieldError.required(path, "must specify a handler type")
    for extra in handlers[1:]:
        yield FieldError.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"):
        if probe.get(name, 0) < 0:
            detail = "must be greater than or equal to 0"
            yield FieldError.bad(f"{path}.{name}", probe[name], detail)
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield FieldError.bad(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def validate_pod_update(new: Object, old: Object) -> Iterable[FieldError]:
    """Little of a pod's spec may change once it exists."""
    if _frozen(new["spec"]) != _frozen(old["spec"]):
        detail = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
            "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
            "was previously negative)"
        )
        yield FieldError.forbidden("spec", detail)


def _frozen(spec: Object) -> Object:
    """The part of a spec that may not change. Resources may, by resizing; scheduling gates may go."""
    free = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates")
    rest = {k: v for k, v in spec.items() if k not in free}
    for group in ("containers", "initContainers"):
        if group in rest:
            rest[group] = [
                {k: v for k, v in c.items() if k not in ("image", "resources", "resizePolicy")}
                for c in rest[group]
            ]
    return rest
