"""Which tanks run on this machine: one small file each in the user's state directory.

``status`` and ``down`` read them. A file whose owner is gone is removed by whoever finds it, unless processes
of the tank are left: owner and warden were both killed, and ``down`` ends what they no longer can.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

from wavetank.process import tank_processes
from wavetank.warden import is_watched

__all__ = ["TankEntry", "abandoned", "enter", "leave", "running"]


class TankEntry(Struct, kw_only=True):
    """``kind`` is "tank" for a standing one, "rehearsal" for a run."""

    tank: str
    kind: str
    name: str
    pid: int
    pid_started_at: float
    directory: str
    started_at: float
    kubeconfig: str
    enforcer: str
    runtime: str
    api_url: str
    monitoring_url: str
    gateway_urls: list[str] = []
    load_command: str = ""  # what puts the rehearsal's load on it


def _directory() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "wavetank" / "tanks"


def enter(entry: TankEntry) -> None:
    """Make a tank known. A state directory that cannot be written only hides it from ``status``."""
    with suppress(OSError):
        directory = _directory()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = directory / f".{entry.tank}"
        temporary.write_bytes(msgspec.json.encode(entry))
        temporary.replace(directory / f"{entry.tank}.json")


def leave(tank: str) -> None:
    with suppress(OSError):
        (_directory() / f"{tank}.json").unlink()


def running() -> list[TankEntry]:
    """All tanks whose owner is alive, oldest first."""
    return [entry for entry in _entries() if _alive(entry)]


def abandoned() -> list[TankEntry]:
    """Tanks that neither owner nor warden will end, oldest first; where nothing is left, the file goes."""
    found = []
    for entry in _entries():
        if _alive(entry) or is_watched(entry.tank):
            continue
        if next(tank_processes(entry.tank), None) is None:
            leave(entry.tank)
        else:
            found.append(entry)
    return found


def _entries() -> list[TankEntry]:
    found = []
    for path in _directory().glob("*.json"):
        with suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(path.read_bytes(), type=TankEntry))
    return sorted(found, key=lambda entry: entry.started_at)


def _alive(entry: TankEntry) -> bool:
    try:
        return abs(psutil.Process(entry.pid).create_time() - entry.pid_started_at) < 1.0
    except psutil.Error:
        return False
