"""``wavetank dashboard check`` and ``render`` over a data directory."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dashboard_samples import NOW_S, board, panel

from wavetank.cli.dashboard import command
from wavetank.clock import VirtualClock
from wavetank.errors import InputError
from wavetank.model.labels import Labels
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory as ``wavetank rehearse --keep`` leaves it, with ten minutes of ``up``."""
    run = tmp_path_factory.mktemp("run")
    db = DB.open(run / "monitoring/data", Options(lock_file=False), VirtualClock(start=NOW_S))
    try:
        appender = db.appender()
        for i in range(61):
            for job in ("api", "web"):
                appender.append(0, Labels.of(__name__="up", job=job), (NOW_S - 600 + 10 * i) * 1000, float(i))
        appender.commit()
    finally:
        db.close()
    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "board.json"
    target = {"expr": "up", "legendFormat": "</script><b>{{job}}"}
    found.write_text(json.dumps(board([panel("timeseries", target, title="=Up")])))
    return found


def run(*args: Any) -> Any:
    return CliRunner().invoke(command, [str(arg) for arg in args], standalone_mode=False)


def test_check_of_a_sound_dashboard(file: Path, data: Path) -> None:
    result = run("check", file, "--data", data)
    assert result.output.strip().endswith("Board: 1 ok") and not result.return_value


def test_check_names_what_is_empty_and_fails_on_what_is_broken(tmp_path: Path, data: Path) -> None:
    found = tmp_path / "bad.json"
    found.write_text(
        json.dumps(board([{**panel("stat", "gone"), "title": "G"}, {**panel("stat", "sum(("), "id": 2}]))
    )
    result = run("check", found, "--data", data)
    assert "empty   1 'G' (stat): no series match gone" in result.output
    assert "FAILED  2" in result.output and result.return_value == 1
    rows = json.loads(run("check", found, "--data", data, "--output", "json").output)
    assert [p["state"] for p in rows[0]["panels"]] == ["empty", "failed"] and rows[0]["failed"]


def test_without_data_only_the_file_is_checked(file: Path) -> None:
    result = run("check", file)
    assert "1 panels, 0 failed" in result.output and not result.return_value


def test_html_holds_everything_and_nothing_that_runs(file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    run("render", file, "--data", data, "-o", out)
    text = out.read_text()
    assert "default-src 'none'" in text and "\\u003c/script\\u003e" in text
    assert text.count("</script>") == 2 and "src=" not in text.partition("<body>")[0]


def test_csv_has_the_numbers_and_no_formulas(file: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    run("render", file, "--data", data, "-o", out, "--panel", "1")
    rows = list(csv.reader(out.read_text().splitlines()))
    assert rows[0] == ["# =Up (1)"] and rows[1][0] == "time" and len(rows) > 30
    assert float(rows[10][1]) >= 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--data", "{data}", "-o", "x.gif"), "cannot write 'x.gif'"),
        (("-o", "x.html"), "neither --url nor --data"),
        (("--data", "{data}", "-o", "x.html", "--panel", "9"), "no panel '9'"),
        (("--data", "{data}", "-o", "x.html", "--var", "a"), "is not NAME=VALUE"),
        (("--data", "/nowhere", "-o", "x.html"), "no directory /nowhere"),
    ],
)
def test_wrong_usage_is_an_input_error(file: Path, data: Path, args: tuple[str, ...], message: str) -> None:
    result = run("render", file, *(arg.format(data=data) for arg in args))
    assert isinstance(result.exception, InputError) and message in str(result.exception)


def test_without_chromium_the_message_says_what_to_do(
    file: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("playwright")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("WAVETANK_CHROMIUM", raising=False)
    result = run("render", file, "--data", data, "-o", tmp_path / "x.png")
    assert "need Chromium" in str(result.exception) and "or write .html" in str(result.exception)
