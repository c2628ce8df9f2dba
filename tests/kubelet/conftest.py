"""Fixtures of the kubelet's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubelet_room import Tank, build

from wavetank.process import tank_processes


@pytest.fixture
async def tank(tmp_path: Path) -> AsyncIterator[Tank]:
    made = await build(tmp_path)
    yield made
    await made.kubelet.stop()
    assert list(tank_processes(made.id)) == [], "processes were left behind"
    assert not (tmp_path / "run").exists(), "directories were left behind"


@pytest.fixture(params=["best", "signals"])
async def either_tank(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Tank]:
    """Once with the best enforcer of this machine, once with signals."""
    made = await build(tmp_path, signals=request.param == "signals")
    yield made
    await made.kubelet.stop()
    assert list(tank_processes(made.id)) == []
