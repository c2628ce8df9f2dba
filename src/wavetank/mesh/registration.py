"""Registers the mesh's kinds with the API server: all versions, and validation at admission."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

from wavetank.kube.client import Object, Resource
from wavetank.kube.registry import Conversion, Kind, Registry
from wavetank.kube.status import FieldError
from wavetank.mesh.resources import ALL_RESOURCES, SERVED_VERSIONS
from wavetank.mesh.validation import validate_object

__all__ = ["register_mesh"]


def register_mesh(registry: Registry) -> None:
    """Serve Istio's networking kinds and the Gateway API, refusing what Istio's webhook would refuse."""
    for resource in ALL_RESOURCES:
        versions = [v for v in SERVED_VERSIONS[resource.group] if v != resource.version]
        conversions = [_conversion(resource, version) for version in versions]
        registry.add(Kind(resource, validate=_errors, custom=True), *conversions)


def _conversion(stored: Resource, version: str) -> Conversion:
    served = replace(stored, version=version)
    return Conversion(
        served,
        stored,
        functools.partial(_in_version, stored.api_version),
        functools.partial(_in_version, served.api_version),
    )


def _in_version(api_version: str, obj: Object) -> Object:
    """Istio's versions, and the Gateway API's, differ in nothing but their name."""
    return {**obj, "apiVersion": api_version}


def _errors(obj: Object) -> Iterator[FieldError]:
    for found in validate_object(obj):
        if found.is_error:
            text = f"{found.message}; {found.fix}" if found.fix else found.message
            yield FieldError(found.field, "FieldValueInvalid", f"Invalid value: {text}")
