"""Namespaces, services, secrets and the other small kinds: defaults and validation."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final

from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.quantity import parse_quantity
from wavetank.kube.status import FieldError

__all__ = [
    "SYSTEM_PRIORITIES", "default_namespace", "default_priority_class", "default_secret", "default_service",
    "prepare_namespace", "validate_config_map", "validate_crd", "validate_event", "validate_limit_range",
    "validate_pdb", "validate_priority_class", "validate_priority_class_update", "validate_resource_quota",
    "validate_secret", "validate_service", "validate_service_update",
]  # fmt: skip

SYSTEM_PRIORITIES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_PRIORITY_MAX: Final = 1_000_000_000
_TYPES: Final = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_SERVICE_NAME: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")


def default_namespace(obj: Object) -> None:
    name = obj["metadata"].get("name")
    labels = obj["metadata"].setdefault("labels", {})
    if name:
        labels.setdefault("kubernetes.io/metadata.name", name)
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def prepare_namespace(obj: Object) -> None:
    obj["status"] = {"phase": "Active"}


def default_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        data = obj.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(value.encode()).decode("ascii")


def validate_secret(obj: Object) -> Iterable[FieldError]:
    for key, value in (obj.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (ValueError, TypeError):
            yield FieldError.bad(f"data[{key}]", value, "must be base64")
        yield from _key(f"data[{key}]", key)


def validate_config_map(obj: Object) -> Iterable[FieldError]:
    both = set(obj.get("data") or ()) & set(obj.get("binaryData") or ())
    for key in (obj.get("data") or {}).keys() | (obj.get("binaryData") or {}).keys():
        yield from _key(f"data[{key}]", key)
    for key in sorted(both):
        yield FieldError.bad(f"data[{key}]", key, "duplicate of key present in binaryData")


def _key(path: str, key: str) -> Iterable[FieldError]:
    if not _KEY.fullmatch(key) or key in (".", "..") or len(key) > 253:
        detail = (
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
            "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
        yield FieldError.bad(path, key, detail)


def default_service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, "", 0) and "port" in port:
            port["targetPort"] = port["port"]


def validate_service(obj: Object) -> Iterable[FieldError]:
    spec, name = obj["spec"], obj["metadata"]["name"]
    if not _SERVICE_NAME.fullmatch(name) or len(name) > 63:
        detail = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
            "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
            "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
        yield FieldError.bad("metadata.name", name, detail)
    if spec["type"] not in _TYPES:
        yield FieldError.unsupported("spec.type", spec["type"], _TYPES)
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield FieldError.required("spec.ports")
    if spec["type"] == "ExternalName" and not spec.get("externalName"):
        yield FieldError.required("spec.externalName")
    yield from _service_ports(ports)


def _service_ports(ports: list[Object]) -> Iterable[FieldError]:
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        if len(ports) > 1 and not port.get("name"):
            yield FieldError.required(f"{path}.name")
        elif port.get("name") and port["name"] in names:
            yield FieldError.duplicate(f"{path}.name", port["name"])
        names.add(port.get("name", ""))
        for field in ("port", "targetPort"):
            number = port.get(field)
            if isinstance(number, int) and not 1 <= number <= 65535:
                yield FieldError.bad(f"{path}.{field}", number, "must be between 1 and 65535, inclusive")
        if port.get("port") is None:
            yield FieldError.required(f"{path}.port")
            continue
        key = (port["port"], port.get("protocol", "TCP"))
        if key in numbers:
            yield FieldError.duplicate(path, {"port": key[0], "protocol": key[1]})
        numbers.add(key)


def validate_service_update(new: Object, old: Object) -> Iterable[FieldError]:
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if before and after != before and new["spec"]["type"] != "ExternalName":
        yield FieldError.bad("spec.clusterIPs[0]", [after], "may not change once set")


def validate_pdb(obj: Object) -> Iterable[FieldError]:
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield FieldError.bad("spec", {}, "minAvailable and maxUnavailable cannot be both set")


def validate_event(obj: Object) -> Iterable[FieldError]:
    namespace = (obj.get("involvedObject") or {}).get("namespace")
    if namespace and namespace != obj["metadata"]["namespace"]:
        yield FieldError.bad("involvedObject.namespace", namespace, "does not match event.namespace")


def validate_crd(obj: Object) -> Iterable[FieldError]:
    """What registration relies on."""
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    for field in ("group", "scope"):
        if not spec.get(field):
            yield FieldError.required(f"spec.{field}")
    for field in ("plural", "kind"):
        if not names.get(field):
            yield FieldError.required(f"spec.names.{field}")
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if obj["metadata"]["name"] != wanted:
        detail = 'must be spec.names.plural+"."+spec.group'
        yield FieldError.bad("metadata.name", obj["metadata"]["name"], detail)
    versions = spec.get("versions") or []
    if sum(1 for v in versions if isinstance(v, dict) and v.get("storage")) != 1:
        detail = "must have exactly one version marked as storage version"
        yield FieldError.bad(
            "spec.versions", [v.get("name") for v in versions if isinstance(v, dict)], detail
        )
    if any(not isinstance(v, dict) or not v.get("name") for v in versions):
        yield FieldError.required("spec.versions[*].name")


def validate_limit_range(obj: Object) -> Iterable[FieldError]:
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path = f"spec.limits[{index}]"
        if item.get("type") == "Pod":
            for name in ("default", "defaultRequest"):
                if item.get(name):
                    yield FieldError.forbidden(f"{path}.{name}", "may not be specified when `type` is 'Pod'")
        least, most = item.get("min") or {}, item.get("max") or {}
        for name in sorted(set(least) & set(most)):
            if _more(least[name], most[name]):
                detail = f"min value {least[name]} is greater than max value {most[name]}"
                yield FieldError.bad(f"{path}.min[{name}]", least[name], detail)


def _more(one: object, other: object) -> bool:
    try:
        return parse_quantity(one).value > parse_quantity(other).value
    except InputError:
        return False  # said where the field's type is checked


def validate_resource_quota(obj: Object) -> Iterable[FieldError]:
    for name, value in ((obj.get("spec") or {}).get("hard") or {}).items():
        if _more(0, value):
            detail = "must be greater than or equal to 0"
            yield FieldError.bad(f"spec.hard[{name}]", value, detail)


def validate_priority_class(obj: Object) -> Iterable[FieldError]:
    name, value = obj["metadata"]["name"], obj.get("value", 0)
    if str(name).startswith("system-"):
        if name not in SYSTEM_PRIORITIES:
            detail = "priority class names with 'system-' prefix are reserved for system use only"
            yield FieldError.forbidden("metadata.name", detail)
    elif value > _PRIORITY_MAX:
        detail = f"maximum allowed value of a user defined priority is {_PRIORITY_MAX}"
        yield FieldError.forbidden("value", detail)


def validate_priority_class_update(new: Object, old: Object) -> Iterable[FieldError]:
    if new.get("value", 0) != old.get("value", 0):
        yield FieldError.forbidden("value", "may not be changed in an update.")
    if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        yield FieldError.bad("preemptionPolicy", new.get("preemptionPolicy"), "field is immutable")


def default_priority_class(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
