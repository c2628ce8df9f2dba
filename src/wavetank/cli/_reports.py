"""The options of every command that writes reports: where, and in which formats."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

__all__ = ["report_options"]

_FORMATS: Final = (("html", "Write the HTML report to this file instead."), ("json", "The same for JSON."),
                   ("junit", "The same for JUnit XML."), ("markdown", "The same for Markdown."))  # fmt: skip


def report_options(folder: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add ``--out`` and one option for each format to a command.

    The command gets ``out`` (None: its own default, ``DIR/<folder>``) and ``files``: the path of each format
    that was given one.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def call(*arguments: Any, **given: Any) -> int:
            files = {name: given.pop(f"{name}_file") for name, _ in _FORMATS}
            return command(
                *arguments, files={name: path for name, path in files.items() if path is not None}, **given
            )

        for name, text in reversed(_FORMATS):
            call = click.option(f"--{name}", f"{name}_file", type=click.Path(path_type=Path), help=text)(call)
        where = f"Where reports go. [default: DIR/{folder}]"
        return click.option("--out", type=click.Path(path_type=Path), help=where)(call)

    return decorate
