"""The user's manifests: read, and checked as a whole before anything is started.

What the API server checks of a single object is left to the API server (``wavetank.kube``); here is what
only shows between objects, or between the manifests and this machine: kinds that nothing would act on, an
HPA without a target or without requests to measure against, a command that is not installed.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavetank.autoscaling.vpa.kinds import VPAS
from wavetank.errors import InputError, did_you_mean
from wavetank.kube.client import ApiError, Resource
from wavetank.kube.customresources import kinds_of
from wavetank.kube.resources import BUILT_IN, CUSTOMRESOURCEDEFINITIONS, HORIZONTALPODAUTOSCALERS_V1
from wavetank.kube.schema.builtin import type_of
from wavetank.kube.schema.decoding import decode_object
from wavetank.mesh.resources import ALL_RESOURCES, SERVED_VERSIONS
from wavetank.yamlfile import Document, load_documents

__all__ = ["Manifest", "apply_order", "check_manifests", "load_manifests", "program_path"]

#: Namespaces and definitions first, workloads after what they refer to, autoscalers and routes last.
_ORDER = (
    "Namespace", "CustomResourceDefinition", "PriorityClass", "ServiceAccount", "Role", "ClusterRole",
    "RoleBinding", "ClusterRoleBinding", "ResourceQuota", "LimitRange", "ConfigMap", "Secret",
    "PersistentVolumeClaim", "Service", "Gateway", "DestinationRule",
)  # fmt: skip
_LAST = ("VirtualService", "HTTPRoute", "HorizontalPodAutoscaler", "VerticalPodAutoscaler")
_WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Pod")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a manifest file: ``resource`` says how the API serves it; ``root`` is the object's key
    path in its document (not empty inside a List)."""

    object: dict[str, Any]
    resource: Resource
    document: Document
    root: tuple[str | int, ...] = ()

    @property
    def kind(self) -> str:
        return str(self.object["kind"])

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.object["metadata"].get("namespace") or "default")

    def error(self, message: str, *path: str | int, fix: str | None = None) -> InputError:
        return self.document.error(message, *self.root, *path, fix=fix)

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.namespace}/{self.name}"
            if self.resource.namespaced
            else f"{self.kind} {self.name}"
        )


def load_manifests(directory: Path, paths: Sequence[str], spec: Document) -> list[Manifest]:
    """All objects of the files and folders named in ``spec.manifests``. Raises InputError."""
    documents: list[Document] = []
    for index, text in enumerate(paths):
        path = directory / text
        if not path.exists():
            raise spec.error(f"manifests: no such file or directory: {path}", "spec", "manifests", index)
        for file in sorted(_files(path)):
            documents.extend(load_documents(file))
    known = {**_known(), **_defined(documents)}
    manifests = [m for document in documents for m in _objects(document, document.value, (), known)]
    if not manifests:
        raise spec.error(
            "manifests: no objects found", "spec", "manifests", fix="name a folder of YAML files"
        )
    _refuse_duplicates(manifests)
    return manifests


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    yield from (p for p in path.rglob("*") if p.suffix in (".yaml", ".yml", ".json") and p.is_file())


_Known = Mapping[tuple[str, str], Resource]


def _defined(documents: Sequence[Document]) -> _Known:
    """The kinds that CustomResourceDefinitions among the manifests define."""
    found: dict[tuple[str, str], Resource] = {}
    for document in documents:
        value = document.value
        items = (value.get("items") or ()) if isinstance(value, dict) else ()
        for obj in (value, *items):
            if not isinstance(obj, dict) or obj.get("kind") != CUSTOMRESOURCEDEFINITIONS.kind:
                continue
            try:
                kinds = kinds_of(obj)
            except (KeyError, TypeError, AttributeError):
                continue  # the API server says what is wrong with it
            found.update({(k.resource.api_version, k.resource.kind): k.resource for k in kinds})
    return found


def _objects(
    document: Document, value: Any, root: tuple[str | int, ...], known: _Known
) -> Iterator[Manifest]:
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise document.error("not a Kubernetes object: it has no kind", *root)
    if not isinstance(value.get("apiVersion"), str):
        raise document.error(f"{value['kind']} has no apiVersion", *root)
    if value["kind"].endswith("List") and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            yield from _objects(document, item, (*root, "items", index), known)
        return
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise document.error(f"{value['kind']} has no metadata.name", *root)
    yield Manifest(value, _resource(document, value, root, known), document, root)


def _known() -> dict[tuple[str, str], Resource]:
    known = {
        (r.api_version, r.kind): r for r in (*BUILT_IN, HORIZONTALPODAUTOSCALERS_V1, VPAS, *ALL_RESOURCES)
    }
    for resource in ALL_RESOURCES:
        for version in SERVED_VERSIONS[resource.group]:
            known[f"{resource.group}/{version}", resource.kind] = resource
    return known


def _resource(
    document: Document, value: dict[str, Any], root: tuple[str | int, ...], known: _Known
) -> Resource:
    api_version, kind = value["apiVersion"], value["kind"]
    found = known.get((api_version, kind))
    if found is not None:
        return found
    versions = sorted(v for v, k in known if k == kind)
    if versions:
        served = f"this cluster serves it as {' or '.join(versions)}"
        raise document.error(f"no kind {kind!r} in {api_version!r}", *root, "apiVersion", fix=served)
    near = did_you_mean(kind, {k for _, k in known}) or ""
    fix = near if near.startswith("did you mean") else "leave it out of `manifests`"
    raise document.error(f"kind {kind!r} is not known to this cluster", *root, "kind", fix=fix)


