"""Discovery: which groups, versions and resources there are, aggregated (v2, v2beta1) and document by
document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from wavetank.kube.client import Object, Resource

__all__ = ["aggregated", "group_document", "group_list", "legacy_versions", "resource_list"]

_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_READ_ONLY: Final = ("get", "list")

# Subresource: kind it speaks (group, version, kind), verbs; an empty kind is the parent's own.
_SUBRESOURCES: Final[Mapping[str, tuple[tuple[str, str, str] | None, tuple[str, ...]]]] = {
    "status": (None, ("get", "patch", "update")),
    "scale": (("autoscaling", "v1", "Scale"), ("get", "patch", "update")),
    "finalize": (None, ("update",)),
    "log": (None, ("get",)),
    "resize": (None, ("get", "patch", "update")),
    "binding": (("", "v1", "Binding"), ("create",)),
    "eviction": (("policy", "v1", "Eviction"), ("create",)),
    "exec": (("", "v1", "PodExecOptions"), ("create", "get")),
    "attach": (("", "v1", "PodAttachOptions"), ("create", "get")),
    "portforward": (("", "v1", "PodPortForwardOptions"), ("create", "get")),
    "proxy": (("", "v1", "NodeProxyOptions"), ("create", "delete", "get", "patch", "update")),
}

ReadOnly = Sequence[Resource]


def verbs_of(resource: Resource, read_only: bool) -> tuple[str, ...]:
    if resource.group in ("authorization.k8s.io", "authentication.k8s.io"):
        return ("create",)
    return _READ_ONLY if read_only else _VERBS


def _groups(resources: Iterable[Resource]) -> dict[str, dict[str, list[Resource]]]:
    found: dict[str, dict[str, list[Resource]]] = {}
    for resource in resources:
        found.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
    return found


def aggregated(
    resources: Iterable[Resource], version: str, *, core: bool, read_only: frozenset[str]
) -> Object:
    """``APIGroupDiscoveryList`` of the core group (``/api``) or of all others (``/apis``). ``read_only`` are
    groups that only answer reads."""
    items = []
    for group, versions in _groups(resources).items():
        if (group == "") is not core:
            continue
        listed = [
            {
                "version": v,
                "resources": [_aggregated_resource(r, group in read_only) for r in found],
                "freshness": "Current",
            }
            for v, found in versions.items()
        ]
        items.append({"metadata": {"name": group, "creationTimestamp": None}, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_resource(resource: Resource, read_only: bool) -> Object:
    entry: Object = {
        "resource": resource.plural,
        "responseKind": _gvk(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
        "verbs": list(verbs_of(resource, read_only)),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {"subresource": name, "responseKind": _gvk(*gvk), "verbs": list(verbs)}
            for name, gvk, verbs in _subresources(resource)
        ]
    return entry


def _subresources(resource: Resource) -> Iterable[tuple[str, tuple[str, str, str], tuple[str, ...]]]:
    for name in resource.subresources:
        gvk, verbs = _SUBRESOURCES.get(name, (None, ("get",)))
        yield name, gvk or (resource.group, resource.version, resource.kind), verbs


def _gvk(group: str, version: str, kind: str) -> Object:
    return {"group": group, "version": version, "kind": kind}


def legacy_versions(address: str) -> Object:
    """``/api``: the versions of the core group."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(resources: Iterable[Resource]) -> Object:
    """``/apis``."""
    groups = [_group(name, versions) for name, versions in _groups(resources).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group_document(resources: Iterable[Resource], group: str) -> Object | None:
    """``/apis/GROUP``."""
    versions = _groups(resources).get(group)
    if versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}


def _group(name: str, versions: Mapping[str, Any]) -> Object:
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(resources: Iterable[Resource], group: str, version: str, read_only: bool) -> Object | None:
    """``/api/v1`` and ``/apis/GROUP/VERSION``."""
    found = _groups(resources).get(group, {}).get(version)
    if found is None:
        return None
    entries: list[Object] = []
    for resource in found:
        entry: Object = {
            "name": resource.plural,
            "singularName": resource.singular or resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(verbs_of(resource, read_only)),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        entries.append(entry)
        for name, gvk, verbs in _subresources(resource):
            below = {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": gvk[2],
                "verbs": list(verbs),
            }
            if gvk[:2] != (group, version):
                below.update(group=gvk[0], version=gvk[1])
            entries.append(below)
    group_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": entries,
    }
