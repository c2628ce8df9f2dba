"""``wavetank promtool`` as kingpin's command line: flags anywhere, texts, streams, and what each flag does."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wavetank.cli.promtool import command
from wavetank.clock import RealClock
from wavetank.model.labels import Labels
from wavetank.monitoring.promtool.push import MESSAGES, Receiver, write_request
from wavetank.monitoring.promtool.unit_tests import Choices
from wavetank.monitoring.remote.messages import Request, WriteRequest
from wavetank.promql.context import EngineOptions
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

DATA = Path(__file__).parent / "data" / "promtool"


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(command, list(arguments), input=stdin)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("check foo", 'expected command but got "foo"'),
        ("check", "must select a subcommand of 'check'"),
        ("--foo", "unknown long flag '--foo'"),
        ("check rules -z x", "unknown short flag '-z'"),
        ("query instant http://127.0.0.1:1", "required argument 'expr' not provided"),
        ("query series http://127.0.0.1:1", "required flag --match not provided"),
        ("check config /none.yml", "path '/none.yml' does not exist"),
        ("push metrics --label=x http://127.0.0.1:1", "expected KEY=VALUE got 'x' for --label"),
        ("help nothing", 'expected command but got "nothing"'),
    ],
)
def test_what_is_wrong_with_a_command_line(line: str, text: str) -> None:
    result = run(*line.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"promtool: error: {text}, try --help\n"


def test_help() -> None:
    assert run().exit_code == run("help").exit_code == run("--help").exit_code == 0
    assert "--ignore-unknown-fields" in run("help", "check", "rules").stdout


@pytest.mark.parametrize(
    "line",
    [
        "promql format a+b",
        "--experimental promql format a+b",
        "promql format a+b --experimental",
        "promql format --enable-feature= a+b",
        "promql format -- a+b",
    ],
)
def test_a_flag_may_stand_anywhere(line: str) -> None:
    assert run(*line.split()).output == "a + b\n"


def test_features() -> None:
    assert run("promql", "format", "sort_by_label(a)").exit_code == 1
    feature = "--enable-feature=promql-experimental-functions,what"
    result = run(feature, "promql", "format", 'sort_by_label(a,"b")')
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        ["  WARNING: Unknown feature passed to --enable-feature: what", 'sort_by_label(a, "b")'],
    )


def test_rules_from_standard_input() -> None:
    result = run("check", "rules", stdin=(DATA / "rules.yml").read_text())
    assert (result.exit_code, result.stdout) == (
        0,
        "Checking standard input\n  SUCCESS: 5 rules found\n\n",
    )
    assert run("check", "rules", "--lint-fatal", stdin="groups: [").exit_code == 1
    twice = "groups: [{name: a, rules: [{record: r, expr: x}, {record: r, expr: y}, {record: r, expr: z}]}]"
    assert "lint error 1 duplicate rule(s) found.\nMetric: r" in run("check", "rules", stdin=twice).stderr
    assert run("check", "rules", "--lint-fatal", stdin=twice).exit_code == 3
    assert run("check", "rules", "--lint-fatal", "--no-lint-fatal", stdin=twice).exit_code == 0


def test_the_linter_of_metrics() -> None:
    body = """
