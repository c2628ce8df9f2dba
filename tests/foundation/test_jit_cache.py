"""Compiled kernels are kept wherever that is possible, and work where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wavetank import jit


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The package is where its user may not write, and nothing says where else to keep kernels."""
    monkeypatch.setattr(jit, "__file__", "/nonexistent/wavetank/jit.py")
    for name in ("NUMBA_CACHE_DIR", "CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    return tmp_path


def chosen() -> str | None:
    return os.environ.get("NUMBA_CACHE_DIR") if jit._keep_kernels() else None


def test_a_writable_package_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert jit._keep_kernels()
    assert "NUMBA_CACHE_DIR" not in os.environ


@pytest.mark.parametrize("name", ["CACHE_DIRECTORY", "XDG_CACHE_HOME"])
def test_a_cache_that_the_environment_names(
    installed: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(installed / "cache"))
    assert chosen() == str(installed / "cache" / "wavetank" / "kernels")


def test_the_users_cache(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(installed))
    assert chosen() == str(installed / ".cache" / "wavetank" / "kernels")


def test_a_user_without_a_home_has_a_directory_that_nobody_else_can_write_to(installed: Path) -> None:
    found = chosen()
    assert found == str(installed / "tmp" / f"wavetank-kernels-{os.getuid()}")
    assert Path(found).stat().st_mode & 0o777 == 0o700


def test_what_others_may_write_to_is_not_run(installed: Path) -> None:
    theirs = installed / "tmp" / f"wavetank-kernels-{os.getuid()}"
    theirs.mkdir(parents=True)
    theirs.chmod(0o777)
    assert chosen() is None


def test_where_nothing_can_be_kept_kernels_still_work() -> None:
    program = (
        "from wavetank.jit import kernel\n"
        "@kernel('float64(float64)')\n"
        "def twice(x):\n"
        "    return 2.0 * x\n"
        "print(twice(21.0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"NUMBA_CACHE_DIR": "/dev/null/kernels"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "42.0\n", done.stderr
