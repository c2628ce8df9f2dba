"""``wavetank promtool`` beside Debian's promtool 2.42 on the same inputs: exit codes, and texts line by line."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from wavetank.cli.promtool import command
from wavetank.clock import RealClock
from wavetank.monitoring.server import ServerOptions

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed"),
]
DATA = Path(__file__).parent / "data" / "promtool"

# The same code and the same texts on both streams
SAME = """
test rules failing.yml
test rules rules_run.yml
test rules negative-offset-test.yml at-modifier-test.yml
check rules rules.yml
check rules --lint=all prometheus-rules.lint.yml
check rules --lint-fatal prometheus-rules.lint.yml
check rules --lint=none prometheus-rules.lint.yml
check rules rules_duplicates.yml
check config prometheus-config.good.yml
check config config_with_rule_files.yml
check config --syntax-only config_with_rule_files.yml
check config config_with_service_discovery_files.yml
check config --syntax-only config_with_service_discovery_files.yml
check config config_with_tls_files.yml
check config --syntax-only config_with_tls_files.yml
check config authorization_credentials_file.bad.yml
check config --agent prometheus-config.lint.yml
check config --agent prometheus-config.good.yml
check config url_in_alert_targetgroup_with_relabel_config.bad.yml
check config url_in_alert_targetgroup_with_relabel_config.good.yml
check config url_in_scrape_targetgroup_with_relabel_config.bad.yml
check config url_in_scrape_targetgroup_with_relabel_config.good.yml
check config nonexist.yml
check foo
check
--foo
tsdb list /nonexist
tsdb dump /nonexist
query instant http://127.0.0.1:1
query range http://127.0.0.1:1 up --start=5 --end=4
query instant --time=foo http://127.0.0.1:1 up
check metrics --extended
check service-discovery config_with_service_discovery_files.yml nojob
""".strip().splitlines()

# The same code; the texts name line and fix, or are of another version
SAME_CODE = """
test rules bad-promql.yml
test rules bad-rules-error-test.yml
test rules bad-rules-syntax-test.yml
test rules bad-input-series.yml
check rules rules-bad.yml
check rules rules-bad.yml rules.yml
check rules rules_extrafields.yml
check rules --lint=foo rules.yml
check config prometheus-config.bad.yml
check config --lint-fatal prometheus-config.lint.yml
check config prometheus-config.rules.good.yml
query instant http://127.0.0.1:1 up
query labels http://127.0.0.1:1 a
check healthy --url=http://127.0.0.1:1
check metrics
""".strip().splitlines()


async def theirs(line: str, stdin: bytes) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        "promtool",
        *line.split(),
        cwd=DATA,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate(stdin)
    return child.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("line", "texts"), [*((line, True) for line in SAME), *((line, False) for line in SAME_CODE)]
)
async def test_side_by_side(line: str, texts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    stdin = (DATA / "metrics-test.prom").read_bytes()
    result = await asyncio.to_thread(CliRunner().invoke, command, line.split(), input=stdin)
    code, out, err = await theirs(line, stdin)
    assert result.exit_code == code
    if texts:
        assert (result.stdout, result.stderr) == (out, err)


QUERIES = """
query instant URL m --time=TIME
query instant URL sum(m) --time=TIME
query instant -o json URL m --time=TIME
query instant -o json URL scalar(sum(m)) --time=TIME
query instant URL nothing
query instant URL m[10m] --time=TIME
query range URL m --start=TIME-60 --end=TIME --step=30s
query range -o json URL m --start=TIME-60 --end=TIME
query labels URL a
query labels -o json URL a
query series URL --match=m
query series -o json URL --match=m
query instant URL m{
query instant URL/nothing m
""".strip().splitlines()


@pytest.mark.slow
async def test_questions_to_our_server(start: Callable[..., Any], tmp_path: Path) -> None:
    """Both clients ask the same server the same; what they print is the same."""
    (tmp_path / "m.txt").write_text('m{a="<1>"} 5\nm{a="2"} 6.5\n')
    async with start("{}", ServerOptions(enable_remote_write_receiver=True)) as server:
        now = int(RealClock().now())
        pushed = await asyncio.to_thread(
            CliRunner().invoke, command, ["push", "metrics", server.url, str(tmp_path / "m.txt")]
        )
        assert pushed.exit_code == 0, pushed.output
        for line in QUERIES:
            line = (
                line.replace("URL", server.url)
                .replace("TIME-60", str(now - 50))
                .replace("TIME", str(now + 10))
            )
            result = await asyncio.to_thread(CliRunner().invoke, command, line.split())
            code, out, err = await theirs(line, b"")
            if "{" not in line and "nothing" not in line:
                assert (result.exit_code, result.stdout, result.stderr) == (
                    code,
                    out,
                    err,
                ), line
            assert result.exit_code == code, line
