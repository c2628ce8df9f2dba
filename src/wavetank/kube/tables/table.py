"""``Table`` objects: the columns of every kind as data, and the rows of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from wavetank.kube.client import Object, Resource
from wavetank.kube.tables import cluster, workloads
from wavetank.kube.tables.cells import age, json_path, since
from wavetank.kube.tables.hpa import hpa_cells
from wavetank.kube.tables.pods import pod_cells
from wavetank.limits import KUBE_TABLE_ROWS_KEPT_MAX

__all__ = ["Columns", "RowCache", "columns_for", "custom_columns", "table_of"]

_TIMED: Final = " ago)"
_encode = msgspec.json.Encoder().encode
Cells = Callable[[Object, float], list[Any]]


@dataclass(frozen=True, slots=True)
class Columns:
    """``age_at`` is the place of the only cell that depends on the time but for those that end in ``ago)``;
    -1 where that is not so."""

    definitions: Sequence[Mapping[str, Any]]
    cells: Cells
    age_at: int = -1


def _columns(text: str, cells: Cells, age_at: int = -1) -> Columns:
    """``Name, Ready, IP:1``: names with their priority; 1 is shown with ``-o wide`` only."""
    definitions = []
    for part in text.split(", "):
        name, _, priority = part.partition(":")
        kind = "integer" if name in _INTEGERS else "string"
        definitions.append(
            {
                "name": name,
                "type": kind,
                "format": "name" if name == "Name" else "",
                "description": "",
                "priority": int(priority or 0),
            }
        )
    return Columns(definitions, cells, age_at)


_INTEGERS: Final = frozenset(
    {
        "Desired", "Current", "Up-to-date", "Available", "MaxPods", "Replicas", "Data", "Secrets",
        "Allowed Disruptions", "Count", "Active", "Value", "Revision",
    }
)  # fmt: skip


def _default_cells(obj: Object, now: float) -> list[Any]:
    return [obj["metadata"]["name"], age(obj, now)]


_DEFAULT: Final = _columns("Name, Age", _default_cells)
_WORKLOAD: Final = "Containers:1, Images:1, Selector:1"
_BUILT_IN: Final = {
    "/pods": _columns(
        "Name, Ready, Status, Restarts, Age, IP:1, Node:1, Nominated Node:1, Readiness Gates:1",
        pod_cells,
        age_at=4,
    ),
    "apps/replicasets": _columns(
        f"Name, Desired, Current, Ready, Age, {_WORKLOAD}", workloads.replica_set_cells
    ),
    "apps/deployments": _columns(
        f"Name, Ready, Up-to-date, Available, Age, {_WORKLOAD}", workloads.deployment_cells
    ),
    "apps/daemonsets": _columns(
        f"Name, Desired, Current, Ready, Up-to-date, Available, Node Selector, Age, {_WORKLOAD}",
        workloads.daemon_set_cells,
    ),
    "apps/statefulsets": _columns("Name, Ready, Age, Containers:1, Images:1", workloads.stateful_set_cells),
    "apps/controllerrevisions": _columns(
        "Name, Controller, Revision, Age", workloads.controller_revision_cells
    ),
    "batch/jobs": _columns(f"Name, Status, Completions, Duration, Age, {_WORKLOAD}", workloads.job_cells),
    "batch/cronjobs": _columns(
        f"Name, Schedule, Timezone, Suspend, Active, Last Schedule, Age, {_WORKLOAD}",
        workloads.cron_job_cells,
    ),
    "/services": _columns(
        "Name, Type, Cluster-IP, External-IP, Port(s), Age, Selector:1", cluster.service_cells
    ),
    "/endpoints": _columns("Name, Endpoints, Age", cluster.endpoints_cells),
    "discovery.k8s.io/endpointslices": _columns(
        "Name, AddressType, Ports, Endpoints, Age", cluster.endpoint_slice_cells
    ),
    "/nodes": _columns(
        "Name, Status, Roles, Age, Version, Internal-IP:1, External-IP:1, OS-Image:1, Kernel-Version:1, "
        "Container-Runtime:1",
        cluster.node_cells,
    ),
    "/events": _columns(
        "Last Seen, Type, Reason, Object, Subobject:1, Source:1, Message, First Seen:1, Count:1, Name:1",
        cluster.event_cells,
    ),
    "/namespaces": _columns("Name, Status, Age", cluster.namespace_cells),
    "/configmaps": _columns("Name, Data, Age", cluster.data_cells),
    "/secrets": _columns("Name, Type, Data, Age", cluster.secret_cells),
    "/serviceaccounts": _columns("Name, Secrets, Age", cluster.service_account_cells),
    "/resourcequotas": _columns("Name, Age, Request, Limit", cluster.resource_quota_cells),
    "/limitranges": _columns("Name, Created At", cluster.limit_range_cells),
    "policy/poddisruptionbudgets": _columns(
        "Name, Min Available, Max Unavailable, Allowed Disruptions, Age", cluster.pdb_cells
    ),
    "autoscaling/horizontalpodautoscalers": _columns(
        "Name, Reference, Targets, MinPods, MaxPods, Replicas, Age", hpa_cells
    ),
    "coordination.k8s.io/leases": _columns("Name, Holder, Age", cluster.lease_cells),
    "scheduling.k8s.io/priorityclasses": _columns(
        "Name, Value, Global-Default, Age, PreemptionPolicy", cluster.priority_class_cells
    ),
}


def columns_for(stored: Resource, custom: Columns | None = None) -> Columns:
    """The columns of a kind as it is stored; ``custom`` are a CRD's own."""
    return custom or _BUILT_IN.get(f"{stored.group}/{stored.plural}", _DEFAULT)


