"""What this machine offers a tank: for ``wavetank status`` and for notes in reports."""

from __future__ import annotations

import platform
import secrets
import shutil

import psutil

from wavetank.clock import RealClock
from wavetank.kube.kubelet.process_runtime import choose_enforcer
from wavetank.rehearsal.outcome.environment import usable_cpus

__all__ = ["describe_machine"]

_OPTIONAL = ("kubectl", "chromium", "promtool")


def describe_machine() -> dict[str, str]:
    """Facts in the order in which they are shown."""
    memory = psutil.virtual_memory()
    found = [name for name in _OPTIONAL if shutil.which(name)]
    missing = [name for name in _OPTIONAL if name not in found]
    return {
        "machine": f"{usable_cpus()} CPUs, {memory.total / 2**30:.1f} GiB, Linux {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "enforcer": _enforcer(),
        "found": ", ".join(found) or "none of the optional programs",
        "not found": ", ".join(missing) or "-",
    }


def _enforcer() -> str:
    """The enforcer a new tank would use; asked by making one and removing it again."""
    enforcer = choose_enforcer(f"probe-{secrets.token_hex(4)}", RealClock())
    try:
        return enforcer.name
    finally:
        enforcer.close()
