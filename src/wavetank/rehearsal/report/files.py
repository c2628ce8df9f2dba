"""Writing the report's files: whole or not at all, under fixed names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from wavetank.errors import InputError, did_you_mean
from wavetank.rehearsal.report.html import render_html
from wavetank.rehearsal.report.junit import render_junit
from wavetank.rehearsal.report.markdown import render_markdown
from wavetank.rehearsal.report.model import Report, encode

__all__ = ["FORMATS", "write_report"]

Render = Callable[[Report], bytes]

FORMATS: Final[dict[str, tuple[str, Render]]] = {
    "html": ("report.html", lambda report: render_html(report).encode()),
    "json": ("report.json", encode),
    "junit": ("junit.xml", lambda report: render_junit(report).encode()),
    "markdown": ("report.md", lambda report: render_markdown(report).encode()),
}
"""Format by its name in ``spec.report.formats``: its file's name, and how it is made."""


def write_report(report: Report, directory: Path, formats: Iterable[str] = FORMATS) -> dict[str, Path]:
    """Write the formats into ``directory``, made if absent; gives each format's path.

    A file is replaced in one step, so a reader never sees half of one. Raises InputError for an unknown
    format before anything is written.
    """
    wanted = list(formats)
    for name in wanted:
        if name not in FORMATS:
            raise InputError(f"unknown report format {name!r}", fix=did_you_mean(name, FORMATS))
    directory.mkdir(parents=True, exist_ok=True)
    return {name: _write(directory / FORMATS[name][0], FORMATS[name][1](report)) for name in wanted}


def _write(path: Path, data: bytes) -> Path:
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(data)
    return unfinished.replace(path)
