"""Node Exporter Full (or another dashboard) over 24 hours of made data: how long opening and refreshing take.

    python bench/dashboards_node_full.py DASHBOARD.json [--hours 24] [--interval 15]

The data are a TSDB in a temporary directory, with series for every selector of the dashboard. Prints medians
of three: opening (variables), the first screen (panels of the first 24 grid units), all panels with collapsed
rows, and the JSON's size. The browser's part is not in them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from wavetank.clock import RealClock, VirtualClock
from wavetank.dashboards.adhoc import selectors
from wavetank.dashboards.check import NoSource
from wavetank.dashboards.load import load_file
from wavetank.dashboards.model import Dashboard
from wavetank.dashboards.refresh import asked_of, refresh
from wavetank.dashboards.source import EngineSource
from wavetank.dashboards.view import View, open_view
from wavetank.model.labels import Labels, MatchType
from wavetank.promql.parser import parse_expr
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

NOW = 1_760_000_000
HOST = {"job": "node", "instance": "host:9100", "nodename": "host"}
MODES = ("idle", "user", "system", "iowait", "irq", "nice", "softirq", "steal")
DEVICES = ("eth0", "eth1", "sda", "sdb")


def series_of(dashboard: Dashboard) -> list[Labels]:
    """What the dashboard's selectors ask for, with a few devices, modes and cores."""
    view = open_view(dashboard, NoSource(), NOW * 1000)
    found: dict[Labels, None] = {Labels.of(__name__="node_uname_info", **HOST): None}
    for placed in view.panels(collapsed=True):
        for asked in asked_of(placed, view, NoSource(), 800):
            for selector in selectors(parse_expr(asked.expr)):
                equal = {m.name: m.value for m in selector.matchers if m.type is MatchType.EQUAL and m.value}
                base = {**HOST, **equal}
                name = base.get("__name__", selector.name)
                for n, device in enumerate(DEVICES if "node_" in name else ("x",)):
                    extra = {
                        "device": device,
                        "mountpoint": f"/{n}" if n else "/",
                        "fstype": "ext4",
                        "cpu": str(n),
                    }
                    if name == "node_cpu_seconds_total":
                        for mode in MODES:
                            found[Labels.of({**base, "cpu": str(n), "mode": mode, "__name__": name})] = None
                    else:
                        found[Labels.of({**extra, **base, "__name__": name})] = None
    return list(found)


def fill(db: DB, labels: list[Labels], seconds: int, interval: int) -> int:
    """Rising values for all, one commit an instant; gives the number of samples."""
    appender = db.appender()
    first = (NOW - seconds) * 1000
    refs = np.array([appender.append(0, found, first, 0.0) for found in labels], np.int64)
    appender.commit()
    slopes = 1.0 + np.arange(len(refs)) % 7
    count = len(refs)
    for at in range(NOW - seconds + interval, NOW + 1, interval):
        appender = db.appender()
        passed = float(at - NOW + seconds)
        appender.append_batch(refs, np.full(len(refs), at * 1000, np.int64), slopes * passed)
        appender.commit()
        count += len(refs)
    return count


def median(work: Callable[[], object]) -> float:
    clock, times = RealClock(), []
    for _ in range(3):
        started = clock.monotonic()
        work()
        times.append(clock.monotonic() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dashboard", type=Path)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--interval", type=int, default=15)
    args = parser.parse_args()
    dashboard = load_file(args.dashboard)
    labels = series_of(dashboard)
    with tempfile.TemporaryDirectory() as directory:
        db = DB.open(Path(directory), Options(lock_file=False), VirtualClock(start=NOW))
        try:
            samples = fill(db, labels, args.hours * 3600, args.interval)
            print(f"{len(labels)} series, {samples} samples over {args.hours} h")
            measure(dashboard, EngineSource(db), f"now-{args.hours}h")
        finally:
            db.close()


def measure(dashboard: Dashboard, source: EngineSource, raw_from: str) -> None:
    clock = VirtualClock(start=NOW)

    def opened() -> View:
        return open_view(dashboard, source, NOW * 1000, raw_from=raw_from, raw_to="now")

    view = opened()
    every = view.panels(collapsed=True)
    open_rows = view.panels(collapsed=False)
    screen = [p for row in view.rows[:2] if not row.collapsed for p in row.panels if p.grid.y < 24]

    def ask(panels: list[object]) -> dict[str, object]:
        return refresh(view, source, clock, panels=[(p, 640) for p in panels], catalogue=lambda tags: [])  # type: ignore[misc]

    print(f"opening             {median(opened):7.3f} s")
    for name, panels in (("first screen", screen), ("open rows", open_rows), ("all panels", every)):
        print(f"{name:<19} {median(lambda panels=panels: ask(panels)):7.3f} s  ({len(panels)} panels)")  # type: ignore[misc]
    answer = ask(every)  # type: ignore[arg-type]
    states = [p["state"] for p in answer["panels"]]  # type: ignore[attr-defined]
    size = len(msgspec.json.encode(answer))
    shown = f"{states.count('ok')} of {len(states)} panels with data"
    print(f"{answer['queries']} queries, {shown}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
