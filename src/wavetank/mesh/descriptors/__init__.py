"""The Envoy API as descriptors in a pool of our own: JSON dict in, protobuf ``Any`` out.

The FileDescriptorSet is built by ``tools/build_envoy_descriptors.py`` from the PyPI package ``xds-protos``
and loaded on first use (about 0.15 s). ``json_format.ParseDict`` refuses unknown fields, so every dict we
send has been checked against the API before Envoy sees it. Resources newer than the descriptors go through
``xds.type.v3.TypedStruct``, which Envoy accepts in place of any ``typed_config``.
"""

from __future__ import annotations

import functools
import gzip
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

__all__ = ["TYPE_PREFIX", "message_class", "pack", "pool", "unpack"]

TYPE_PREFIX = "type.googleapis.com/"


@functools.cache
def pool() -> Any:
    """The private DescriptorPool with the Envoy API."""
    data = gzip.decompress(resources.files(__package__).joinpath("envoy.binpb.gz").read_bytes())
    files = descriptor_pb2.FileDescriptorSet.FromString(data)
    result = descriptor_pool.DescriptorPool()
    for file in files.file:
        result.Add(file)
    return result


@functools.cache
def message_class(full_name: str) -> Any:
    """The message class of that protobuf name, e.g. ``envoy.service.discovery.v3.DiscoveryRequest``."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))


def pack(resource: dict[str, Any]) -> Any:
    """A ``google.protobuf.Any`` from a resource in JSON form with ``@type``.

    Raises google.protobuf.json_format.ParseError where a field is unknown or of the wrong type.
    """
    return json_format.ParseDict(resource, message_class("google.protobuf.Any")(), descriptor_pool=pool())


def unpack(message: Any) -> dict[str, Any]:
    """The JSON form, with the API's own (snake case) field names."""
    result: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, descriptor_pool=pool()
    )
    return result
