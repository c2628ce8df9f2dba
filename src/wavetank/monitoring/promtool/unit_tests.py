"""Unit tests of rule files.

Mirrors cmd/promtool/unittest.go: the file format, the order of evaluation, and what counts as equal. Time is
that of the test: input series are laid out first, then groups run at every evaluation interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from wavetank.clock import VirtualClock
from wavetank.errors import CheckFailed, InputError
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.config.decode import decode_section
from wavetank.monitoring.config.load import expand_glob
from wavetank.monitoring.config.values import Duration, format_duration
from wavetank.monitoring.rfc3339 import parse_time_ms
from wavetank.monitoring.rules.alert import AlertState
from wavetank.monitoring.rules.file import load_rule_file
from wavetank.monitoring.rules.group import Group, Surroundings
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.parser import ParseError, parse_metric
from wavetank.promql.promqltest.memory import MemoryStorage
from wavetank.promql.series_description import parse_series_description
from wavetank.yamlfile import load_documents

__all__ = ["run_test_file"]

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


class TestFile(_Struct, frozen=True, kw_only=True):
    __test__ = False

    rule_files: list[str] = []
    evaluation_interval: Duration = _MINUTE
    group_eval_order: list[str] = []
    fuzzy_compare: bool = False
    start_timestamp: str = ""
    tests: list[TestGroup] = []


@dataclass(frozen=True, slots=True)
class _Bench:
    """What one test group runs on."""

    file: TestFile
    group: TestGroup
    storage: MemoryStorage
    engine: Engine
    rules: Sequence[Group]
    start_ms: int

    def query(self, text: str, ts_ms: int) -> list[tuple[Labels, float]]:
        result = self.engine.query_instant(self.storage, text, ts_ms)
        if result.type == "scalar":
            return [(Labels(), result.scalar)]
        return [(labels, value) for labels, _, value in result.vector() if isinstance(value, float)]


def run_test_file(path: Path, options: EngineOptions, run: Sequence[str] = ()) -> list[str]:
    """The failures of a file's tests, as text; none if all hold. ``run`` names the test groups to run.

    Raises InputError for a file that is no test file or names rules that do not load.
    """
    documents = load_documents(path)
    if not documents:
        raise InputError("the file is empty", at=path)
    file = decode_section(documents[0], TestFile)
    problems: list[str] = []
    for group in file.tests:
        if run and not any(name in group.name for name in run):
            continue
        found = list(_run_group(path, file, group, options))
        if found:
            title = f"    name: {group.name}," if group.name else ""
            problems += ([title] if title else []) + found
    return problems


def _run_group(path: Path, file: TestFile, group: TestGroup, options: EngineOptions) -> Iterator[str]:
    start_ms = _start(group.start_timestamp or file.start_timestamp)
    interval = int(file.evaluation_interval)
    storage = MemoryStorage()
    _fill(storage, group, int(group.interval or interval), start_ms, path)
    engine = Engine(replace(options, subquery_step_ms=interval), VirtualClock(start_ms / 1000))
    bench = _Bench(file, group, storage, engine, _load_rules(path, file, group), start_ms)
    yield from _evaluate(bench)
    for case in group.promql_expr_test:
        yield from _check_query(bench, case)


def _start(text: str) -> int:
    if not text:
        return 0
    try:
        return parse_time_ms(text)
    except ValueError as error:
        raise InputError(f"start_timestamp: {error}") from None


def _fill(storage: MemoryStorage, group: TestGroup, interval_ms: int, start_ms: int, path: Path) -> None:
    for entry in group.input_series:
        try:
            labels, values = parse_series_description(f"{entry.series} {entry.values}")
        except ParseError as error:
            raise InputError(f"input series {entry.series}: {error.message}", at=path) from None
        for i, value in enumerate(values):
            if not value.omitted:
                storage.add(labels, start_ms + i * interval_ms, value.value, value.histogram)


def _load_rules(path: Path, file: TestFile, group: TestGroup) -> list[Group]:
    around = Surroundings(group.external_labels, group.external_url)
    groups: list[Group] = []
    for pattern in file.rule_files:
        found = expand_glob(path.parent / pattern)
        if not found:
            raise InputError(f"no rule file matches {pattern!r}", at=path)
        for name in found:
            groups += [
                Group.of(config, str(name), interval_ms=int(file.evaluation_interval), around=around)
                for config in load_rule_file(name).groups
            ]
    order = {name: i for i, name in enumerate(file.group_eval_order)}
    return sorted(groups, key=lambda g: order.get(g.name, len(order)))


def _evaluate(bench: _Bench) -> Iterator[str]:
    """Run the rules up to the last time a case asks for, and check alerts on the way."""
    interval = int(bench.file.evaluation_interval)
    cases = sorted(bench.group.alert_rule_test, key=lambda case: case.eval_time)
    times = [int(c.eval_time) for c in cases] + [int(c.eval_time) for c in bench.group.promql_expr_test]
    failed: set[str] = set()
    for offset in range(0, max(times, default=0) + 1, interval):
        now_ms = bench.start_ms + offset
        for group in bench.rules:
            for index, entry in enumerate(group.rules):
                for labels, value in group.step(index, now_ms, bench.query):
                    bench.storage.add(labels, now_ms, value)
                if entry.last_error and entry.config.name not in failed:
                    failed.add(entry.config.name)
                    yield f"    rule: {entry.config.name}, time: {_shown(offset)}, err: {entry.last_error}"
        for case in cases:
            if offset <= case.eval_time < offset + interval:
                yield from _check_alerts(bench, case)


def _shown(offset_ms: int) -> str:
    return format_duration(offset_ms)


def _check_alerts(bench: _Bench, case: AlertCase) -> Iterator[str]:
    got = _firing(bench, case.alertname)
    expected = sorted(
        (
            (Labels.of({**alert.exp_labels, "alertname": case.alertname}), dict(alert.exp_annotations))
            for alert in case.exp_alerts
        ),
        key=lambda pair: pair[0].pairs,
    )
    if got != expected:
        yield (
            f"    alertname: {case.alertname}, time: {_shown(case.eval_time)}, \n"
            f"        exp:{_alerts_text(expected)}, \n        got:{_alerts_text(got)}"
        )


_Alerts = list[tuple[Labels, dict[str, str]]]


def _firing(bench: _Bench, name: str) -> _Alerts:
    found = [
        (alert.labels, dict(alert.annotations))
        for group in bench.rules
        for rule in group.alert_rules
        if rule.config.alert == name
        for alert in rule.active.values()
        if alert.state is AlertState.FIRING
    ]
    return sorted(found, key=lambda pair: pair[0].pairs)


def _alerts_text(alerts: _Alerts) -> str:
    if not alerts:
        return "[]"
    lines = [
        f"\n            {i}:\n              Labels:{labels}\n"
        f"              Annotations:{Labels.of(annotations)}"
        for i, (labels, annotations) in enumerate(alerts)
    ]
    return "[" + "".join(lines) + "\n            ]"


_Value = float | FloatHistogram


def _check_query(bench: _Bench, case: QueryCase) -> Iterator[str]:
    place = f'    expr: "{case.expr}", time: {_shown(case.eval_time)},'
    try:
        result = bench.engine.query_instant(bench.storage, case.expr, bench.start_ms + case.eval_time)
        expected = sorted(map(_expected, case.exp_samples), key=lambda pair: pair[0].pairs)
    except (CheckFailed, InputError) as error:
        yield f"{place} err: {error.message}"
        return
    got: list[tuple[Labels, _Value]]
    if result.type == "scalar":
        got = [(Labels(), result.scalar)]
    else:
        found = [(labels, value) for labels, _, value in result.vector()]
        got = sorted(found, key=lambda pair: pair[0].pairs)
    same = len(got) == len(expected) and all(
        a[0] == b[0] and _equal(a[1], b[1], bench.file.fuzzy_compare)
        for a, b in zip(got, expected, strict=True)
    )
    if not same:
        yield f"{place}\n        exp: {_samples_text(expected)}\n        got: {_samples_text(got)}"


def _expected(sample: ExpectedSample) -> tuple[Labels, _Value]:
    text = sample.labels.strip()
    labels = Labels.of(parse_metric(text)) if text and text.replace(" ", "") != "{}" else Labels()
    if not sample.histogram:
        return labels, sample.value
    _, (value, *_rest) = parse_series_description(f"m {sample.histogram}")
    assert value.histogram is not None
    return labels, value.histogram


def _equal(a: _Value, b: _Value, fuzzy: bool) -> bool:
    if isinstance(a, FloatHistogram) or isinstance(b, FloatHistogram):
        both = isinstance(a, FloatHistogram) and isinstance(b, FloatHistogram)
        return both and str(a.compact()) == str(b.compact())  # type: ignore[union-attr]
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True
    return fuzzy and math.nextafter(a, b) == b  # the last bit may differ


def _samples_text(samples: Sequence[tuple[Labels, _Value]]) -> str:
    return ", ".join(f"{labels} {value}" for labels, value in samples) or "nil"
