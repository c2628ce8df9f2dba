"""Unit tests of rule files: ``promtool test rules``.

Mirrors cmd/promtool/unittest.go: the order of evaluation, what counts as equal, and the texts. Time is that
of the test: input series are laid out first, then groups run at every evaluation interval. Beyond upstream,
an expected NaN equals a NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wavetank.clock import Clock, VirtualClock
from wavetank.errors import CheckFailed, InputError
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels, braced
from wavetank.model.quoting import format_float, format_float_g, go_duration, quote
from wavetank.monitoring.promtool.alert_texts import Alerts, coloured, shown_alerts
from wavetank.monitoring.promtool.junit import Suite
from wavetank.monitoring.promtool.unit_test_file import (
    AlertCase,
    ExpectedSample,
    QueryCase,
    TestFile,
    TestGroup,
    load_rules,
    load_test_file,
)
from wavetank.monitoring.rules.alert import AlertState
from wavetank.monitoring.rules.file import RuleGroupConfig
from wavetank.monitoring.rules.group import Group, Surroundings
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.parser import ParseError, parse_metric
from wavetank.promql.promqltest.memory import MemoryStorage
from wavetank.promql.series_description import parse_series_description

__all__ = ["Choices", "run_test_file"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the flags say. ``complain`` takes lines for standard error: warnings, and what debugging shows."""

    options: EngineOptions
    run: re.Pattern[str] | None = None
    diff: bool = False
    debug: bool = False
    ignore_unknown: bool = False
    complain: Callable[[str], None] = print


@dataclass(frozen=True, slots=True)
class _Bench:
    """What one test group runs on."""

    file: TestFile
    group: TestGroup
    storage: MemoryStorage
    engine: Engine
    rules: Sequence[Group]
    start_ms: int
    diff: bool

    def query(self, text: str, ts_ms: int) -> list[tuple[Labels, float | FloatHistogram]]:
        result = self.engine.query_instant(self.storage, text, ts_ms)
        if result.type == "scalar":
            return [(Labels(), result.scalar)]
        return [(labels, value) for labels, _, value in result.vector()]


def run_test_file(path: Path, choices: Choices, suite: Suite, clock: Clock) -> list[str]:
    """The failures of a file's tests, as texts; none if all hold. The suite notes them too."""
    try:
        file = load_test_file(path)
        rules = load_rules(path, file, choices.options.parser, choices.ignore_unknown, choices.complain)
        suite.start(clock.now())
    except InputError as error:
        suite.abort(str(error))
        return [str(error)]
    problems: list[str] = []
    for i, group in enumerate(file.tests):
        if choices.run is not None and not choices.run.search(group.name):
            continue
        name = group.name or f"unnamed#{i}"
        suite.case(name)
        begin = clock.monotonic()
        if choices.debug:
            choices.complain(f"DEBUG: Starting test {name}")
        found: list[str] = []
        try:
            bench = _bench(file, group, _groups(rules, file, group), choices)
            found += _run(bench)
            if choices.debug:
                _dump(bench, choices.complain)
        except InputError as error:
            found.append(str(error))
        if choices.debug:
            took = go_duration(clock.monotonic() - begin)
            choices.complain(f"DEBUG: Test {name} finished, took {took}")
        for text in found:
            suite.fail(text)
        problems += found
    return problems


def _groups(rules: Sequence[tuple[Path, RuleGroupConfig]], file: TestFile, group: TestGroup) -> list[Group]:
    interval = int(group.interval or file.evaluation_interval)
    around = Surroundings(group.external_labels, group.external_url)
    return [Group.of(config, str(path), interval_ms=interval, around=around) for path, config in rules]


def _bench(file: TestFile, group: TestGroup, rules: Sequence[Group], choices: Choices) -> _Bench:
    """Input series laid out. Raises InputError for those that do not parse."""
    interval = int(group.interval or file.evaluation_interval)
    storage = MemoryStorage()
    for entry in group.input_series:
        try:
            labels, values = parse_series_description(f"{entry.series} {entry.values}")
        except ParseError as error:
            raise InputError(f"input series {entry.series}: {error.message}") from None
        for i, value in enumerate(values):
            if not value.omitted:
                storage.add(labels, group.start_ms + i * interval, value.value, value.histogram)
    options = replace(choices.options, subquery_step_ms=int(file.evaluation_interval))
    engine = Engine(options, VirtualClock(group.start_ms / 1000))
    return _Bench(file, group, storage, engine, rules, group.start_ms, choices.diff)


def _run(bench: _Bench) -> Iterator[str]:
    """Run the rules up to the last time a case asks for, checking alerts on the way; then the queries."""
    interval = int(bench.file.evaluation_interval)
    cases = sorted(bench.group.alert_rule_test, key=lambda case: case.eval_time)
    for offset in range(0, _last_ms(bench.group) + 1, interval):
        failed = list(_evaluate(bench, offset))
        yield from failed
        if failed:
            return
        for case in cases:
            if offset <= case.eval_time < offset + interval:
                yield from _check_alerts(bench, case)
    for query in bench.group.promql_expr_test:
        yield from _check_query(bench, query)


def _last_ms(group: TestGroup) -> int:
    times = [case.eval_time for case in group.alert_rule_test]
    return max([*times, *(case.eval_time for case in group.promql_expr_test)], default=0)


