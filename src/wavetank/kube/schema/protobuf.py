"""Kubernetes' protobuf bodies to JSON objects, driven by the table of fields.

kubectl 1.32 and newer send typed creates this way: the magic ``k8s\\0``, then ``runtime.Unknown`` with the
TypeMeta and the message. Answers are always JSON, which every client accepts. Unknown field numbers are
skipped, as protobuf asks. Wire format: protobuf encoding (proto2), varint, 64-bit, length-delimited, 32-bit.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.schema.builtin import Field, fields_of, is_scalar, message_name
from wavetank.kube.status import bad_request
from wavetank.kube.times import format_micro_time, format_time
from wavetank.limits import KUBE_JSON_DEPTH_MAX

__all__ = ["MAGIC", "decode_protobuf"]

MAGIC: Final = b"k8s\x00"
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5


def decode_protobuf(data: bytes) -> Object:
    """A request body to an object with apiVersion and kind. Raises ApiError 400."""
    if not data.startswith(MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: its magic number is missing")
    try:
        return _unknown(data[len(MAGIC) :])
    except (IndexError, struct.error, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise bad_request(f"the body is not valid protobuf: {error}") from None


def _unknown(data: bytes) -> Object:
    api_version = kind = ""
    raw = b""
    for number, _, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            for inner, _, text in _fields(value):
                if inner == 1 and isinstance(text, bytes):
                    api_version = text.decode()
                elif inner == 2 and isinstance(text, bytes):
                    kind = text.decode()
        elif number == 2 and isinstance(value, bytes):
            raw = value
    group, _, version = api_version.rpartition("/")
    message = message_name(group, version, kind)
    if message is None:
        raise bad_request(f"protobuf bodies of kind {kind!r} in {api_version!r} are not supported: send JSON")
    return {"apiVersion": api_version, "kind": kind, **_message(message, raw, 0)}


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("field number 0")
        value: int | bytes
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire == _LEN:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("a field is longer than the message")
            value, at = data[at : at + size], at + size
        elif wire == _I64:
            value, at = data[at : at + 8], at + 8
        elif wire == _I32:
            value, at = data[at : at + 4], at + 4
        else:
            raise ValueError(f"wire type {wire}")
        yield number, wire, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise ValueError("a varint is longer than ten bytes")


@cache
def _by_number(message: str) -> dict[int, Field]:
    return {f.number: f for f in fields_of(message)}


def _message(message: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > KUBE_JSON_DEPTH_MAX:
        raise ValueError("messages are nested too deeply")
    known = _by_number(message)
    result: dict[str, Any] = {}
    for number, _, value in _fields(data):
        found = known.get(number)
        if found is None:
            continue
        if found.shape == "map":
            key, member = _entry(found, value, depth)
            result.setdefault(found.name, {})[key] = member
        elif found.shape == "list":
            result.setdefault(found.name, []).append(_value(found, value, depth))
        elif found.inline:
            result.update(_message(found.type, _bytes(value), depth + 1))
        else:
            decoded = _value(found, value, depth)
            if decoded is not None and not _is_zero(found, decoded):
                result[found.name] = decoded
    return result


def _is_zero(found: Field, value: Any) -> bool:
    """gogo's encoder writes the zero of every field that is not a pointer; JSON leaves out optional ones."""
    if "pointer" in found.options or "required" in found.options:
        return False
    return value == "" or value is False or (value == 0 and isinstance(value, int))


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a message was expected")
    return value


def _entry(found: Field, value: int | bytes, depth: int) -> tuple[str, Any]:
    key, member = "", None
    for number, _, part in _fields(_bytes(value)):
        if number == 1:
            key = _bytes(part).decode()
        elif number == 2:
            member = _value(found, part, depth)
    if member is None:
        member = "" if is_scalar(found.type) else {}
    return key, member


def _value(found: Field, value: int | bytes, depth: int) -> Any:
    match found.type:
        case "string":
            return _bytes(value).decode()
        case "bool":
            return bool(value)
        case "int32" | "int64":
            number = int.from_bytes(value, "little") if isinstance(value, bytes) else value
            return number - (1 << 64) if number >= 1 << 63 else number
        case "double":
            return struct.unpack("<d", _bytes(value))[0]
        case "bytes":
            return base64.b64encode(_bytes(value)).decode("ascii")
        case "quantity":
            return next((_bytes(v).decode() for n, _, v in _fields(_bytes(value)) if n == 1), "0")
        case "intstr":
            return _int_or_string(_bytes(value))
        case "time" | "microtime":
            return _time(_bytes(value), found.type)
        case "raw":
            return None
        case message:
            return _message(message, _bytes(value), depth + 1)


def _int_or_string(data: bytes) -> int | str:
    parts = {number: value for number, _, value in _fields(data)}
    if parts.get(1, 0) == 1:
        return _bytes(parts.get(3, b"")).decode()
    number = parts.get(2, 0)
    if isinstance(number, bytes):
        raise ValueError("an integer was expected")
    return number - (1 << 64) if number >= 1 << 63 else number


def _time(data: bytes, kind: str) -> str | None:
    parts = {number: value for number, _, value in _fields(data)}
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if isinstance(seconds, bytes) or isinstance(nanos, bytes):
        raise ValueError("a time was expected")
    if not seconds or seconds >= 1 << 40:
        return None  # Go's zero time lies before 1970
    return format_time(seconds) if kind == "time" else format_micro_time(seconds + nanos / 1e9)