def custom_columns(declared: Sequence[Mapping[str, Any]]) -> Columns:
    """From a CRD's additionalPrinterColumns; Name comes first, and Age where none are declared."""
    if not declared:
        return _DEFAULT
    definitions = [
        _DEFAULT.definitions[0],
        *(
            {
                "name": column.get("name", ""),
                "type": column.get("type", "string"),
                "format": column.get("format", ""),
                "description": column.get("description", ""),
                "priority": int(column.get("priority", 0)),
            }
            for column in declared
        ),
    ]
    paths = [(str(c.get("jsonPath", "")), c.get("type", "string")) for c in declared]

    def cells(obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], *(_custom_cell(json_path(obj, p), kind, now) for p, kind in paths)]

    return Columns(definitions, cells)


def _custom_cell(value: Any, kind: str, now: float) -> Any:
    if value is None:
        return ""
    if kind == "date":
        return since(str(value), now)
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return value


class RowCache:
    """Rows of objects as they were last shown: what they carry along is encoded once for each revision, and
    so are the cells where only the age depends on the time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, list[Any] | None, msgspec.Raw]] = {}

    def row(self, columns: Columns, obj: Object, now: float) -> Object:
        metadata = obj["metadata"]
        uid, revision = metadata.get("uid", ""), metadata.get("resourceVersion", "")
        found = self._known.get(uid)
        if found is None or found[0] != revision:
            found = self._make(columns, obj, now, uid, revision)
        cells = found[1]
        if cells is None:
            return {"cells": columns.cells(obj, now), "object": found[2]}
        cells = cells.copy()
        cells[columns.age_at] = age(obj, now)
        return {"cells": cells, "object": found[2]}

    def _make(
        self, columns: Columns, obj: Object, now: float, uid: str, revision: str
    ) -> tuple[str, list[Any] | None, msgspec.Raw]:
        cells = columns.cells(obj, now) if columns.age_at >= 0 else None
        if cells is not None and any(isinstance(c, str) and c.endswith(_TIMED) for c in cells):
            cells = None
        made = (revision, cells, msgspec.Raw(_encode(_partial(obj))))
        if uid and revision:
            if len(self._known) >= KUBE_TABLE_ROWS_KEPT_MAX:
                self._known.clear()
            self._known[uid] = made
        return made


def _partial(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def table_of(
    columns: Columns,
    objects: Iterable[Object],
    now: float,
    *,
    metadata: Mapping[str, Any] | None = None,
    include: str = "Metadata",
    served: Callable[[Object], Object] = lambda obj: obj,
    version: str = "v1",
    cache: RowCache | None = None,
) -> Object:
    """The Table of stored ``objects``. ``include`` is None, Metadata or Object: what rows carry along,
    in the version that ``served`` makes."""
    if include == "Metadata" and cache is not None:
        rows = [cache.row(columns, obj, now) for obj in objects]
    else:
        rows = [
            {"cells": columns.cells(obj, now), "object": _carried(obj, include, served)} for obj in objects
        ]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata or {},
        "columnDefinitions": columns.definitions,
        "rows": rows,
    }


def _carried(obj: Object, include: str, served: Callable[[Object], Object]) -> Any:
    if include == "None":
        return None
    return served(obj) if include == "Object" else _partial(obj)
