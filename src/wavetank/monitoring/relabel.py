"""Relabelling: rules that rewrite, keep or drop label sets.

Mirrors prometheus/model/relabel: every action, its validation and the upstream error texts. Expressions
are RE2 and anchored; ``replacement`` and, for ``replace``, ``target_label`` are templates in the syntax of
Go's ``regexp.Expand``. Rules apply in order, each to the output of the one before.
"""

from __future__ import annotations

import hashlib
import re as _re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from wavetank.model.labels import compile_regex

__all__ = ["RelabelConfig", "Relabeling", "check_relabel", "relabel", "valid_label_name"]

_DEFAULT_REGEX: Final = "(.*)"
_DEFAULT_REPLACEMENT: Final = "$1"
_DEFAULT_SEPARATOR: Final = ";"
_ACTIONS: Final = frozenset(
    {"replace", "keep", "drop", "keepequal", "dropequal", "hashmod"}
    | {"labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"}
)
_TARGETED: Final = frozenset({"replace", "keepequal", "dropequal", "hashmod", "lowercase", "uppercase"})
_FIXED_TARGET: Final = frozenset({"keepequal", "dropequal", "lowercase", "uppercase"})
_LEGACY_LABEL: Final = _re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_VARIABLE: Final = _re.compile(r"\$(?:\$|([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})")


class RelabelConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One rule as the file has it."""

    source_labels: list[str] = []
    separator: str = _DEFAULT_SEPARATOR
    regex: str = _DEFAULT_REGEX
    modulus: int = 0
    target_label: str = ""
    replacement: str = _DEFAULT_REPLACEMENT
    action: str = "replace"


def valid_label_name(name: str, legacy: bool = False) -> bool:
    """Whether a label may have this name: any text, or only the classic alphabet."""
    if legacy:
        return _LEGACY_LABEL.fullmatch(name) is not None
    return bool(name) and (name.isascii() or is_utf8(name))


def is_utf8(text: str) -> bool:
    """Whether the text can be written as UTF-8: bytes that could not be read are lone surrogates in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_relabel(rule: RelabelConfig, legacy: bool = False) -> None:
    """Raises ValueError, in upstream's words, for a rule that makes no sense."""
    action = rule.action.lower()
    if action == "":
        raise ValueError("relabel action cannot be empty")
    if action not in _ACTIONS:
        raise ValueError(f'unknown relabel action "{rule.action}"')
    compile_regex(rule.regex)
    if action == "hashmod" and rule.modulus == 0:
        raise ValueError("relabel configuration for hashmod requires non-zero modulus")
    if rule.modulus < 0:
        raise ValueError("modulus must not be negative")
    if action in _TARGETED and not rule.target_label:
        raise ValueError(f"relabel configuration for {action} action requires 'target_label' value")
    _check_target(rule, action, legacy)
    if action in _FIXED_TARGET and rule.replacement != _DEFAULT_REPLACEMENT:
        raise ValueError(f"'replacement' can not be set for {action} action")
    _check_lone_fields(rule, action)


def _check_target(rule: RelabelConfig, action: str, legacy: bool) -> None:
    templated = "$" in rule.target_label
    if action == "replace":
        shape = _VARIABLE.sub("_", rule.target_label) if templated else rule.target_label
        bad = legacy and not valid_label_name(shape, legacy)
    else:
        bad = action in _TARGETED and not valid_label_name(rule.target_label, legacy)
    if bad:
        raise ValueError(f"\"{rule.target_label}\" is invalid 'target_label' for {action} action")
    if action == "labelmap" and legacy and not valid_label_name(_VARIABLE.sub("_", rule.replacement), legacy):
        raise ValueError(f"\"{rule.replacement}\" is invalid 'replacement' for labelmap action")


def _check_lone_fields(rule: RelabelConfig, action: str) -> None:
    other = (
        rule.modulus != 0 or rule.separator != _DEFAULT_SEPARATOR or rule.replacement != _DEFAULT_REPLACEMENT
    )
    if action in ("keepequal", "dropequal") and (other or rule.regex != _DEFAULT_REGEX):
        raise ValueError(
            f"{action} action requires only 'source_labels' and `target_label`, and no other fields"
        )
    if action in ("labeldrop", "labelkeep") and (other or rule.source_labels or rule.target_label):
        raise ValueError(f"{action} action requires only 'regex', and no other fields")