def _refuse_duplicates(manifests: Sequence[Manifest]) -> None:
    seen: dict[tuple[str, str, str, str], Manifest] = {}
    for manifest in manifests:
        key = (manifest.resource.group, manifest.kind, manifest.namespace, manifest.name)
        if key in seen:
            raise manifest.error(
                f"{manifest} is given twice", fix=f"the first is at {seen[key].document.at()}"
            )
        seen[key] = manifest


def apply_order(manifests: Sequence[Manifest]) -> list[Manifest]:
    """As a careful person would apply them: what is referred to comes before what refers to it."""

    def rank(manifest: Manifest) -> int:
        if manifest.kind in _LAST:
            return len(_ORDER) + 1 + _LAST.index(manifest.kind)
        return _ORDER.index(manifest.kind) if manifest.kind in _ORDER else len(_ORDER)

    return sorted(manifests, key=rank)


def check_manifests(manifests: Sequence[Manifest], *, programs: bool = True) -> None:
    """What can be told before starting. Raises InputError for the first thing that could not work.

    ``programs``: whether the containers' commands must be installed here."""
    for manifest in manifests:
        _check_fields(manifest)
    for manifest in manifests:
        if manifest.kind == "HorizontalPodAutoscaler":
            _check_hpa(manifest, manifests)
        elif programs and manifest.kind in _WORKLOADS:
            _check_commands(manifest)


_UNKNOWN = re.compile(r'unknown field "([^"]+)"')


def _check_fields(manifest: Manifest) -> None:
    """Unknown fields and wrong types of built-in kinds, as the API server's strict decoding finds them."""
    try:
        decode_object(manifest.resource, type_of(manifest.resource), manifest.object, "Strict")
    except ApiError as error:
        found = _UNKNOWN.search(error.message)
        path = found.group(1) if found else ""
        steps = tuple(int(s) if s.isdigit() else s for s in re.split(r"[.\[\]]+", path) if s)
        text = f"{manifest}: unknown field {steps[-1]!r}" if found else f"{manifest}: {error.message}"
        raise manifest.error(text, *steps) from None


def _find(manifests: Sequence[Manifest], kind: str, namespace: str, name: str) -> Manifest | None:
    for manifest in manifests:
        if (manifest.kind, manifest.namespace, manifest.name) == (kind, namespace, name):
            return manifest
    return None


def _check_hpa(hpa: Manifest, manifests: Sequence[Manifest]) -> None:
    reference = (hpa.object.get("spec") or {}).get("scaleTargetRef") or {}
    kind, name = reference.get("kind"), reference.get("name")
    target = _find(manifests, str(kind), hpa.namespace, str(name))
    if target is None:
        names = [m.name for m in manifests if m.kind == kind and m.namespace == hpa.namespace]
        fix = did_you_mean(str(name), names) or f"there is no {kind} in namespace {hpa.namespace!r}"
        message = f"{hpa}: target {kind}/{name} does not exist"
        raise hpa.error(message, "spec", "scaleTargetRef", "name", fix=fix)
    for resource in _utilization_resources(hpa.object):
        for index, container in enumerate(_pod_spec(target.object).get("containers") or []):
            requests = ((container.get("resources") or {}).get("requests")) or {}
            limits = ((container.get("resources") or {}).get("limits")) or {}
            if resource not in requests and resource not in limits:
                message = (
                    f"{hpa} measures {resource} utilization, but container {container.get('name')!r} of "
                    f"{target} has no {resource} request"
                )
                path = ("spec", "template", "spec", "containers", index)
                raise target.error(message, *path, fix=f"add resources.requests.{resource}")


def _utilization_resources(hpa: dict[str, Any]) -> list[str]:
    spec = hpa.get("spec") or {}
    if hpa.get("apiVersion") == "autoscaling/v1" or not spec.get("metrics"):
        return ["cpu"]
    found = []
    for metric in spec["metrics"]:
        source = metric.get("resource") or metric.get("containerResource") or {}
        if (source.get("target") or {}).get("type") == "Utilization":
            found.append(str(source.get("name")))
    return found


def _pod_spec(workload: dict[str, Any]) -> dict[str, Any]:
    spec = workload.get("spec") or {}
    if workload.get("kind") == "Pod":
        return dict(spec)
    return dict(((spec.get("template") or {}).get("spec")) or {})


def _check_commands(workload: Manifest) -> None:
    """Containers run as processes of this machine, so their programs must be installed here."""
    prefix: tuple[str | int, ...] = ("spec",) if workload.kind == "Pod" else ("spec", "template", "spec")
    spec = _pod_spec(workload.object)
    for section in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(section) or []):
            here = (*prefix, section, index)
            command = container.get("command")
            if not command:
                fix = f"add the image's entrypoint, e.g. command: [{container.get('name', 'program')}]"
                message = (
                    f"container {container.get('name')!r} has no command, and without a container runtime "
                    "the image's own entrypoint is not there"
                )
                raise workload.error(message, *here, fix=fix)
            _check_program(workload, str(command[0]), here)


def _check_program(workload: Manifest, program: str, here: tuple[str | int, ...]) -> None:
    if "$(" in program or shutil.which(program, path=program_path()) is not None:
        return
    fix = "install it (for a Python program: into the environment of wavetank), or give its full path"
    raise workload.error(f"command not found: {program}", *here, "command", fix=fix)


def program_path() -> str:
    """The search path of container commands: this interpreter's environment first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
