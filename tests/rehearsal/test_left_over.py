"""A tank whose owner and warden were both killed: ``status`` shows it, ``down`` ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from wavetank.cli.down import command as down
from wavetank.cli.status import command as status
from wavetank.process import TANK_VARIABLE
from wavetank.rehearsal.registry import TankEntry, abandoned, enter, running

TANK = "0ddba11d"


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """What such a tank leaves: a process with its marker, and its directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "files").mkdir()
    argv = [sys.executable, "-c", "import time; time.sleep(100)"]
    with subprocess.Popen(argv, env={**os.environ, TANK_VARIABLE: TANK}) as left:
        yield left
        left.kill()


def known(tmp_path: Path, kind: str) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    enter(
        TankEntry(
            tank=TANK, kind=kind, name="shop", pid=dead.pid, pid_started_at=0.0, directory=str(tmp_path / "files"),
            started_at=1.0, kubeconfig="", enforcer="", runtime="", api_url="", monitoring_url="",
        )
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "kept"), [("tank", False), ("rehearsal", True)])
def test_it_is_shown_and_ended(
    kind: str, kept: bool, process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    known(tmp_path, kind)
    assert running() == []
    shown = CliRunner().invoke(status, standalone_mode=False)
    assert f"left over   {kind} {TANK} (shop)" in shown.output
    assert CliRunner().invoke(down, [TANK], standalone_mode=False).return_value == 0
    assert process.wait(30) == -9
    assert (tmp_path / "files").exists() == kept, "a rehearsal's records stay, a tank's files go"
    assert abandoned() == []


def test_of_which_nothing_is_left_nothing_is_said(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    known(tmp_path, "tank")
    process.kill()
    process.wait()
    assert abandoned() == []
    assert list((tmp_path / "state" / "wavetank" / "tanks").iterdir()) == []
