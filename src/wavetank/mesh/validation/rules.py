"""The predicates behind the CEL rules of Istio's CRDs, by the names the schema uses; texts are the CRDs'."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from wavetank.mesh.durations import parse_duration

__all__ = ["RULES"]

_PORT_NAME = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_GATEWAY_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")


def _duration(value: str) -> bool:
    try:
        return parse_duration(value) >= 0.001
    except ValueError:
        return False


def _at_most_one(*fields: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda value: sum(field in value for field in fields) <= 1


def _cidr_resolution(value: Mapping[str, Any]) -> bool:
    cidr = any("/" in str(address) for address in value.get("addresses") or ())
    return not cidr or value.get("resolution", "NONE") in ("STATIC", "NONE")


def _round_robin(value: Mapping[str, Any]) -> bool:
    return value.get("resolution") != "DNS_ROUND_ROBIN" or len(value.get("endpoints") or ()) <= 1


def _uds_absolute(value: str) -> bool:
    return not value.startswith("unix://") or value[7:8] in ("/", "@")


def _port_names(value: Mapping[str, Any]) -> bool:
    return all(len(key) < 63 and _PORT_NAME.fullmatch(key) for key in value)


def _unique_numbers(value: list[Mapping[str, Any]]) -> bool:
    numbers = [entry.get("number") for entry in value if isinstance(entry, dict)]
    return len(numbers) == len(set(numbers))


RULES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "duration": (_duration, "must be a valid duration greater than 1ms"),
    "gateway-duration": (
        lambda v: bool(_GATEWAY_DURATION.fullmatch(v)),
        "must be a duration such as 1h30m or 500ms",
    ),
    "no-wildcard-key": (lambda v: not any("*" in k for k in v), "wildcard not allowed in label key match"),
    "no-empty-key": (lambda v: "" not in v, "key must not be empty"),
    "no-wildcard-value": (lambda v: "*" not in v, "wildcard is not supported in selector"),
    "one-tls-list": (
        _at_most_one("tlsCertificates", "credentialNames"),
        "only one of credentialNames or tlsCertificates can be set",
    ),
    "one-credential": (
        _at_most_one("credentialName", "credentialNames"),
        "only one of credentialName or credentialNames can be set",
    ),
    "selector-or-endpoints": (
        _at_most_one("workloadSelector", "endpoints"),
        "only one of WorkloadSelector or Endpoints can be set",
    ),
    "cidr-resolution": (
        _cidr_resolution,
        "CIDR addresses are allowed only for NONE/STATIC resolution types",
    ),
    "none-without-endpoints": (
        lambda v: v.get("resolution", "NONE") != "NONE" or "endpoints" not in v,
        "NONE mode cannot set endpoints",
    ),
    "round-robin-one-endpoint": (_round_robin, "DNS_ROUND_ROBIN mode cannot have multiple endpoints"),
    "address-required": (lambda v: "address" in v or "network" in v, "Address is required"),
    "uds-ports": (
        lambda v: not str(v.get("address", "")).startswith("unix://") or "ports" not in v,
        "UDS may not include ports",
    ),
    "uds-absolute": (_uds_absolute, "UDS must be an absolute path or abstract socket"),
    "uds-dir": (lambda v: not v.startswith("unix://") or not v.endswith("/"), "UDS may not be a dir"),
    "port-names": (_port_names, "port name must be valid"),
    "port-number": (lambda v: 0 < v <= 65535, "port must be between 1-65535"),
    "no-wildcard-host": (lambda v: v != "*", "hostname cannot be wildcard"),
    "unique-port-numbers": (_unique_numbers, "port number cannot be duplicated"),
}