# HELP a x
# TYPE a counter
a 1
# TYPE b_total gauge
b_total{le="1"} 1
# HELP camelCase
# TYPE camelCase gauge
camelCase{badLabel="x"} 1
# HELP d_milliseconds_gauge x
# TYPE d_milliseconds_gauge gauge
d_milliseconds_gauge 1
d_milliseconds_gauge 2
# HELP e_ms x
# TYPE e_ms summary
e_ms{quantile="0.5"} 1
e_ms_sum 1
e_ms_count 1
f:x 1
"""
    result = run("check", "metrics", stdin=body)
    assert (result.exit_code, result.stdout, result.stderr.splitlines()) == (
        3,
        "",
        [
            'a counter metrics should have "_total" suffix',
            "b_total no help text",
            'b_total non-counter metrics should not have "_total" suffix',
            'b_total non-histogram metrics should not have "le" label',
            "camelCase label names should be written in 'snake_case' not 'camelCase'",
            "camelCase metric names should be written in 'snake_case' not 'camelCase'",
            "d_milliseconds_gauge metric name should not include type 'gauge'",
            "d_milliseconds_gauge metric not unique",
            'd_milliseconds_gauge use base unit "seconds" instead of "milliseconds"',
            "e_ms metric names should not contain abbreviated units",
            "f:x metric names should not contain ':'",
            "f:x no help text",
        ],
    )
    result = run("check", "metrics", "--lint=none", stdin=body)
    assert (result.exit_code, "at least one of --extended" in result.stderr) == (1, True)
    result = run("check", "metrics", "--lint=none", "--extended", stdin=body)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()[:3]] == [
        ["Metric", "Cardinality", "Percentage"],
        ["e_ms", "3", "33.33%"],
        ["d_milliseconds_gauge", "2", "22.22%"],
    ]
    assert result.stdout.splitlines()[-1].split() == ["Total", "9", "100%"]


# --- unit tests of rules

TESTS = """
rule_files: [rules.yml]
tests:
- name: one
  input_series: [{series: 'm{a="x"}', values: 0 1 _x8 7}]
  promql_expr_test:
  - {expr: m, eval_time: 1m, exp_samples: [{labels: 'm{a="x"}', value: 1}]}
  alert_rule_test:
  - {eval_time: 1m, alertname: A, exp_alerts: [{exp_labels: {a: y}}]}
- name: two
  promql_expr_test: [{expr: vector(NaN), exp_samples: [{value: .nan}]}]
