"""Rule files: groups of recording and alerting rules, strictly read.

Mirrors model/rulefmt of prometheus/prometheus, with its error texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from wavetank.errors import InputError
from wavetank.gotemplate.template import Template, TemplateError
from wavetank.monitoring.config.decode import decode_section
from wavetank.monitoring.config.values import Duration
from wavetank.monitoring.rules.functions import FUNCTION_NAMES
from wavetank.promql.options import ParserOptions
from wavetank.promql.parser import ParseError, parse_expr
from wavetank.yamlfile import Document, load_documents, parse_documents

__all__ = ["RuleConfig", "RuleFile", "RuleGroupConfig", "load_rule_file", "parse_rule_file"]

_LEGACY_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LEGACY_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class RuleConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    record: str = ""
    alert: str = ""
    expr: str = ""
    hold: Duration = msgspec.field(name="for", default=Duration(0))
    keep_firing_for: Duration = Duration(0)
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}

    @property
    def name(self) -> str:
        return self.record or self.alert


class RuleGroupConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    name: str = ""
    interval: Duration | None = None
    query_offset: Duration | None = None
    limit: int = 0
    labels: dict[str, str] = {}
    rules: list[RuleConfig] = []


class RuleFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    groups: list[RuleGroupConfig] = []


@dataclass(frozen=True, slots=True)
class _Checker:
    """Finds what is wrong with a file; errors are kept so that all of them can be shown."""

    document: Document
    legacy: bool
    options: ParserOptions
    errors: list[InputError]

    def add(self, message: str, *path: str | int) -> None:
        self.errors.append(self.document.error(message, *path))

    def file(self, rules: RuleFile) -> None:
        seen: set[str] = set()
        for i, group in enumerate(rules.groups):
            if not group.name:
                self.add("Groupname must not be empty", "groups", i)
            if group.name in seen:
                self.add(f'groupname: "{group.name}" is repeated in the same file', "groups", i, "name")
            seen.add(group.name)
            self.labels(group.labels, "groups", i, "labels")
            for j, rule in enumerate(group.rules):
                self.rule(rule, f'group "{group.name}", rule {j + 1}, "{rule.name}": ', i, j)

    def labels(self, labels: dict[str, str], *path: str | int, prefix: str = "") -> None:
        for name in labels:
            if name == "__name__" or not name or (self.legacy and not _LEGACY_LABEL.fullmatch(name)):
                self.add(f"{prefix}invalid label name: {name}", *path, name)

    def rule(self, rule: RuleConfig, prefix: str, i: int, j: int) -> None:
        path = ("groups", i, "rules", j)
        if rule.record and rule.alert:
            self.add(f"{prefix}only one of 'record' and 'alert' must be set", *path)
        if not rule.record and not rule.alert:
            self.add(f"{prefix}one of 'record' or 'alert' must be set", *path)
        if not rule.expr:
            self.add(f"{prefix}field 'expr' must be set in rule", *path)
        else:
            try:
                parse_expr(rule.expr, self.options)
            except ParseError as error:
                self.add(f"{prefix}could not parse expression: {error.message}", *path, "expr")
        if rule.record:
            self.recording(rule, prefix, path)
        self.labels(rule.labels, *path, "labels", prefix=prefix)
        for name in rule.annotations:
            if not name or (self.legacy and not _LEGACY_LABEL.fullmatch(name)):
                self.add(f"{prefix}invalid annotation name: {name}", *path, "annotations", name)
        if rule.alert:
            self.templates(rule, prefix, path)

    def recording(self, rule: RuleConfig, prefix: str, path: tuple[str | int, ...]) -> None:
        for field, value in (
            ("annotations", rule.annotations),
            ("for", rule.hold),
            ("keep_firing_for", rule.keep_firing_for),
        ):
            if value:
                self.add(f"{prefix}invalid field '{field}' in recording rule", *path, field)
        if self.legacy and not _LEGACY_NAME.fullmatch(rule.record):
            self.add(f"{prefix}invalid recording rule name: {rule.record}", *path, "record")
        elif "{" in rule.record:
            self.add(
                f"{prefix}braces present in the recording rule name; should it be in expr?: {rule.record}",
                *path,
                "record",
            )

    def templates(self, rule: RuleConfig, prefix: str, path: tuple[str | int, ...]) -> None:
        for section, texts in (("labels", rule.labels), ("annotations", rule.annotations)):
            for name, text in texts.items():
                try:
                    Template(text, functions=FUNCTION_NAMES)
                except TemplateError as error:
                    what = "label" if section == "labels" else "annotation"
                    self.add(f'{prefix}{what} "{name}": {error}', *path, section, name)


def load_rule_file(path: Path, *, legacy: bool = False, options: ParserOptions | None = None) -> RuleFile:
    """The groups of a file. Raises InputError for the first thing that is wrong."""
    return _first_or_raise(check_rule_documents(load_documents(path), legacy, options))


def parse_rule_file(
    text: str, *, path: str = "<rules>", legacy: bool = False, options: ParserOptions | None = None
) -> RuleFile:
    """As ``load_rule_file``, from a text."""
    return _first_or_raise(check_rule_documents(parse_documents(text, path=path), legacy, options))


def _first_or_raise(result: tuple[RuleFile, list[InputError]]) -> RuleFile:
    rules, errors = result
    if errors:
        raise errors[0]
    return rules


def check_rule_documents(
    documents: list[Document], legacy: bool, options: ParserOptions | None
) -> tuple[RuleFile, list[InputError]]:
    """The groups of a file and all that is wrong with it. Raises InputError if its shape is wrong."""
    if not documents:
        return RuleFile(), []
    if len(documents) > 1:
        raise documents[1].error("a rule file holds one YAML document, this one holds more")
    rules = decode_section(documents[0], RuleFile)
    errors: list[InputError] = []
    _Checker(documents[0], legacy, options or ParserOptions(), errors).file(rules)
    return rules, errors
