"""YAML with line numbers: the one reader of every file a user gives us.

Values come out as plain dicts, lists and scalars, as Kubernetes and Prometheus read them: ``yes``, ``no``,
``on`` and ``off`` are strings (YAML 1.2), duplicate keys are errors, timestamps stay strings. Beside the
value stands a table from key path to line, so that any later check can name the place. ``decode`` turns a
document into a msgspec Struct; unknown fields are errors that name the nearest valid field.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from wavetank.errors import InputError, Location, did_you_mean
from wavetank.limits import YAML_BYTES_MAX, YAML_DEPTH_MAX, YAML_NODES_MAX

__all__ = ["Document", "decode", "load_documents", "parse_documents"]

T = TypeVar("T")
KeyPath = tuple[str | int, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Composer(_Loader):  # type: ignore[misc]
    """Composes nodes; scalars resolve by YAML 1.2's core schema, as Go's yaml and JSON have it."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def _resolver(tag: str, pattern: str, first: Iterable[str]) -> None:
    _Composer.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


_resolver("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_resolver("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789")
_resolver(
    "float",
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "-+.0123456789",
)
_resolver("null", "~|null|Null|NULL|", ["~", "n", "N", ""])
_resolver("merge", "<<", "<")


_COLLECTION_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, its file, and the line of every key path (counting from 1).

    ``texts`` holds the written form of scalars that are not strings, for fields that are: Go's YAML reads
    ``version: 1.10`` into a string field as "1.10".
    """

    value: Any
    path: str
    line: int
    lines: dict[KeyPath, int] = field(repr=False)
    texts: dict[KeyPath, str] = field(repr=False, default_factory=dict)

    def at(self, *key_path: str | int) -> Location:
        """The place of a key path, or of its nearest parent that is written in the file."""
        path: KeyPath = key_path
        while path and path not in self.lines:
            path = path[:-1]
        return Location(self.path, self.lines.get(path, self.line))

    def error(self, message: str, *key_path: str | int, fix: str | None = None) -> InputError:
        return InputError(message, at=self.at(*key_path), fix=fix)


def load_documents(path: Path, *, name: str | None = None) -> list[Document]:
    """All documents of a file (empty ones left out). Raises InputError with the place."""
    shown = name or str(path)
    try:
        if path.stat().st_size > YAML_BYTES_MAX:
            raise InputError(f"file is larger than {YAML_BYTES_MAX} bytes", at=shown)
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text: {error.reason}", at=shown) from None
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", at=shown) from None
    return parse_documents(text, path=shown)


def parse_documents(text: str, *, path: str = "<text>") -> list[Document]:
    """All documents of a text (empty ones left out). Raises InputError with the place."""
    documents: list[Document] = []
    try:
        loader = _Composer(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                lines: dict[KeyPath, int] = {}
                builder = _Builder(path, lines)
                value = builder.build(node, ())
                if value is not None:
                    documents.append(Document(value, path, node.start_mark.line + 1, lines, builder.texts))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise InputError(
            f"not valid YAML: {error.problem or error.context}", at=Location(path, line)
        ) from None
    except yaml.YAMLError as error:
        raise InputError(f"not valid YAML: {' '.join(str(error).split())}", at=path) from None
    except RecursionError:
        raise InputError(f"nested deeper than {YAML_DEPTH_MAX} levels", at=path) from None
    return documents


class _Builder:
    """Turns composed nodes into values and notes lines; refuses duplicates, depth and alias bombs."""

    def __init__(self, path: str, lines: dict[KeyPath, int]) -> None:
        self._path = path
        self._lines = lines
        self.texts: dict[KeyPath, str] = {}
        self._count = 0

    def _fail(self, node: Any, message: str, fix: str | None = None) -> InputError:
        return InputError(message, at=Location(self._path, node.start_mark.line + 1), fix=fix)

    def build(self, node: Any, key_path: KeyPath) -> Any:
        self._count += 1
        if self._count > YAML_NODES_MAX:
            raise self._fail(node, f"more than {YAML_NODES_MAX} values after aliases are expanded")
        if len(key_path) > YAML_DEPTH_MAX:
            raise self._fail(node, f"nested deeper than {YAML_DEPTH_MAX} levels")
        self._lines.setdefault(key_path, node.start_mark.line + 1)
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTION_TAGS:
            raise self._fail(node, f"tag {node.tag!r} is not supported", fix="remove the tag")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key_path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*key_path, i)) for i, child in enumerate(node.value)]
        value = self._scalar(node)
        if value is not None and not isinstance(value, str):
            self.texts[key_path] = node.value
        return value

    def _mapping(self, node: Any, key_path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in sources:
                    value = self.build(source, key_path)
                    if not isinstance(value, dict):
                        raise self._fail(source, "only a mapping can be merged with <<")
                    merged = {**value, **merged}
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key_node.tag == "tag:yaml.org,2002:binary":
                key = self._binary(key_node)
            if not isinstance(key, str):
                raise self._fail(key_node, "a mapping key must be a plain value")
            if key in result:
                raise self._fail(key_node, f"key {key!r} is given twice", fix="remove one of the two")
            self._lines[(*key_path, key)] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, (*key_path, key))
        return {**merged, **result} if merged else result

    def _binary(self, node: Any) -> str:
        """Bytes as text; what is not UTF-8 becomes lone surrogates, which no check of names lets pass."""
        try:
            data = base64.b64decode("".join(node.value.split()), validate=True)
        except ValueError:
            raise self._fail(node, "!!binary value contains invalid base64 data") from None
        return data.decode("utf-8", "surrogateescape")

    def _scalar(self, node: Any) -> Any:
        tag, text = node.tag.rpartition(":")[2], node.value
        match tag:
            case "str" | "timestamp" | "!":
                return text
            case "binary":
                return self._binary(node)
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return _integer(text)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            case _:
                raise self._fail(node, f"tag {node.tag!r} is not supported", fix="remove the tag")


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    if digits.startswith("0o"):
        return int(text.replace("0o", ""), 8)
    if digits.startswith("0x"):
        return int(text, 16)
    if len(digits) > 1 and digits[0] == "0" and set(digits) <= set("01234567"):
        return int(text, 8)  # `defaultMode: 0644`: Go's yaml keeps YAML 1.1's octal
    return int(text, 10)


_AT = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")
_UNKNOWN = re.compile(r"^Object contains unknown field `([^`]*)`")
_MISSING = re.compile(r"^Object missing required field `([^`]*)`")


def decode(document: Document, kind: type[T], *, dec_hook: Callable[[type, Any], Any] | None = None) -> T:
    """Convert a document to a msgspec Struct declared with ``forbid_unknown_fields=True``.

    ``dec_hook`` makes values of types that msgspec does not know. Raises InputError with file, line and,
    for an unknown field, the nearest valid one.
    """
    try:
        return msgspec.convert(document.value, kind, strict=True, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        text = str(error)
        found = _AT.search(text)
        key_path: KeyPath = ()
        if found:
            text = text[: found.start()]
            key_path = tuple(
                name or int(index) for name, index in _STEP.findall(found.group(1)) if name or index
            )
        shown = ".".join(str(step) for step in key_path)
        if unknown := _UNKNOWN.match(text):
            name = unknown.group(1)
            fix = did_you_mean(name, _fields_at(kind, key_path))
            where = f" in {shown}" if shown else ""
            raise document.error(f"unknown field {name!r}{where}", *key_path, name, fix=fix) from None
        if missing := _MISSING.match(text):
            where = f" in {shown}" if shown else ""
            raise document.error(
                f"required field {missing.group(1)!r} is missing{where}", *key_path
            ) from None
        raise document.error(f"{shown}: {text}" if shown else text, *key_path) from None


def _fields_at(kind: Any, key_path: KeyPath) -> list[str]:
    """The field names valid at a key path of a Struct type; empty where they cannot be told."""
    info: Any = msgspec.inspect.type_info(kind)
    for step in key_path:
        info = _descend(info, step)
    return sorted({f.encode_name for struct in _structs(info) for f in struct.fields})


def _structs(info: Any) -> list[msgspec.inspect.StructType]:
    if isinstance(info, msgspec.inspect.StructType):
        return [info]
    if isinstance(info, msgspec.inspect.UnionType):
        return [s for member in info.types for s in _structs(member)]
    return []


def _descend(info: Any, step: str | int) -> Any:
    members = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    for member in members:
        if isinstance(member, msgspec.inspect.StructType):
            for struct_field in member.fields:
                if struct_field.encode_name == step:
                    return struct_field.type
        elif isinstance(member, msgspec.inspect.ListType) and isinstance(step, int):
            return member.item_type
        elif isinstance(member, msgspec.inspect.DictType):
            return member.value_type
    return None
