"""Days of a server's work in minutes: does anything grow?

Usage: python bench/monitoring_soak.py [hours targets series]

Scrapes (bodies made here, no network), rules and upkeep run on a virtual clock, every 60 s of it, over a real
storage with a day of retention. Every hour a third of the targets is replaced by new ones, as deployments do.
Prints by every few hours: resident memory, objects of Python, files and descriptors, series in the head,
blocks and bytes on disk. After the first day and a half, nothing of it should grow.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path

import psutil

from wavetank.clock import VirtualClock
from wavetank.model.labels import Labels
from wavetank.monitoring.config import parse_config
from wavetank.monitoring.querying import Queries
from wavetank.monitoring.rules.engine import RuleEngine
from wavetank.monitoring.rules.file import RuleConfig, RuleGroupConfig
from wavetank.monitoring.rules.group import Group
from wavetank.monitoring.rules.load import RuleOptions
from wavetank.monitoring.scrape.series import mutator
from wavetank.monitoring.scrape.store import TargetStore
from wavetank.promql.context import EngineOptions
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Options

STEP_SECONDS = 60
START = 1_700_000_000.0
KIND = "text/plain; version=0.0.4"
RULES = (
    RuleConfig(record="job:requests:rate5m", expr="sum by (job) (rate(app_requests_total[5m]))"),
    RuleConfig(record="job:requests:sum", expr="sum(job:requests:rate5m)"),
    RuleConfig(alert="Slow", expr="rate(app_requests_total[5m]) < 0.001", hold=600_000),
    RuleConfig(alert="Gone", expr="absent(up)"),
)


class Target:
    """A thing that is scraped until it is replaced."""

    def __init__(self, db: DB, number: int, series: int) -> None:
        (config,) = parse_config("scrape_configs: [{job_name: soak}]").scrape_configs
        labels = Labels.of(job="soak", instance=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:80")
        self.store = TargetStore(db, config, labels, mutator(config, labels))
        self.lines = [
            f'app_requests_total{{path="/v1/items/{i}",pod="web-{number}"}} %d' for i in range(series)
        ]
        self.value = 0

    def scrape(self, now_ms: int) -> None:
        self.value += 1
        text = "\n".join(line % (self.value * (i % 7 + 1)) for i, line in enumerate(self.lines))
        body = f"# TYPE app_requests_total counter\n{text}\n".encode()
        appended = self.store.append(body, KIND, now_ms)
        self.store.report(
            now_ms, up=True, seconds=0.01, appended=appended, timeout_seconds=10.0, body_bytes=len(body)
        )


def show(hour: int, directory: Path, db: DB, began: float) -> None:
    gc.collect()
    process = psutil.Process()
    files = [path for path in directory.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(
        f"{hour:4d} h  RSS {process.memory_info().rss / 2**20:6.1f} MiB  objects {len(gc.get_objects()):7d}"
        f"  files {len(files):4d}  open {process.num_fds():3d}  disk {size / 2**20:6.1f} MiB"
        f"  head {len(db.store.head):6d} series  blocks {len(db.blocks):3d}"
        f"  ({time.monotonic() - began:.0f} s)",
        flush=True,
    )


async def soak(hours: int, targets: int, series: int, directory: Path) -> None:
    clock = VirtualClock(START)
    db = DB.open(directory, Options(retention_ms=24 * HOUR_MS), clock)
    queries = Queries(db, clock, EngineOptions(), concurrency=4, threads=2)
    rules = RuleEngine(db, clock, queries.vector, queries.executor, lambda alerts, expr: None, RuleOptions())
    group = Group.of(RuleGroupConfig(name="soak", rules=list(RULES)), "f", interval_ms=STEP_SECONDS * 1000)
    made = targets
    running = [Target(db, number, series) for number in range(targets)]
    began = time.monotonic()
    for minute in range(hours * 60):
        now_ms = int(clock.now() * 1000)
        if minute % 60 == 30:
            for place in range(minute // 60 % 3, targets, 3):
                running[place].store.end(now_ms)
                running[place] = Target(db, made, series)
                made += 1
        for target in running:
            target.scrape(now_ms)
        await rules.evaluate(group, now_ms)
        await asyncio.to_thread(db.compact)
        if minute % 360 == 0:
            show(minute // 60, directory, db, began)
        await clock.advance(STEP_SECONDS)
    show(hours, directory, db, began)
    queries.close()
    db.close()


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:]]
    hours, targets, series = [*given, *(72, 30, 100)[len(given) :]]
    samples = hours * 3600 // STEP_SECONDS * targets * series
    print(f"{hours} h of {targets} targets x {series} series every {STEP_SECONDS} s: {samples} samples")
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(soak(hours, targets, series, Path(name)))


if __name__ == "__main__":
    main()
