"""``--workload``: the file's load, with history asked of the Prometheus, or data directory, it names."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from wavetank.clock import VirtualClock
from wavetank.errors import InputError
from wavetank.rehearsal.metrics_client import PrometheusQuery
from wavetank.simulation.query import EngineQuery
from wavetank.simulation.workload import Floats, History, Workload, load_workload, rates_from_history
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

__all__ = ["read_workload"]


def read_workload(path: Path) -> Workload:
    """Raises InputError with the place."""
    found = load_workload(path)
    if found.history is None:
        return found
    if urlsplit(found.history.prometheus).scheme in ("http", "https"):
        rates, repairs = asyncio.run(_from_server(found.history))
    else:
        rates, repairs = _from_directory(found.history, path.parent / found.history.prometheus)
    return replace(found, rates=rates, repairs=repairs)


async def _from_server(history: History) -> tuple[Floats, tuple[str, ...]]:
    query = PrometheusQuery(history.prometheus)
    try:
        return await rates_from_history(history, query)
    finally:
        await query.close()


def _from_directory(history: History, directory: Path) -> tuple[Floats, tuple[str, ...]]:
    if not directory.is_dir():
        raise InputError(f"no such data directory: {directory}", fix="an URL, or a directory with blocks")
    db = DB.open(directory, Options(retention_ms=0), VirtualClock())
    try:
        return asyncio.run(rates_from_history(history, EngineQuery(db)))
    finally:
        db.close()
