"""Checking Istio and Gateway API resources before anything is started.

Three sieves: the schema (form), each kind's own rules (sense), references and reachability over all
resources together. Every finding has Istio's code where it has one, the file and line, and a remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wavetank.errors import InputError, Location, did_you_mean
from wavetank.kube.client import Object
from wavetank.mesh import collect
from wavetank.mesh.model import Config
from wavetank.mesh.resources import GATEWAY_API_GROUP, ISTIO_GROUP, SERVED_VERSIONS
from wavetank.mesh.validation import references
from wavetank.mesh.validation.destination_rule import destination_rule_problems
from wavetank.mesh.validation.gateway import gateway_problems
from wavetank.mesh.validation.messages import Problem, problem
from wavetank.mesh.validation.references import Scene
from wavetank.mesh.validation.schema import known_kinds, schema_problems
from wavetank.mesh.validation.service_entry import http_route_problems, service_entry_problems
from wavetank.mesh.validation.shadowing import shadowing_problems
from wavetank.mesh.validation.virtual_service import virtual_service_problems
from wavetank.mesh.world import build_world, grouped
from wavetank.yamlfile import Document

__all__ = ["Finding", "Problem", "check_documents", "is_mesh_object", "validate_documents", "validate_object"]

_SENSE: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Iterator[Problem]]] = {
    (ISTIO_GROUP, "VirtualService"): virtual_service_problems,
    (ISTIO_GROUP, "Gateway"): gateway_problems,
    (ISTIO_GROUP, "DestinationRule"): destination_rule_problems,
    (ISTIO_GROUP, "ServiceEntry"): service_entry_problems,
    (GATEWAY_API_GROUP, "HTTPRoute"): http_route_problems,
}
_REFERENCES: Mapping[tuple[str, str], Callable[[Config, Scene], Iterator[Problem]]] = {
    (ISTIO_GROUP, "VirtualService"): references.virtual_service_references,
    (ISTIO_GROUP, "Gateway"): references.gateway_references,
    (ISTIO_GROUP, "DestinationRule"): references.destination_rule_references,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem and where in the user's files it stands."""

    problem: Problem
    at: Location
    object: str  # Kind/name

    def __str__(self) -> str:
        text = f"{self.at}: {self.problem.level} {self.problem.code}: {self.problem.message}"
        return f"{text}; {self.problem.fix}" if self.problem.fix else text


def _group(obj: Mapping[str, Any]) -> str:
    return str(obj.get("apiVersion") or "").rpartition("/")[0]


def is_mesh_object(obj: Mapping[str, Any]) -> bool:
    return _group(obj) in SERVED_VERSIONS


def validate_object(obj: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with one resource on its own: form first, sense only where the form is right.

    Objects of other API groups have nothing wrong with them here.
    """
    group = _group(obj)
    if group not in SERVED_VERSIONS:
        return []
    version = str(obj["apiVersion"]).rpartition("/")[2]
    if version not in SERVED_VERSIONS[group]:
        detail = f"{group} has no version {version!r}"
        return [
            problem(
                "SpecError", ("apiVersion",), detail=detail, fix=did_you_mean(version, SERVED_VERSIONS[group])
            )
        ]
    kind = str(obj.get("kind") or "")
    if kind not in known_kinds(group):
        detail = f"kind {kind!r} of {group} is not supported"
        return [problem("SpecError", ("kind",), detail=detail, fix=did_you_mean(kind, known_kinds(group)))]
    if not isinstance(obj.get("metadata"), dict) or not obj["metadata"].get("name"):
        return [problem("SpecError", ("metadata",), detail="metadata.name is required")]
    found = list(schema_problems(group, obj))
    sense = _SENSE.get((group, kind))
    if sense is not None and not found:
        found += sense(obj.get("spec") or {})
    return found


def validate_documents(documents: Iterable[Document]) -> list[Finding]:
    """Check all resources on their own and against each other, in the order of the documents.

    Documents of other kinds (Services, Deployments, Secrets) are what references are looked up in.
    """
    given = [d for d in documents if isinstance(d.value, dict)]
    own = {id(d): validate_object(d.value) for d in given}
    sound = [d for d in given if not any(p.is_error for p in own[id(d)]) and _is_object(d.value)]
    sound_ids = {id(d) for d in sound}
    scene = _scene([d.value for d in sound])
    findings = []
    for document in given:
        problems = list(own[id(document)])
        if id(document) in sound_ids:
            problems += _together(document.value, scene)
        name = f"{document.value.get('kind')}/{_name(document.value)}"
        findings += [Finding(p, document.at(*p.path), name) for p in problems]
    return findings


def check_documents(documents: Iterable[Document]) -> list[Finding]:
    """As ``validate_documents``; returns warnings and hints. Raises InputError for the first error."""
    findings = validate_documents(documents)
    for finding in findings:
        if finding.problem.is_error:
            text = f"{finding.object}: {finding.problem.message}"
            raise InputError(text, at=finding.at, fix=finding.problem.fix)
    return findings


def _is_object(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("metadata"), dict) and bool(value["metadata"].get("name"))


def _name(value: Mapping[str, Any]) -> str:
    metadata = value.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def _scene(objects: list[Object]) -> Scene:
    kinds = grouped(objects)
    templates: dict[str, list[Mapping[str, str]]] = {}
    for obj in objects:
        metadata = ((obj.get("spec") or {}).get("template") or {}).get("metadata") or {}
        if obj.get("kind") == "Pod":
            metadata = obj["metadata"]
        if metadata.get("labels"):
            namespace = str(obj["metadata"].get("namespace") or "default")
            templates.setdefault(namespace, []).append(metadata["labels"])
    parents = tuple(kinds.get((GATEWAY_API_GROUP, "Gateway"), ()))
    return Scene(build_world(objects), templates, parents)


def _together(obj: Object, scene: Scene) -> Iterator[Problem]:
    key = (_group(obj), str(obj.get("kind")))
    check = _REFERENCES.get(key)
    if check is not None:
        yield from check(collect.config(obj), scene)
    if key == (ISTIO_GROUP, "VirtualService"):
        yield from shadowing_problems((obj.get("spec") or {}).get("http") or ())
    elif key == (GATEWAY_API_GROUP, "HTTPRoute"):
        yield from references.http_route_references(obj, scene)
    elif key == ("", "Service"):
        yield from _port_names(obj)


def _port_names(service: Object) -> Iterator[Problem]:
    found = collect.kube_service(service)
    for index, port in enumerate(found.ports if found else ()):
        if port.protocol == "AUTO":
            path = ("spec", "ports", index)
            name = service["metadata"]["name"]
            yield problem("PortName", path, service=name, port=port.number, name=port.name)
