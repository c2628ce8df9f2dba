"""The dashboards that ``spec.monitoring.dashboards`` names, filled with the run, for its report.

Asked of the run's own monitoring over its HTTP API while it still answers. A dashboard that cannot be read or
drawn costs itself, not the report: it becomes a note.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from wavetank.clock import VirtualClock
from wavetank.dashboards.model import Dashboard
from wavetank.dashboards.provisioning import providers_of
from wavetank.dashboards.render import snapshot
from wavetank.dashboards.source import HTTPSource
from wavetank.dashboards.store import Store
from wavetank.errors import WavetankError
from wavetank.limits import REPORT_DASHBOARDS_MAX
from wavetank.rehearsal.outcome.marks import marks_of
from wavetank.rehearsal.outcome.record import RunRecord
from wavetank.rehearsal.report.model import Report
from wavetank.yamlfile import Document

__all__ = ["check_dashboards", "with_dashboards"]

_SCRAPE_MS: Final = 2000  # what a run scrapes its own parts by


async def with_dashboards(report: Report, record: RunRecord) -> Report:
    """The report with ``{board, frames}`` of each dashboard over the run, and notes on what went wrong.

    ``record.dashboards`` are files, directories or provisioning files below the rehearsal's directory, or
    uids of dashboards that ship.
    """
    if not record.dashboards:
        return report
    start = record.load_started_at or record.started_at
    found, notes = await asyncio.to_thread(
        _embedded, record.dashboards, Path(record.directory), record.monitoring_url, start, report
    )
    return msgspec.structs.replace(report, dashboards=found, notes=(*report.notes, *notes))


def _embedded(
    names: Sequence[str], directory: Path, url: str, start: float, report: Report
) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    source = HTTPSource(url, scrape_interval_ms=_SCRAPE_MS)
    end = report.ended_at
    clock = VirtualClock(start=end)
    marks = marks_of(report.events, report.started_at)
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    for name in names:
        try:
            for board in _boards(directory, name):
                if len(found) >= REPORT_DASHBOARDS_MAX:
                    notes.append(f"only the first {REPORT_DASHBOARDS_MAX} dashboards are in the report")
                    return tuple(found), tuple(notes)
                found.append(
                    snapshot(
                        board,
                        source,
                        clock,
                        raw_from=str(round(start * 1000)),
                        raw_to=str(round(end * 1000)),
                        marks=lambda _from, _to: marks,
                    )
                )
        except WavetankError as error:
            notes.append(f"dashboard {name}: {error.message}")
    return tuple(found), tuple(notes)


def check_dashboards(directory: Path, names: Sequence[str], spec: Document) -> None:
    """Raises InputError for a name that is neither a file or folder of dashboards nor one that ships."""
    for index, name in enumerate(names):
        at = ("spec", "monitoring", "dashboards", index)
        path = directory / name
        if not path.exists():
            if Store().get(name) is None:
                fix = "name a file or folder, or one of `wavetank dashboard list`"
                raise spec.error(f"monitoring: no such dashboard: {path}", *at, fix=fix)
            continue
        store = Store(providers_of(path), shipped=False)
        found = store.all()
        for file, why in store.broken.items():
            raise spec.error(f"monitoring: dashboard {file}: {why}", *at)
        if not found:
            raise spec.error(f"monitoring: no dashboard in {path}", *at)


def _boards(directory: Path, name: str) -> list[Dashboard]:
    path = directory / name
    if not path.exists():
        shipped = Store().get(name)
        if shipped is not None:
            return [shipped.dashboard]
    store = Store(providers_of(path), shipped=False)
    return [stored.dashboard for stored in store.all()]
