"""The load generator's figures in the report's form: a row a second, and the account at the end."""

from __future__ import annotations

import math
from typing import Any

from wavetank.load.histogram import LogHistogram
from wavetank.load.results import Entry, Second, Snapshot
from wavetank.rehearsal.outcome.record import LoadSecond

__all__ = ["load_row", "load_summary"]


def load_row(second: Second) -> LoadSecond:
    return LoadSecond(
        second=second.second,
        scheduled=second.scheduled,
        started=second.started,
        dropped=second.dropped,
        requests=second.requests,
        failures=second.failures,
        users=round(second.users),
        busy=round(second.busy),
        p50=_known(second.p50),
        p95=_known(second.p95),
        p99=_known(second.p99),
        lateness_p99=_known(second.lateness_p99),
        cpu=second.cpu_seconds,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def load_summary(snapshot: Snapshot, seconds: float) -> dict[str, Any]:
    """The report's ``load`` section in its JSON form; the load lasted ``seconds``."""
    rows: dict[tuple[str, str], Entry] = {}
    total = Entry()
    for (method, name, _), entry in snapshot.entries.items():
        for into in (rows.setdefault((method, name), Entry()), total):
            into.requests += entry.requests
            into.failures += entry.failures
            into.response.merge(entry.response)
    return {
        "requests": snapshot.requests,
        "failures": snapshot.failures,
        "dropped": snapshot.dropped,
        "lateness_p99_ms": _ms(snapshot.lateness, 99),
        "total": _row("", "all requests", total, seconds),
        "rows": [_row(method, name, entry, seconds) for (method, name), entry in sorted(rows.items())],
        "errors": [
            {"method": method, "name": name, "error": error, "count": count}
            for (method, name, error), count in sorted(snapshot.errors.items(), key=lambda item: -item[1])
        ],
    }


def _row(method: str, name: str, entry: Entry, seconds: float) -> dict[str, Any]:
    return {
        "method": method,
        "name": name,
        "requests": entry.requests,
        "failures": entry.failures,
        "rps": round(entry.requests / max(1.0, seconds), 3),
        "p50_ms": _ms(entry.response, 50),
        "p95_ms": _ms(entry.response, 95),
        "p99_ms": _ms(entry.response, 99),
        "max_ms": _ms(entry.response, 100),
    }


def _ms(histogram: LogHistogram, percentile: float) -> float | None:
    value = histogram.percentile(percentile)
    return None if math.isnan(value) else round(value * 1000, 3)