"""
RULES = "groups: [{name: g, owner: me, rules: [{alert: A, expr: m > 0}, {record: r, expr: m * 2}]}]"


@pytest.fixture
def tests(tmp_path: Path) -> str:
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "tests.yml").write_text(TESTS)
    return str(tmp_path / "tests.yml")


def test_fields_of_ones_own_in_rule_files(tests: str) -> None:
    result = run("test", "rules", tests)
    assert (result.exit_code, "unknown field 'owner'" in result.stderr) == (1, True)
    result = run("test", "rules", "--ignore-unknown-fields", tests)
    assert (result.exit_code, result.stdout) == (1, f"Unit Testing:  {tests}\n\n\n")
    assert result.stderr.splitlines() == [
        "  FAILED:",
        "    name: one,",
        "    alertname: A, time: 1m, ",
        "        exp:[",
        "            0:",
        '              Labels:{a="y", alertname="A"}',
        "              Annotations:{}",
        "            ], ",
        "        got:[",
        "            0:",
        '              Labels:{a="x", alertname="A"}',
        "              Annotations:{}",
        "            ]",
    ]


def test_a_regex_picks_test_groups(tests: str) -> None:
    assert run("test", "rules", "--ignore-unknown-fields", "--run=^tw", tests).exit_code == 0
    assert run("test", "rules", "--ignore-unknown-fields", "--run=x", "--run=n.", tests).exit_code == 1
    assert run("test", "rules", "--run=(", tests).exit_code == 1


def test_junit(tests: str, tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    run("test", "rules", "--ignore-unknown-fields", "--junit", str(path), tests)
    suite = ET.fromstring(path.read_bytes())[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (tests, "2", "1")
    assert [(case.get("name"), len(case)) for case in suite] == [("one", 1), ("two", 0)]
    run("test", "rules", "--junit", str(path), tests)
    suite = ET.fromstring(path.read_bytes())[0]
    assert (suite.get("errors"), suite[0].get("name"), suite[0][0].tag) == ("1", "unknown", "error")


def test_the_difference_in_colours(tests: str) -> None:
    result = run("test", "rules", "--ignore-unknown-fields", "--diff", tests)
    assert "\x1b[0;31m" in result.stderr
    assert "\x1b[0;32m" in result.stderr
    assert "diff: " in result.stderr


def test_debugging_dumps_what_was_recorded_too(tests: str) -> None:
    result = run("test", "rules", "--ignore-unknown-fields", "--debug", "--run=one", tests)
    assert "DEBUG: Starting test one" in result.stderr
    assert 'm{a="x"} =>\n0 @[0]\n1 @[60000]\n' in result.stderr
    assert 'r{a="x"} =>\n0 @[0]\n2 @[60000]\n' in result.stderr


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("group_eval_order: [a, a]", "group name repeated in evaluation order: a"),
        ("tests: [{alert_rule_test: [{eval_time: 5m}]}]", "misses required attribute alertname"),
        ("rule_files: [none.yml]", "  WARNING: no file match pattern"),
        ("start_timestamp: 5", "unknown field 'start_timestamp'"),
        ("tests: [{start_timestamp: x}]", "start_timestamp: "),
        ("tests: [{promql_expr_test: [{expr: '\"a\"'}]}]", "rule result is not a vector or scalar"),
        (
            "tests: [{promql_expr_test: [{expr: a, exp_samples: [{histogram: 5}]}]}]",
            'labels "": expected histogram, got 5',
        ),
    ],
)
def test_files_that_are_no_tests(tmp_path: Path, more: str, text: str) -> None:
    (tmp_path / "tests.yml").write_text(more)
    result = run("test", "rules", str(tmp_path / "tests.yml"))
    assert (result.exit_code, text in result.stderr) == (int("WARNING" not in text), True), result.stderr


def test_choices_have_defaults() -> None:
    assert Choices(EngineOptions()).run is None


# --- queries


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("set", "rate(a[5m]) / b", "x", "y"), 'rate(a{x="y"}[5m]) / b{x="y"}'),
        (("set", "-t", "=~", 'sum by (c) (a{x="1"})', "x", "y.*"), 'sum by (c) (a{x=~"y.*"})'),
        (("set", "a", "x", "y", "--type=!="), 'a{x!="y"}'),
        (("set", "a offset 5m", "__name__", "b"), '{__name__="b"} offset 5m'),
        (("delete", 'a{x="1",y="2"}[5m:1m]', "x"), 'a{y="2"}[5m:1m]'),
        (("delete", 'a{x="1",x!="2"}', "x"), "a"),
    ],
)
def test_editing_matchers(arguments: tuple[str, ...], text: str) -> None:
    assert run("promql", "label-matchers", *arguments).output == f"{text}\n"


# --- data directories


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    db = DB.open(path, Options(retention_ms=0), RealClock())
    appender = db.appender()
    for i in range(3):
        for a in "xy":
            appender.append(0, Labels.of(__name__="m", a=a), 1_000_000 + i * 1000, 1e6 * i)
    appender.append(0, Labels.of(__name__="n"), 1_000_000, 0.5)
    appender.commit()
    db.close()
    return path


def test_dumping_leaves_a_directory_in_use_alone(directory: Path) -> None:
    before = {path: path.stat().st_size for path in directory.rglob("*")}
    db = DB.open(directory, Options(retention_ms=0), RealClock())
    try:
        assert len(run("tsdb", "dump", str(directory)).output.splitlines()) == 7
    finally:
        db.close()
    assert not (set(before) - set(directory.rglob("*")))
    assert not list(directory.parent.glob("wavetank-import-*"))


def test_dump_formats_and_ranges(directory: Path, tmp_path: Path) -> None:
    path = str(directory)
    dumped = run("tsdb", "dump", "--match=n", '--match=m{a="x"}', "--min-time=1000500", path).output
    assert dumped == '{__name__="m", a="x"} 1e+06 1001000\n{__name__="m", a="x"} 2e+06 1002000\n'
    (tmp_path / "box").mkdir()
    series = run("tsdb", "dump", path, "--format=seriesjson", f"--sandbox-dir-root={tmp_path}/box").output
    assert [json.loads(line) for line in series.splitlines()] == [
        {"__name__": "m", "a": "x"},
        {"__name__": "m", "a": "y"},
        {"__name__": "n"},
    ]
    assert not list((tmp_path / "box").iterdir())
    text = run("tsdb", "dump-openmetrics", path, "--max-time=1000000").output
    assert text == 'm{a="x"} 0 1000.000\nm{a="y"} 0 1000.000\nn{} 0.5 1000.000\n# EOF\n'
    result = run("tsdb", "dump", str(tmp_path / "none"))
    assert (result.exit_code, "no such file or directory" in result.stderr) == (1, True)


def test_what_was_dumped_can_be_taken_back(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "om").write_text(run("tsdb", "dump-openmetrics", str(directory)).output)
    made = run("tsdb", "create-blocks-from", "openmetrics", f"{tmp_path}/om", f"{tmp_path}/new", "-r")
    assert made.exit_code == 0, made.output
    assert "1970-01-01 00:16:40 +0000 UTC" in made.output
    assert run("tsdb", "dump", f"{tmp_path}/new").output == run("tsdb", "dump", str(directory)).output


def test_the_write_benchmark(tmp_path: Path) -> None:
    lines = [f'{{"__name__":"m","i":"{i % 40}"}}' for i in range(60)]
    (tmp_path / "series.json").write_text("\n".join(lines))
    result = run(
        "tsdb", "bench", "write", f"--out={tmp_path}/out", "--scrapes=150", f"{tmp_path}/series.json"
    )
    assert result.exit_code == 0, result.output
    assert " > total samples: 8000" in result.output
    assert len(run("tsdb", "dump", "--match=m{i='7'}", f"{tmp_path}/out/storage").output.splitlines()) == 200
    result = run("tsdb", "bench", "write", f"--out={tmp_path}/out", f"{tmp_path}/none.json")
    assert (result.exit_code, "none.json" in result.stderr) == (1, True)


# --- pushing

EXPOSITION = b"""# HELP h x
# TYPE h histogram
h_bucket{le="0.5"} 1
h_bucket{le="2"} 2
h_sum 3
h_count 4
# HELP c y
# TYPE c counter
c{job="own",env="here"} 5 1000
"""


def test_what_is_pushed() -> None:
    request = WriteRequest.FromString(write_request(EXPOSITION, {"job": "promtool", "env": "x"}, 7))
    series = {
        " ".join(f"{label.name}={label.value}" for label in each.labels): [
            (sample.value, sample.timestamp) for sample in each.samples
        ]
        for each in request.timeseries
    }
    assert series == {
        "__name__=h_bucket env=x job=promtool le=0.5": [(1.0, 7)],
        "__name__=h_bucket env=x job=promtool le=2": [(2.0, 7)],
        "__name__=h_bucket env=x job=promtool le=+Inf": [(4.0, 7)],
        "__name__=h_sum env=x job=promtool": [(3.0, 7)],
        "__name__=h_count env=x job=promtool": [(4.0, 7)],
        "__name__=c env=here exported_job=own job=promtool": [(5.0, 1000)],
    }
    assert [(m.metric_family_name, m.type, m.help) for m in request.metadata] == [
        ("h", 3, "x"),
        ("c", 1, "y"),
    ]


def test_the_second_version() -> None:
    request = Request.FromString(write_request(EXPOSITION, {}, 7, MESSAGES[1]))
    assert len(request.timeseries) == 6
    assert {request.symbols[each.metadata.help_ref] for each in request.timeseries} == {"x", "y"}
    result = run("push", "metrics", "--protobuf_message=x", "http://127.0.0.1:1")
    assert (result.exit_code, "must be prometheus.WriteRequest or" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("url", "path", "address"),
    [
        ("http://a:9090", "/api/v1/write", "http://a:9090/api/v1/write"),
        ("http://a:9090/", "api/v1/write", "http://a:9090/api/v1/write"),
        ("a:9090/prefix", "/api/v1/write", "http://a:9090/prefix/api/v1/write"),
        ("http://a:9090/api/v1/write", "/api/v1/write", "http://a:9090/api/v1/write"),
        ("https://a/x?y=1", "/push", "https://a/x/push?y=1"),
    ],
)
def test_where_it_is_pushed(url: str, path: str, address: str) -> None:
    assert Receiver(url, path, MESSAGES[0], {}, 1.0).address() == address
