"""Render a report again from its JSON: ``python -m wavetank.rehearsal.report report.json DIRECTORY``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from wavetank.errors import WavetankError
from wavetank.rehearsal.report.files import FORMATS, write_report
from wavetank.rehearsal.report.model import decode
from wavetank.rehearsal.report.terminal import print_summary


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--format", "formats", multiple=True, help="html, json, junit or markdown; all unless given")
def main(source: Path, directory: Path, formats: tuple[str, ...]) -> None:
    """Write the report in SOURCE (JSON) into DIRECTORY in other formats."""
    try:
        report = decode(source.read_bytes())
        write_report(report, directory, formats or FORMATS)
    except WavetankError as error:
        click.echo(f"{source}: {error}", err=True)
        sys.exit(error.exit_code)
    print_summary(report, Console())


if __name__ == "__main__":
    main()
