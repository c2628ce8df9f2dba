"""Findings of validation, and the catalogue they are made from (``data/messages.yaml``)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

__all__ = ["KeyPath", "Problem", "catalogue", "problem"]

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in one object: Istio's code (or ours), its level (error, warning, info), the text, where
    in the object it is, and the remedy."""

    code: str
    level: str
    message: str
    path: KeyPath = ()
    fix: str | None = None

    @property
    def is_error(self) -> bool:
        return self.level == "error"

    @property
    def field(self) -> str:
        """The path as Kubernetes writes it: ``spec.http[0].route``."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class _Message:
    code: str
    level: str
    text: str
    fix: str | None


@functools.cache
def catalogue() -> dict[str, _Message]:
    """The messages by name."""
    text = resources.files(__package__).joinpath("data/messages.yaml").read_text("utf-8")
    entries: list[dict[str, str]] = yaml.safe_load(text)
    return {e["name"]: _Message(e["code"], e["level"], e["text"], e.get("fix")) for e in entries}


def problem(name: str, path: KeyPath, /, *, fix: str | None = None, **fields: Any) -> Problem:
    """The message of that name; ``fix`` replaces the catalogue's own."""
    message = catalogue()[name]
    remedy = fix or (message.fix.format(**fields) if message.fix else None)
    return Problem(message.code, message.level, message.text.format(**fields), path, remedy)
