"""Checking rule files: ``promtool check rules``. Mirrors checkRules of cmd/promtool/main.go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wavetank.errors import InputError
from wavetank.monitoring.promtool.report import Lint, Report
from wavetank.monitoring.promtool.unknown_fields import without_unknown_fields
from wavetank.monitoring.rules.file import RuleFile, check_rule_documents
from wavetank.promql.options import ParserOptions
from wavetank.yamlfile import Document, load_documents, parse_documents

__all__ = ["check_rules", "check_rules_text"]


def check_rules(
    report: Report, paths: Sequence[Path], lint: Lint, options: ParserOptions, *, legacy: bool = False
) -> None:
    """Rule files; all that is wrong with each."""
    for path in paths:
        report.say(f"Checking {path}")
        try:
            documents = load_documents(path)
        except InputError as error:
            _fail(report, [error])
            continue
        _check(report, documents, lint, options, legacy)


def check_rules_text(report: Report, text: str, lint: Lint, options: ParserOptions) -> None:
    """Rules from standard input."""
    report.say("Checking standard input")
    try:
        documents = parse_documents(text, path="<stdin>")
    except InputError as error:
        _fail(report, [error])
        return
    _check(report, documents, lint, options, False)


def _fail(report: Report, errors: Sequence[InputError]) -> None:
    report.fail("  FAILED:")
    for error in errors:
        report.complain(str(error))


def _check(
    report: Report, documents: list[Document], lint: Lint, options: ParserOptions, legacy: bool
) -> None:
    if lint.ignore_unknown:
        documents = [without_unknown_fields(each, RuleFile) for each in documents]
    try:
        rules, errors = check_rule_documents(documents, legacy, options)
    except InputError as error:
        rules, errors = RuleFile(), [error]
    if errors:
        _fail(report, errors)
        return
    duplicates = _duplicates(rules) if lint.duplicates else []
    if duplicates:
        report.fail("  FAILED:", lint=True)
        report.complain(f"lint error {len(duplicates)} duplicate rule(s) found.")
        for name, labels in duplicates:
            report.complain(f"Metric: {name}\nLabel(s):" + "".join(f"\n\t{k}: {v}" for k, v in labels))
        report.complain("Might cause inconsistency while recording expressions")
    else:
        report.say(f"  SUCCESS: {sum(len(group.rules) for group in rules.groups)} rules found")
    report.say("")


_Rule = tuple[str, tuple[tuple[str, str], ...]]


def _duplicates(rules: RuleFile) -> list[_Rule]:
    """Names and labels that more than one rule has, each once, in order."""
    seen: set[_Rule] = set()
    twice: set[_Rule] = set()
    for group in rules.groups:
        for rule in group.rules:
            found = (rule.alert or rule.record, tuple(sorted({**group.labels, **rule.labels}.items())))
            (twice if found in seen else seen).add(found)
    return sorted(twice)
