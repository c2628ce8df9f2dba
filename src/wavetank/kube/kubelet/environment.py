"""A container's environment, command and arguments: references, service variables and ``$(VAR)``.

Pure functions of the pod, its namespace's ConfigMaps, Secrets and Services, and the addresses the kubelet has
given. Mirrors ``pkg/kubelet/kubelet_pods.go`` and ``third_party/forked/golang/expansion``: the order is
service variables, envFrom, env; a later variable wins; ``$(NAME)`` reads what is defined before it, an
unknown name stays as written, ``$$`` is a dollar sign.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wavetank.errors import WavetankError
from wavetank.kube.client import Object
from wavetank.kube.quantity import parse_quantity

__all__ = [
    "ConfigError",
    "Lookup",
    "PodAddresses",
    "container_environment",
    "expand",
    "field_value",
    "resource_value",
    "service_variables",
]

_REFERENCE: Final = re.compile(r"\$(?:\$|\(([^()]*)\))")
_SUBSCRIPT: Final = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class ConfigError(WavetankError):
    """The container cannot be configured (CreateContainerConfigError); the message is upstream's."""


Lookup = Callable[[str, str], Object | None]
"""(kind, name) of a ConfigMap or Secret in the pod's namespace; None where it does not exist."""


@dataclass(frozen=True, slots=True)
class PodAddresses:
    """What the downward API may tell: the addresses, and the node's allocatable in its quantities."""

    pod_ip: str
    host_ip: str
    node: str
    allocatable: Mapping[str, Any]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` by its value; unknown names and lone dollar signs stay, ``$$`` becomes ``$``."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return variables.get(name, match.group(0))

    return _REFERENCE.sub(replace, text)


def container_environment(
    pod: Object,
    container: Mapping[str, Any],
    services: Iterable[Object],
    lookup: Lookup,
    addresses: PodAddresses,
) -> dict[str, str]:
    """All variables the API gives this container. Raises ConfigError where a reference leads nowhere."""
    seen: dict[str, str] = {}
    if pod["spec"].get("enableServiceLinks", True):
        seen.update(service_variables(services, pod["metadata"].get("namespace", "default")))
    result = dict(seen)
    for source in container.get("envFrom") or ():
        result.update(_from_source(source, lookup))
    # `value` may refer to service variables and earlier entries of `env`, not to those of `envFrom`.
    for variable in container.get("env") or ():
        name = variable["name"]
        if variable.get("valueFrom"):
            value = _from_reference(pod, container, variable["valueFrom"], lookup, addresses)
            if value is None:
                continue
        else:
            value = expand(str(variable.get("value") or ""), seen)
        result[name] = seen[name] = value
    return result


def service_variables(services: Iterable[Object], namespace: str) -> dict[str, str]:
    """``NAME_SERVICE_HOST`` and its kin, for services of the namespace that have a cluster address."""
    result: dict[str, str] = {}
    for service in services:
        meta, spec = service["metadata"], service.get("spec") or {}
        master = meta["name"] == "kubernetes" and meta.get("namespace") == "default"
        address = spec.get("clusterIP")
        ports: Sequence[Mapping[str, Any]] = spec.get("ports") or ()
        if (meta.get("namespace") != namespace and not master) or address in (None, "", "None") or not ports:
            continue
        prefix = meta["name"].upper().replace("-", "_")
        result[f"{prefix}_SERVICE_HOST"] = address
        result[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        result[f"{prefix}_PORT"] = _link(ports[0], address)
        for port in ports:
            if port.get("name"):
                suffix = port["name"].upper().replace("-", "_")
                result[f"{prefix}_SERVICE_PORT_{suffix}"] = str(port["port"])
            protocol = port.get("protocol", "TCP")
            stem = f"{prefix}_PORT_{port['port']}_{protocol}"
            result[stem] = _link(port, address)
            result[f"{stem}_PROTO"] = protocol.lower()
            result[f"{stem}_PORT"] = str(port["port"])
            result[f"{stem}_ADDR"] = address
    return result


def _link(port: Mapping[str, Any], address: str) -> str:
    return f"{port.get('protocol', 'TCP').lower()}://{address}:{port['port']}"


def _from_source(source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
        reference = source.get(key)
        if reference is None:
            continue
        found = lookup(kind, reference.get("name", ""))
        if found is None:
            if reference.get("optional"):
                return {}
            raise ConfigError(f'{kind.lower()} "{reference.get("name", "")}" not found')
        return {prefix + name: value for name, value in text_data(found).items()}
    return {}


def text_data(obj: Object) -> dict[str, str]:
    """A ConfigMap's or Secret's data as text; bytes that are not UTF-8 are left out of environments."""
    result = dict(obj.get("data") or {}) if obj.get("kind") != "Secret" else {}
    if obj.get("kind") == "Secret":
        for name, value in binary_data(obj).items():
            try:
                result[name] = value.decode()
            except UnicodeDecodeError:
                continue
    return result


def binary_data(obj: Object) -> dict[str, bytes]:
    """All of a ConfigMap's or Secret's data as bytes, as files of a volume hold it."""
    result: dict[str, bytes] = {}
    encoded = dict(obj.get("binaryData") or {})
    if obj.get("kind") == "Secret":
        encoded.update(obj.get("data") or {})
        plain = obj.get("stringData") or {}
    else:
        plain = obj.get("data") or {}
    for name, text in encoded.items():
        try:
            result[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise ConfigError(f"illegal base64 data in key {name} of {obj['metadata']['name']}") from None
    result.update((name, str(text).encode()) for name, text in plain.items())
    return result


def _from_reference(
    pod: Object,
    container: Mapping[str, Any],
    reference: Mapping[str, Any],
    lookup: Lookup,
    addresses: PodAddresses,
) -> str | None:
    if "fieldRef" in reference:
        return field_value(pod, reference["fieldRef"].get("fieldPath", ""), addresses)
    if "resourceFieldRef" in reference:
        return resource_value(pod, reference["resourceFieldRef"], addresses, container)
    for kind, key, shown in (
        ("ConfigMap", "configMapKeyRef", "ConfigMap"),
        ("Secret", "secretKeyRef", "Secret"),
    ):
        if key in reference:
            return _from_key(pod, kind, shown, reference[key], lookup)
    return None


def _from_key(pod: Object, kind: str, shown: str, reference: Mapping[str, Any], lookup: Lookup) -> str | None:
    name, key = reference.get("name", ""), reference.get("key", "")
    found = lookup(kind, name)
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data = text_data(found)
    if key not in data:
        if reference.get("optional"):
            return None
        namespace = pod["metadata"].get("namespace", "default")
        raise ConfigError(f"couldn't find key {key} in {shown} {namespace}/{name}")
    return data[key]


def field_value(pod: Object, path: str, addresses: PodAddresses) -> str:
    """A field of the downward API as text. Raises ConfigError for one that is not offered."""
    meta, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.match(path):
        return str((meta.get(match.group(1)) or {}).get(match.group(2), ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(meta.get(path.partition(".")[2], ""))
        case "metadata.labels" | "metadata.annotations":
            values = meta.get(path.partition(".")[2]) or {}
            return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(values.items()))
        case "spec.nodeName":
            return addresses.node
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName") or "default")
        case "status.podIP" | "status.podIPs":
            return addresses.pod_ip
        case "status.hostIP" | "status.hostIPs":
            return addresses.host_ip
        case _:
            raise ConfigError(f"unsupported fieldPath: {path}")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(
    pod: Object,
    reference: Mapping[str, Any],
    addresses: PodAddresses,
    container: Mapping[str, Any] | None = None,
) -> str:
    """``limits.cpu`` and its like, in units of the divisor, rounded up; an absent limit is the node's."""
    spec = pod["spec"]
    name = reference.get("containerName")
    if name:
        every = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        container = next((c for c in every if c.get("name") == name), None)
    if container is None:
        raise ConfigError(f"container {name or ''} not found")
    side, _, resource = str(reference.get("resource", "")).partition(".")
    if side not in ("limits", "requests") or not resource:
        raise ConfigError(f"Unsupported container resource : {reference.get('resource')}")
    given = (container.get("resources") or {}).get(side) or {}
    if resource not in given and side == "limits":
        given = addresses.allocatable
    value = parse_quantity(given.get(resource, "0")).value
    divisor = parse_quantity(reference.get("divisor") or "1").value or 1
    return str(-((-value) // divisor))
