"""The committed bundle is what its source builds."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

UI = Path(__file__).parents[2] / "ui"


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (UI / "node_modules").is_dir(), reason="run `npm ci` in ui/ first")
def test_the_committed_bundle_is_what_the_source_builds() -> None:
    done = subprocess.run(
        ["sh", str(UI / "check.sh")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_file_names_versions_and_hashes_but_no_addresses() -> None:
    packages = json.loads((UI / "package-lock.json").read_text())["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert all("integrity" in package and "resolved" not in package for package in installed.values())
    wanted = json.loads((UI / "package.json").read_text())["devDependencies"]
    assert {name: installed[f"node_modules/{name}"]["version"] for name in wanted} == wanted
