"""Error types, one per way a run can end, each with its exit code.

An error says the value, the place and the fix: ``Location`` carries file and line, ``fix`` the remedy.
Exit codes follow the command line's contract: 1 a check failed, 2 usage or input, 3 a fault of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CheckFailed", "InputError", "InternalError", "Location", "WavetankError", "did_you_mean"]


@dataclass(frozen=True, slots=True)
class Location:
    """Where in the user's files a value stands; ``line`` counts from 1."""

    path: str
    line: int | None = None

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


class WavetankError(Exception):
    """Base of all errors that Wavetank raises on purpose."""

    exit_code = 3

    def __init__(
        self, message: str, *, at: Location | str | Path | None = None, fix: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.fix = fix

    def __str__(self) -> str:
        text = self.message if self.at is None else f"{self.at}: {self.message}"
        return text if self.fix is None else f"{text}; {self.fix}"


class CheckFailed(WavetankError):
    """A check the user asked for did not hold: an SLO, a unit test, a lint."""

    exit_code = 1


class InputError(WavetankError):
    """The user's input or environment is at fault; nothing was started, or all was undone."""

    exit_code = 2


class InternalError(WavetankError):
    """A fault of ours, or of a child process that should not have died."""

    exit_code = 3


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """The nearest choice as a phrase for ``fix``, or the valid choices where none is near."""
    options = sorted(choices)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return "valid here: " + ", ".join(options) if options else None