Labels = dict[str, str]
_Template = Callable[[Any], str]


@lru_cache(maxsize=4096)
def _template(text: str) -> _Template:
    """A function from a match to the expanded text."""
    if "$" not in text:
        return lambda _match: text
    parts: list[str | int | tuple[str]] = []
    end = 0
    for found in _VARIABLE.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        name = found.group(1) or found.group(2)
        parts.append("$" if name is None else int(name) if name.isdigit() else (name,))
    parts.append(text[end:])

    def expand(match: Any) -> str:
        return "".join(part if isinstance(part, str) else _group(match, part) for part in parts)

    return expand


def _group(match: Any, key: int | tuple[str]) -> str:
    """A group's text; a group that does not exist, or took no part, is empty, as in Go."""
    try:
        return match.group(key if isinstance(key, int) else key[0]) or ""
    except (IndexError, KeyError):
        return ""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule with its expression compiled."""

    config: RelabelConfig
    action: str
    regex: Any
    target: _Template
    replacement: _Template
    legacy: bool

    def apply(self, labels: Labels) -> bool:
        """Rewrite ``labels`` in place; False drops them."""
        config = self.config
        joined = config.separator.join([labels.get(name, "") for name in config.source_labels])
        match self.action:
            case "replace":
                self._replace(labels, joined)
            case "keep":
                return self.regex.search(joined) is not None
            case "drop":
                return self.regex.search(joined) is None
            case "keepequal":
                return labels.get(config.target_label, "") == joined
            case "dropequal":
                return labels.get(config.target_label, "") != joined
            case "lowercase":
                _put(labels, config.target_label, joined.lower())
            case "uppercase":
                _put(labels, config.target_label, joined.upper())
            case "hashmod":
                digest = hashlib.md5(joined.encode(), usedforsecurity=False).digest()
                labels[config.target_label] = str(int.from_bytes(digest[8:], "big") % config.modulus)
            case _:
                self._names(labels)
        return True

    def _replace(self, labels: Labels, joined: str) -> None:
        found = self.regex.search(joined)
        if found is None:
            return
        target = self.target(found)
        if valid_label_name(target, self.legacy):
            _put(labels, target, self.replacement(found))

    def _names(self, labels: Labels) -> None:
        """The actions on label names."""
        for name, value in list(labels.items()):
            found = self.regex.search(name)
            if self.action == "labelmap":
                if found is not None:
                    _put(labels, self.replacement(found), value)
            elif (found is not None) == (self.action == "labeldrop"):
                del labels[name]


def _put(labels: Labels, name: str, value: str) -> None:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


class Relabeling:
    """A compiled chain of rules. ``steps`` are for pages that show what each rule did."""

    __slots__ = ("_rules",)

    def __init__(self, configs: Sequence[RelabelConfig], *, legacy: bool = False) -> None:
        """Raises ValueError if a rule is not valid."""
        rules = []
        for config in configs:
            check_relabel(config, legacy)
            rules.append(
                _Rule(
                    config,
                    config.action.lower(),
                    compile_regex(config.regex),
                    _template(config.target_label),
                    _template(config.replacement),
                    legacy,
                )
            )
        self._rules = tuple(rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __call__(self, labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels | None:
        """A new label set, or None where a rule drops it."""
        result = dict(labels)
        for rule in self._rules:
            if not rule.apply(result):
                return None
        return result

    def steps(self, labels: Mapping[str, str]) -> list[tuple[RelabelConfig, Labels | None]]:
        """Each rule with the labels after it; the last is None where the rule dropped them."""
        result = dict(labels)
        shown: list[tuple[RelabelConfig, Labels | None]] = []
        for rule in self._rules:
            kept = rule.apply(result)
            shown.append((rule.config, dict(result) if kept else None))
            if not kept:
                break
        return shown


def relabel(labels: Mapping[str, str], configs: Sequence[RelabelConfig]) -> Labels | None:
    """Apply rules once; see ``Relabeling`` for rules that are applied often."""
    return Relabeling(configs)(labels)
