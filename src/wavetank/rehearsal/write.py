"""Writing a run's reports where the user asked for them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from wavetank.rehearsal.outcome.record import RunRecord
from wavetank.rehearsal.report import FORMATS, Report, write_report

__all__ = ["write_reports"]


def write_reports(report: Report, record: RunRecord) -> Report:
    """Write every format of the record; returns the report with its files named in it.

    The formats of ``spec.report.formats`` go to the output directory; one that was given a file of its own
    on the command line goes there instead.
    """
    out = Path(record.out)
    named = {kind: Path(path) for kind, path in record.files.items() if kind in FORMATS}
    paths = {kind: out / FORMATS[kind][0] for kind in record.formats if kind not in named} | named
    files = {**record.files, **{kind: str(path) for kind, path in paths.items()}}
    told = msgspec.structs.replace(report, files=files)
    write_report(told, out, [kind for kind in record.formats if kind not in named])
    for kind, path in named.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FORMATS[kind][1](told))
    return told
