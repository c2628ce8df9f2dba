"""cgroup version 2, on a directory tree that looks like one: what is written where, and what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavetank.kube.kubelet.cgroups import CgroupV2, choose_cgroups
from wavetank.kube.kubelet.enforcer import Limits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    return tmp_path


def test_controllers_are_handed_down_to_the_tank(root: Path) -> None:
    enforcer = choose_cgroups("t1", root)
    assert isinstance(enforcer, CgroupV2)
    for directory in (root, root / "wavetank", root / "wavetank" / "t1"):
        assert (directory / "cgroup.subtree_control").read_text() == "+cpu +memory"


@pytest.mark.parametrize(
    ("limits", "files"),
    [
        (Limits(500, 250, 1 << 20), {"cpu.max": "50000 100000", "cpu.weight": "10", "memory.max": "1048576"}),
        (Limits(), {"cpu.max": "max 100000", "cpu.weight": "1", "memory.max": "max"}),
        (Limits(1), {"cpu.max": "1000 100000"}),
    ],
)
def test_limits_are_written_as_runtimes_write_them(root: Path, limits: Limits, files: dict[str, str]) -> None:
    enforcer = CgroupV2("t1", root)
    assert enforcer.usable()
    enforcer.group("u1", "c1", limits)
    directory = root / "wavetank" / "t1" / "podu1" / "c1"
    assert {name: (directory / name).read_text() for name in files} == files


def test_usage_is_read_and_the_last_is_kept_when_the_group_is_gone(root: Path) -> None:
    enforcer = CgroupV2("t1", root)
    assert enforcer.usable()
    group = enforcer.group("u1", "c1", Limits(100))
    directory = root / "wavetank" / "t1" / "podu1" / "c1"
    stat = "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n"
    (directory / "cpu.stat").write_text(f"{stat}nr_periods 10\nnr_throttled 4\nthrottled_usec 300000\n")
    (directory / "memory.stat").write_text("anon 700\nfile 300\ninactive_file 200\n")
    (directory / "memory.current").write_text("1000\n")
    (directory / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    (directory / "cgroup.procs").write_text("")
    usage = group.usage()
    assert (usage.cpu_ns, usage.periods, usage.throttled_periods) == (2_500_000_000, 10, 4)
    assert usage.throttled_ns == 300_000_000
    assert (usage.memory_usage, usage.memory_working_set, usage.memory_rss) == (1000, 800, 700)
    assert group.oom_killed()
    (directory / "memory.current").unlink()
    assert group.usage() == usage


def test_processes_move_themselves_before_they_become_the_program(root: Path) -> None:
    group = CgroupV2("t1", root).group("u1", "c1", Limits())
    shell, flag, script, name, *argv = group.wrap(["/bin/echo", "a b"])
    assert (shell, flag, name, argv) == ("/bin/sh", "-c", "sh", ["/bin/echo", "a b"])
    assert script == f'echo $$ > {root}/wavetank/t1/podu1/c1/cgroup.procs && exec "$@"'


def test_machines_without_cgroups_have_none(tmp_path: Path) -> None:
    assert choose_cgroups("t1", tmp_path) is None
