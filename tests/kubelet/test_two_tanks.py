"""Two tanks on one machine with one seed draw the same container ids; neither may touch the other's."""

from __future__ import annotations

import os
import subprocess

from wavetank.clock import RealClock
from wavetank.kube.kubelet.enforcer import Limits
from wavetank.kube.kubelet.signals import CONTAINER_VARIABLE, SignalEnforcer, container_marker


async def test_killing_a_container_leaves_its_namesake_in_another_tank_alone() -> None:
    clock = RealClock()
    programs = {
        tank: subprocess.Popen(
            ["sleep", "60"], env={**os.environ, CONTAINER_VARIABLE: container_marker(tank, "same-id")}
        )
        for tank in ("one", "other")
    }
    try:
        SignalEnforcer("one", clock).group("same-uid", "same-id", Limits()).kill()
        assert programs["one"].wait(10) == -9
        assert programs["other"].poll() is None
    finally:
        for program in programs.values():
            program.kill()
            program.wait()
