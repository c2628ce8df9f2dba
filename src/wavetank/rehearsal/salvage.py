"""The report of a run whose owner died: run by the warden as ``python -m wavetank.rehearsal.salvage DIR``.

The tank's processes still run at that moment, so the monitoring can be asked once more.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from wavetank.clock import Clock, RealClock
from wavetank.rehearsal.metrics_client import PrometheusQuery
from wavetank.rehearsal.outcome.build import build_report
from wavetank.rehearsal.outcome.dashboards import with_dashboards
from wavetank.rehearsal.outcome.record import read_record, write_record
from wavetank.rehearsal.write import write_reports

__all__ = ["salvage"]


async def salvage(directory: Path, clock: Clock) -> bool:
    """Write the report of what the run directory holds; False if the load had not begun."""
    record = read_record(directory)
    if record.load_started_at is None:
        return False
    record.state = "interrupted"
    record.reason = "the rehearsal was killed"
    record.ended_at = clock.now()
    write_record(directory, record)
    query = PrometheusQuery(record.monitoring_url, timeout_seconds=10.0)
    try:
        ready = await query.ready()
        report = await build_report(directory, query if ready else None, record.ended_at)
        if ready:
            report = await with_dashboards(report, record)
    finally:
        await query.close()
    write_reports(report, record)
    return True


if __name__ == "__main__":
    asyncio.run(salvage(Path(sys.argv[1]), RealClock()))
