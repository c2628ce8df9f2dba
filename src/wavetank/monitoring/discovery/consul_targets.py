"""The targets of one Consul service, from the answer of ``/v1/health/service/<name>``.

Mirrors discovery/consul. Fields that Consul leaves out or gives as null count as empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from wavetank.monitoring.discovery.group import TargetGroup

__all__ = ["Entry", "group_of_service", "parse_entries"]

_INVALID: Final = re.compile(r"[^a-zA-Z0-9_]")
_META: Final = "__meta_consul_"
_NODE_MAINTENANCE: Final = "_node_maintenance"
_SERVICE_MAINTENANCE: Final = "_service_maintenance:"


class Node(msgspec.Struct, frozen=True, rename="pascal"):
    node: str = ""
    address: str = ""
    tagged_addresses: dict[str, str] | None = None
    meta: dict[str, str] | None = None


class Service(msgspec.Struct, frozen=True, rename="pascal"):
    id: str = msgspec.field(default="", name="ID")
    address: str = ""
    port: int = 0
    tags: list[str] | None = None
    meta: dict[str, str] | None = None
    namespace: str = ""
    partition: str = ""


class Check(msgspec.Struct, frozen=True, rename="pascal"):
    check_id: str = msgspec.field(default="", name="CheckID")
    status: str = ""


class Entry(msgspec.Struct, frozen=True, rename="pascal"):
    """An instance of a service with the node it is registered at and the checks of both."""

    node: Node = Node()
    service: Service = Service()
    checks: list[Check] | None = None


def parse_entries(body: bytes) -> list[Entry]:
    """Raises ValueError for a body that is not such a list; null is an empty one."""
    return msgspec.json.decode(body, type=list[Entry] | None) or []


def health(checks: Sequence[Check]) -> str:
    """The worst status; empty when one of them is unknown. Maintenance is told by the check's id."""
    found = set()
    for check in checks:
        if check.check_id == _NODE_MAINTENANCE or check.check_id.startswith(_SERVICE_MAINTENANCE):
            found.add("maintenance")
        elif check.status in ("critical", "warning", "passing"):
            found.add(check.status)
        else:
            return ""
    return next((status for status in ("maintenance", "critical", "warning") if status in found), "passing")


def group_of_service(name: str, datacenter: str, tag_separator: str, entries: Sequence[Entry]) -> TargetGroup:
    """The group whose source is the service's name; without entries it removes the targets."""
    labels = {f"{_META}service": name, f"{_META}dc": datacenter}
    return TargetGroup(name, [_target(entry, tag_separator) for entry in entries], labels)


def _target(entry: Entry, tag_separator: str) -> dict[str, str]:
    node, service = entry.node, entry.service
    host = service.address or node.address  # a service may be registered at a node it does not run on
    tags = tag_separator.join(service.tags or ())
    target = {
        "__address__": f"[{host}]:{service.port}" if ":" in host else f"{host}:{service.port}",
        f"{_META}address": node.address,
        f"{_META}node": node.node,
        f"{_META}namespace": service.namespace,
        f"{_META}partition": service.partition,
        f"{_META}tags": f"{tag_separator}{tags}{tag_separator}",  # so that a regex need not know positions
        f"{_META}service_address": service.address,
        f"{_META}service_port": str(service.port),
        f"{_META}service_id": service.id,
        f"{_META}health": health(entry.checks or ()),
        **_named("metadata", node.meta),
        **_named("service_metadata", service.meta),
        **_named("tagged_address", node.tagged_addresses),
    }
    return {label: value for label, value in target.items() if value}


def _named(kind: str, values: Mapping[str, str] | None) -> dict[str, str]:
    return {f"{_META}{kind}_{_INVALID.sub('_', key)}": value for key, value in (values or {}).items()}
