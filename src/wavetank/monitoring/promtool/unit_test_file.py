"""The file format of unit tests of rules: docs/configuration/unit_testing_rules.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from wavetank.errors import InputError
from wavetank.monitoring.config.decode import decode_section
from wavetank.monitoring.config.load import expand_glob
from wavetank.monitoring.config.values import Duration
from wavetank.monitoring.promtool.unknown_fields import without_unknown_fields
from wavetank.monitoring.rfc3339 import parse_time_ms
from wavetank.monitoring.rules.file import RuleFile, RuleGroupConfig, check_rule_documents
from wavetank.promql.options import ParserOptions
from wavetank.yamlfile import load_documents

__all__ = [
    "AlertCase",
    "ExpectedSample",
    "QueryCase",
    "TestFile",
    "TestGroup",
    "load_rules",
    "load_test_file",
]

_MINUTE: Final = Duration(60_000)


class _Struct(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class InputSeries(_Struct, frozen=True, kw_only=True):
    series: str
    values: str


class ExpectedAlert(_Struct, frozen=True, kw_only=True):
    exp_labels: dict[str, str] = {}
    exp_annotations: dict[str, str] = {}


class AlertCase(_Struct, frozen=True, kw_only=True):
    eval_time: Duration = Duration(0)
    alertname: str = ""
    exp_alerts: list[ExpectedAlert] = []


class ExpectedSample(_Struct, frozen=True, kw_only=True):
    labels: str = ""
    value: float = 0.0
    histogram: str = ""


class QueryCase(_Struct, frozen=True, kw_only=True):
    expr: str
    eval_time: Duration = Duration(0)
    exp_samples: list[ExpectedSample] = []


class TestGroup(_Struct, frozen=True, kw_only=True):
    __test__ = False  # not one of pytest's

    name: str = ""
    interval: Duration | None = None
    start_timestamp: str = ""
    input_series: list[InputSeries] = []
    alert_rule_test: list[AlertCase] = []
    promql_expr_test: list[QueryCase] = []
    external_labels: dict[str, str] = {}
    external_url: str = ""

    @property
    def start_ms(self) -> int:
        """Raises InputError."""
        if not self.start_timestamp:
            return 0
        try:
            return parse_time_ms(self.start_timestamp)
        except ValueError as error:
            raise InputError(f"start_timestamp: {error}") from None


class TestFile(_Struct, frozen=True, kw_only=True):
    __test__ = False

    rule_files: list[str] = []
    evaluation_interval: Duration = _MINUTE
    group_eval_order: list[str] = []
    fuzzy_compare: bool = False
    tests: list[TestGroup] = []


def load_test_file(path: Path) -> TestFile:
    """Raises InputError for what is no test file."""
    documents = load_documents(path)
    file = decode_section(documents[0], TestFile) if documents else TestFile()
    seen: set[str] = set()
    for name in file.group_eval_order:
        if name in seen:
            raise InputError(f"group name repeated in evaluation order: {name}", at=path)
        seen.add(name)
    for group in file.tests:
        for case in group.alert_rule_test:
            if not case.alertname:
                where = f" (in TestGroup {group.name})" if group.name else ""
                raise InputError(
                    "an item under alert_rule_test misses required attribute alertname at eval_time "
                    f"{case.eval_time}{where}",
                    at=path,
                )
    return file


def load_rules(
    path: Path, file: TestFile, options: ParserOptions, ignore_unknown: bool, warn: Callable[[str], None]
) -> list[tuple[Path, RuleGroupConfig]]:
    """The groups of all rule files a test file names, in its order. Raises InputError."""
    found: list[tuple[Path, RuleGroupConfig]] = []
    for pattern in file.rule_files:
        names = expand_glob(path.parent / pattern)
        if not names:
            warn(f"  WARNING: no file match pattern {path.parent / pattern}")
        for name in names:
            documents = load_documents(name)
            if ignore_unknown:
                documents = [without_unknown_fields(each, RuleFile) for each in documents]
            rules, errors = check_rule_documents(documents, False, options)
            if errors:
                raise InputError("\n".join(map(str, errors)))
            found += [(name, group) for group in rules.groups]
    order = {name: i for i, name in enumerate(file.group_eval_order)}
    return sorted(found, key=lambda pair: order.get(pair[1].name, 0))
