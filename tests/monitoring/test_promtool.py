"""``wavetank promtool``: upstream's unit test files and inputs, exit codes, and agreement with the real one."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wavetank.cli.promtool import command
from wavetank.clock import RealClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

DATA = Path(__file__).parent / "data" / "promtool"
PEER = shutil.which("promtool")
LONG_INTERVAL = "prometheus-config.lint.too_long_scrape_interval.yml"


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(command, list(arguments), input=stdin)


TEST_FILES = {
    "unittest.yml": 0,
    "long-period.yml": 0,
    "at-modifier-test.yml": 0,
    "negative-offset-test.yml": 0,
    "no-test-group-interval.yml": 0,
    "start-time-test.yml": 0,
    "bad-input-series.yml": 1,
    "bad-promql.yml": 1,
    "bad-rules-error-test.yml": 1,
    "bad-rules-syntax-test.yml": 1,
    "failing.yml": 1,
    "rules_run.yml": 1,
    "rules_run_fuzzy.yml": 1,
    "rules_run_no_fuzzy.yml": 1,
}


SLOW = ("long-period.yml",)  # a hundred days of series


@pytest.mark.parametrize(
    ("name", "code"),
    [pytest.param(*item, marks=[pytest.mark.slow] if item[0] in SLOW else []) for item in TEST_FILES.items()],
)
def test_rule_unit_tests(name: str, code: int) -> None:
    result = run("test", "rules", str(DATA / name))
    assert result.exit_code == code, result.output
    assert ("SUCCESS" in result.output) == (code == 0)


def test_run_picks_test_groups() -> None:
    assert run("test", "rules", "--run", "correct", str(DATA / "rules_run.yml")).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("check", "config", "prometheus-config.good.yml"), 0, "is valid prometheus config file syntax"),
        (("check", "config", "prometheus-config.bad.yml"), 1, "FAILED"),
        (("check", "config", "config_with_rule_files.yml"), 1, "does not point to an existing file"),
        (("check", "config", "authorization_credentials_file.bad.yml"), 1, "no such file"),
        (("check", "config", "--syntax-only", "authorization_credentials_file.bad.yml"), 0, "valid"),
        (("check", "rules", "rules.yml"), 0, "SUCCESS: 5 rules found"),
        (("check", "rules", "rules-bad.yml"), 1, "FAILED"),
        (("check", "rules", "prometheus-rules.lint.yml"), 0, "duplicate rule(s) found"),
        (("check", "rules", "--lint-fatal", "prometheus-rules.lint.yml"), 3, "duplicate rule(s) found"),
        (("check", "rules", "--lint=none", "prometheus-rules.lint.yml"), 0, "SUCCESS"),
        (("check", "rules", "--lint=none,what", "rules.yml"), 0, 'WARNING: unknown lint option: "what"'),
        (("check", "rules", "rules_extrafields.yml"), 1, "unknown field 'namespace'"),
        (("check", "rules", "--ignore-unknown-fields", "rules_extrafields.yml"), 0, "SUCCESS: 5 rules"),
        (("check", "rules", "missing.yml"), 1, "does not exist, try --help"),
        (("check", "config", "--lint-fatal", "prometheus-config.lint.yml"), 3, "lint error 1 duplicate"),
        (("check", "config", "--lint=all", LONG_INTERVAL), 0, "too long scrape interval found"),
        (("check", "config", "--lint=all", "--lint-fatal", LONG_INTERVAL), 3, "interval: 10m"),
        (
            ("check", "config", "--lint=too-long-scrape-interval,none", "--lint-fatal", LONG_INTERVAL),
            0,
            "valid",
        ),
        (
            ("check", "--query.lookback-delta=15m", "config", "--lint=all", "--lint-fatal", LONG_INTERVAL),
            0,
            "SUCCESS",
        ),
        (("check", "config", "--agent", "prometheus-config.lint.yml"), 1, "not allowed in agent mode"),
        (("check", "config", "--agent", "prometheus-config.good.yml"), 0, "SUCCESS"),
        (("check", "config", "url_in_scrape_targetgroup_with_relabel_config.bad.yml"), 1, "valid hostname"),
        (("check", "config", "url_in_scrape_targetgroup_with_relabel_config.good.yml"), 0, "SUCCESS"),
        (("check", "config", "url_in_alert_targetgroup_with_relabel_config.bad.yml"), 1, "valid hostname"),
        (("check", "config", "url_in_alert_targetgroup_with_relabel_config.good.yml"), 0, "SUCCESS"),
        (
            ("check", "config", "config_with_service_discovery_files.yml"),
            0,
            "alertmanager config does not exist",
        ),
        (("check", "config", "config_with_tls_files.yml"), 1, "client cert file"),
        (("check", "config", "--syntax-only", "config_with_tls_files.yml"), 0, "SUCCESS"),
    ],
)
def test_checks(arguments: tuple[str, ...], code: int, text: str) -> None:
    *words, name = arguments
    result = run(*words, str(DATA / name))
    assert result.exit_code == code, result.output
    assert text in result.output


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"# HELP a_total x\n# TYPE a_total counter\na_total 1\n", 0, ""),
        (b"# TYPE a counter\na 1\n", 3, 'a counter metrics should have "_total" suffix'),
        (b"a 1\n", 3, "a no help text"),
        (b"a{ 1\n", 1, "error while linting"),
    ],
)
def test_check_metrics(body: bytes, code: int, text: str) -> None:
    result = run("check", "metrics", stdin=body)
    assert (result.exit_code, text in result.output) == (code, True)


def test_format() -> None:
    assert run("promql", "format", "sum(rate(a[5m]))by(b)").output == "sum by (b) (rate(a[5m]))\n"


def test_server_that_is_not_there() -> None:
    result = run("query", "instant", "http://127.0.0.1:1", "up")
    assert (result.exit_code, result.stderr.startswith("query error: cannot reach")) == (1, True)


def test_data_directory(tmp_path: Path) -> None:
    db = DB.open(tmp_path, Options(flush_on_close=True), RealClock())
    appender = db.appender()
    for i in range(3):
        appender.append(0, Labels.of(__name__="m", a="b"), 1_000_000 + i * 1000, float(i))
    appender.commit()
    db.close()
    dumped = run("tsdb", "dump", str(tmp_path)).output
    assert '{__name__="m", a="b"} 2 1002000' in dumped
    assert "Total Series: 1" in run("tsdb", "analyze", str(tmp_path)).output
    with closing(DB.open(tmp_path, Options(flush_on_close=True), RealClock())) as again:
        appender = again.appender()
        histogram = FloatHistogram(0, 3, 4.5, 0.1, 1, ((0, 1),), (2.0,))
        appender.append_histogram(0, Labels.of(__name__="h"), 1_003_000, histogram)
        appender.commit()
    dumped = run("tsdb", "dump", str(tmp_path)).output
    assert '{__name__="h"} {count:3, sum:4.5, [-0.1,0.1]:1, (0.5,1]:2} 1003000' in dumped
    assert "count:" not in run("tsdb", "dump-openmetrics", str(tmp_path)).output
    newest = max(p.parent.name for p in tmp_path.glob("*/meta.json"))
    extended = run("tsdb", "analyze", "--extended", str(tmp_path), newest).output
    assert "samples per histogram chunk (min/avg/max): 1/1/1" in extended
    assert "buckets per histogram chunk (min/avg/max): 1/1/1" in extended
    assert "BLOCK ULID" in run("tsdb", "list", str(tmp_path)).output


@pytest.mark.peer
@pytest.mark.skipif(PEER is None, reason="promtool is not installed")
@pytest.mark.parametrize("name", sorted(n for n in TEST_FILES if "fuzzy" not in n and "start-time" not in n))
def test_unit_tests_end_as_the_real_ones(name: str) -> None:
    """The installed promtool is 2.42; only files that use nothing newer are compared."""
    text = (DATA / name).read_text()
    if any(word in text for word in ("histogram", "  name: ", "start_timestamp")) or name in (
        "unittest.yml",
        "no-test-group-interval.yml",
        *SLOW,
    ):
        pytest.skip("uses what promtool 2.42 does not know")
    real = subprocess.run([str(PEER), "test", "rules", str(DATA / name)], capture_output=True, timeout=60)
    assert run("test", "rules", str(DATA / name)).exit_code == real.returncode


@pytest.mark.peer
@pytest.mark.skipif(PEER is None, reason="promtool is not installed")
def test_dump_equals_the_real_one(tmp_path: Path) -> None:
    db = DB.open(tmp_path, Options(flush_on_close=True), RealClock())
    appender = db.appender()
    for i in range(50):
        for a in "xyz":
            appender.append(0, Labels.of(__name__="m", a=a), 1_000_000 + i * 1000, i * 0.1)
    appender.commit()
    db.close()
    real = subprocess.run(
        [str(PEER), "tsdb", "dump", str(tmp_path)], capture_output=True, timeout=60, text=True
    )
    ours = run("tsdb", "dump", str(tmp_path)).output
    assert sorted(ours.splitlines()) == sorted(real.stdout.splitlines())


@pytest.mark.peer
@pytest.mark.skipif(PEER is None, reason="promtool is not installed")
def test_list_and_analyze_equal_the_real_ones(tmp_path: Path) -> None:
    """Line by line; of equal numbers the real one prints any order, and 2.42 has not yet "Total"."""
    db = DB.open(tmp_path, Options(flush_on_close=True), RealClock())
    appender = db.appender()
    for i in range(1000):
        for a in "xyz"[: 3 if i < 700 else 1]:
            appender.append(0, Labels.of(__name__="m", a=a, job="j"), 1_000_000 + i * 15_000, i * 0.1)
    appender.commit()
    db.close()
    assert len(list(tmp_path.glob("*/meta.json"))) == 3
    for what in ("list", "analyze"):
        real = subprocess.run(
            [str(PEER), "tsdb", what, str(tmp_path)], capture_output=True, timeout=60, text=True
        )
        ours = run("tsdb", what, str(tmp_path)).output.replace("Total Series:", "Series:")
        assert sorted(ours.splitlines()) == sorted(real.stdout.splitlines())
