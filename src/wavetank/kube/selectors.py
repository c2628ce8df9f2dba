"""Label and field selectors: the string forms of the API's query parameters and the object form of specs.

Mirrors ``k8s.io/apimachinery/pkg/labels`` and ``pkg/fields``. ``parse_labels`` reads
``a=b,c!=d,e in (f,g),!h,i,j>5``; ``from_object`` reads ``{matchLabels, matchExpressions}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from wavetank.errors import InputError

__all__ = [
    "EVERYTHING", "NOTHING", "FieldSelector", "LabelSelector", "Requirement", "field_value", "from_labels",
    "from_object", "parse_fields", "parse_labels",
]  # fmt: skip

_TOKEN: Final = re.compile(r"\s*(?:(!=|==|=|<|>|!|\(|\)|,)|([A-Za-z0-9_./-]+))")
_OPERATORS: Final = {"=": "In", "==": "In", "!=": "NotIn", "<": "Lt", ">": "Gt"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; ``operator`` is In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        try:
            left, right = int(value or ""), int(self.values[0])
        except ValueError:
            return False
        return left > right if self.operator == "Gt" else left < right

    def __str__(self) -> str:
        match self.operator:
            case "In" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "NotIn" if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case "In" | "NotIn":
                return f"{self.key} {self.operator.lower()} ({','.join(sorted(self.values))})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case _:
                return f"{self.key}{'>' if self.operator == 'Gt' else '<'}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of ``requirements``; ``nothing`` matches no object at all (a nil selector in specs)."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        given = labels or {}
        for requirement in self.requirements:  # written out: this is the hottest loop of the controllers
            if requirement.operator == "In":
                if given.get(requirement.key) not in requirement.values:
                    return False
            elif not requirement.matches(given):
                return False
        return True

    @property
    def empty(self) -> bool:
        return not self.nothing and not self.requirements

    def __str__(self) -> str:
        return ",".join(str(r) for r in sorted(self.requirements, key=lambda r: r.key))


EVERYTHING: Final = LabelSelector()
NOTHING: Final = LabelSelector(nothing=True)


def from_labels(labels: Mapping[str, str] | None) -> LabelSelector:
    """A Service's or ReplicationController's map selector."""
    return LabelSelector(tuple(Requirement(k, "In", (str(v),)) for k, v in sorted((labels or {}).items())))


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """A ``LabelSelector`` of a spec: null matches nothing, {} everything."""
    if selector is None:
        return NOTHING
    found = list(from_labels(selector.get("matchLabels")).requirements)
    for expression in selector.get("matchExpressions") or ():
        operator = expression.get("operator", "")
        if operator not in {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"}:
            raise InputError(f'"{operator}" is not a valid label selector operator')
        values = tuple(str(v) for v in expression.get("values") or ())
        found.append(Requirement(str(expression.get("key", "")), operator, values))
    return LabelSelector(tuple(found))


@lru_cache(maxsize=2048)
def parse_labels(text: str) -> LabelSelector:
    """Read a ``labelSelector`` parameter. Raises InputError with the offending part."""
    tokens = _tokens(text)
    requirements: list[Requirement] = []
    position = 0
    while position < len(tokens):
        requirement, position = _requirement(tokens, position, text)
        requirements.append(requirement)
        if position < len(tokens):
            if tokens[position] != "," or position + 1 == len(tokens):
                raise _unparsable(text, tokens[position])
            position += 1
    return LabelSelector(tuple(requirements))


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise _unparsable(text, stripped[position:])
        tokens.append(match[1] or match[2])
        position = match.end()
    return tokens


def _unparsable(text: str, found: str) -> InputError:
    return InputError(f"unable to parse requirement: found '{found}' in label selector {text!r}")


def _is_word(token: str) -> bool:
    return token not in {"!=", "==", "=", "<", ">", "!", "(", ")", ","}


def _requirement(tokens: list[str], at: int, text: str) -> tuple[Requirement, int]:
    def token(i: int) -> str:
        return tokens[i] if i < len(tokens) else ""

    if token(at) == "!":
        if not _is_word(token(at + 1)) or not token(at + 1):
            raise _unparsable(text, token(at + 1))
        return Requirement(token(at + 1), "DoesNotExist"), at + 2
    key = token(at)
    if not key or not _is_word(key):
        raise _unparsable(text, key)
    operator = token(at + 1)
    if operator in ("", ","):
        return Requirement(key, "Exists"), at + 1
    if operator in ("in", "notin"):
        values, after = _set(tokens, at + 2, text)
        return Requirement(key, "In" if operator == "in" else "NotIn", values), after
    if operator in _OPERATORS:
        value = token(at + 2)
        if value in ("", ","):  # `a=` selects the empty value
            return Requirement(key, _OPERATORS[operator], ("",)), at + 2
        if not _is_word(value):
            raise _unparsable(text, value)
        return Requirement(key, _OPERATORS[operator], (value,)), at + 3
    raise _unparsable(text, operator)


def _set(tokens: list[str], at: int, text: str) -> tuple[tuple[str, ...], int]:
    if at >= len(tokens) or tokens[at] != "(":
        raise _unparsable(text, tokens[at] if at < len(tokens) else "")
    values: list[str] = []
    at += 1
    while at < len(tokens) and tokens[at] != ")":
        if tokens[at] != ",":
            values.append(tokens[at])
        at += 1
    if at == len(tokens):
        raise _unparsable(text, "")
    return tuple(values), at + 1


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions on fields by dotted path: (path, equal?, value)."""

    terms: tuple[tuple[str, bool, str], ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all((field_value(obj, path) == value) is equal for path, equal, value in self.terms)

    @property
    def empty(self) -> bool:
        return not self.terms

    def exact(self, path: str) -> str | None:
        """The value this selector demands of ``path``, or None: lets a list become a look-up."""
        return next((value for p, equal, value in self.terms if equal and p == path), None)


def field_value(obj: Mapping[str, Any], path: str) -> str:
    """The field as the API compares it: absent is "", booleans are ``true`` and ``false``."""
    found: Any = obj
    for step in path.split("."):
        if not isinstance(found, Mapping):
            return ""
        found = found.get(step)
    if found is None:
        return ""
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found)


_COMMON_FIELDS: Final = frozenset({"metadata.name", "metadata.namespace"})


@lru_cache(maxsize=2048)
def parse_fields(text: str, allowed: Callable[[str], bool] | None = None) -> FieldSelector:
    """Read a ``fieldSelector`` parameter; ``allowed`` tells which paths the resource supports."""
    terms: list[tuple[str, bool, str]] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.match(r"^([^=!]+?)(!=|==|=)(.*)$", part)
        if match is None:
            raise InputError(f"invalid selector: {text!r}; can't understand {part!r}")
        path = match[1].strip()
        if path not in _COMMON_FIELDS and allowed is not None and not allowed(path):
            raise InputError(f'field label not supported: "{path}"')
        terms.append((path, match[2] != "!=", match[3].strip()))
    return FieldSelector(tuple(terms))
