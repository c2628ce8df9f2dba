"""The machine as files: where /proc and /sys are, and how their lines are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wavetank.clock import Clock

__all__ = ["Host", "NoData"]

_CHUNK: Final = 65_536


class NoData(Exception):
    """This machine has nothing of the kind; the collector has not failed, and says nothing."""


@dataclass(frozen=True, slots=True)
class Host:
    """``rootfs`` is where the machine's root is mounted, for exporters in a container."""

    clock: Clock
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    rootfs: Path = Path("/")

    def words(self, name: str) -> Iterator[list[str]]:
        """The words of each line of a file below /proc. Raises NoData where there is none."""
        for line in self.lines(name):
            if words := line.split():
                yield words

    def lines(self, name: str) -> list[str]:
        """The lines of a file below /proc. Raises NoData where there is none."""
        try:
            return _read(f"{self.proc}/{name}").splitlines()
        except FileNotFoundError:
            raise NoData(name) from None


def _read(path: Path | str) -> str:
    """A file's text. Two hundred of them are read a scrape, each of a few bytes: buffers cost more than
    reading. Raises OSError."""
    file = os.open(path, os.O_RDONLY)
    try:
        # Files of /proc may end a read early; only an empty one is their end.
        parts = [os.read(file, _CHUNK)]
        while parts[-1]:
            parts.append(os.read(file, _CHUNK))
    finally:
        os.close(file)
    return b"".join(parts).decode("utf-8", "replace")


def text_of(path: Path | str) -> str | None:
    """A small file's text, stripped; None where it cannot be read, as many files of /sys cannot."""
    try:
        return _read(path).strip()
    except (OSError, ValueError):
        return None


def number_of(path: Path | str) -> float | None:
    """A file's number, decimal or hexadecimal; None where there is none."""
    text = text_of(path)
    try:
        return None if not text else float(int(text, 0))
    except ValueError:
        try:
            return float(text or "")
        except ValueError:
            return None


def folders(path: Path) -> list[Path]:
    """What is in a folder, in order; nothing where it cannot be read."""
    try:
        return sorted(path.iterdir())
    except OSError:
        return []