def _evaluate(bench: _Bench, offset_ms: int) -> Iterator[str]:
    now_ms = bench.start_ms + offset_ms
    for group in bench.rules:
        for index, entry in enumerate(group.rules):
            for labels, value in group.step(index, now_ms, bench.query):
                if isinstance(value, FloatHistogram):
                    bench.storage.add(labels, group.sampled_ms(now_ms), histogram=value)
                else:
                    bench.storage.add(labels, group.sampled_ms(now_ms), value)
            if entry.last_error:
                at = go_duration(now_ms / 1000)
                yield f"    rule: {entry.config.name}, time: {at}, err: {entry.last_error}"


def _check_alerts(bench: _Bench, case: AlertCase) -> Iterator[str]:
    expected = _sorted(
        [
            (Labels.of({**alert.exp_labels, "alertname": case.alertname}), Labels.of(alert.exp_annotations))
            for alert in case.exp_alerts
        ]
    )
    got = _sorted(
        [
            (alert.labels, Labels.of(alert.annotations))
            for group in bench.rules
            for rule in group.alert_rules
            if rule.config.alert == case.alertname
            for alert in rule.active.values()
            if alert.state is AlertState.FIRING
        ]
    )
    if got == expected:
        return
    name = f"    name: {bench.group.name},\n" if bench.group.name else ""
    head = f"{name}    alertname: {case.alertname}, time: {case.eval_time}, \n"
    if bench.diff:
        yield f"{head}        diff: {coloured(expected, got)}"
    else:
        yield f"{head}        exp:{shown_alerts(expected)}, \n        got:{shown_alerts(got)}"


def _sorted(alerts: Alerts) -> Alerts:
    return sorted(alerts, key=lambda pair: (pair[0].pairs, pair[1].pairs))


# --- queries


_Value = float | FloatHistogram
_Samples = list[tuple[Labels, _Value]]


def _check_query(bench: _Bench, case: QueryCase) -> Iterator[str]:
    place = f"    expr: {quote(case.expr)}, time: {case.eval_time},"
    try:
        result = bench.engine.query_instant(bench.storage, case.expr, bench.start_ms + case.eval_time)
        if result.type not in ("scalar", "vector"):
            raise CheckFailed("rule result is not a vector or scalar")
    except (CheckFailed, InputError) as error:
        yield f"{place} err: {error.message}"
        return
    try:
        expected = sorted(map(_expected, case.exp_samples), key=lambda pair: pair[0].pairs)
    except InputError as error:
        yield f"{place} err: {error.message}"
        return
    got: _Samples = [(Labels(), result.scalar)] if result.type == "scalar" else []
    if result.type == "vector":
        found = [(labels, value) for labels, _, value in result.vector()]
        got = sorted(found, key=lambda pair: pair[0].pairs)
    same = len(got) == len(expected) and all(
        a[0] == b[0] and _equal(a[1], b[1], bench.file.fuzzy_compare)
        for a, b in zip(got, expected, strict=True)
    )
    if not same:
        yield f"{place}\n        exp: {_shown(expected)}\n        got: {_shown(got)}"


def _expected(sample: ExpectedSample) -> tuple[Labels, _Value]:
    """Raises InputError."""
    text = sample.labels.strip()
    try:
        labels = Labels.of(parse_metric(text)) if text and text.replace(" ", "") != "{}" else Labels()
        if not sample.histogram:
            return labels, sample.value
        _, values = parse_series_description(f"m {sample.histogram}")
        if len(values) != 1:
            raise InputError(f"expected 1 value, got {len(values)}")
        if values[0].histogram is None:
            raise InputError(f"expected histogram, got {values[0].value}")
        return labels, values[0].histogram
    except InputError as error:
        raise InputError(f"labels {quote(sample.labels)}: {error.message}") from None


def _equal(a: _Value, b: _Value, fuzzy: bool) -> bool:
    if isinstance(a, FloatHistogram) or isinstance(b, FloatHistogram):
        both = isinstance(a, FloatHistogram) and isinstance(b, FloatHistogram)
        return both and str(a.compact()) == str(b.compact())  # type: ignore[union-attr]
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True
    return fuzzy and math.nextafter(a, b) == b  # the last bit may differ


def _shown(samples: _Samples) -> str:
    return ", ".join(f"{braced(labels)} {_value(value)}" for labels, value in samples) or "nil"


def _value(value: _Value) -> str:
    """Floats as Go's ``strconv`` has them with the verb E: 1E+00."""
    if isinstance(value, FloatHistogram):
        return value.test_expression()
    if not math.isfinite(value):
        return format_float_g(value)
    for precision in range(18):
        digits, _, exponent = f"{value:.{precision}E}".partition("E")
        if float(f"{digits}E{exponent}") == value:
            break
    return f"{digits}E{exponent[0]}{int(exponent[1:]):02d}"


def _dump(bench: _Bench, complain: Callable[[str], None]) -> None:
    """All series, input and recorded, up to the last time asked for."""
    end = _last_ms(bench.group) // 1000 + 1
    complain(f"DEBUG: Dump of all data (input_series and rules) at {go_duration(end)}:")
    text = f'{{__name__=~".+"}}[{end}s1ms]'
    result = bench.engine.query_instant(bench.storage, text, bench.start_ms + end * 1000)
    for labels, times, values, histograms in result.series():
        complain(f"{labels} =>")
        for i, at_ms in enumerate(times.tolist()):
            histogram = None if histograms is None else histograms[i]
            shown = format_float(float(values[i])) if histogram is None else str(histogram)
            complain(f"{shown} @[{at_ms}]")
