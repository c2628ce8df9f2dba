"""Days of a server's work in minutes: does anything grow?

Usage: python bench/monitoring_soak.py [hours targets series]

Scrapes (bodies made here, no network), rules and upkeep run on a virtual clock, every 60 s of it, over a real
storage with a day of retention. Every hour a third of the targets is replaced by new ones, as deployments do.
Prints every few hours: resident memory (anonymous: arrays and objects; of files: blocks and head chunks
that are mapped), what is left of it after malloc_trim, objects of Python, files and descriptors, series in
the head, blocks and bytes on disk; at the end how much each grows an hour after the first day, by the median
slope between any two looks (Theil-Sen), which one high-water mark of a compaction does not move.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from wavetank.allocator import one_arena
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


@dataclass(frozen=True, slots=True)
class Look:
    """What the process and its directory hold at one hour; sizes in MiB."""

    hour: int
    anonymous: float
    trimmed: float  # anonymous after free memory was given back
    mapped: float
    objects: int
    files: int
    descriptors: int
    disk: float


def resident_mib(kind: str) -> float:
    """A line of /proc/self/smaps_rollup (its fields are in KiB)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return int(fields[kind].split()[0]) / 1024


def look(hour: int, directory: Path, db: DB, began: float) -> Look:
    gc.collect()
    anonymous, mapped = resident_mib("Anonymous"), resident_mib("Rss") - resident_mib("Anonymous")
    ctypes.CDLL(None).malloc_trim(0)
    paths = [path for path in directory.rglob("*") if path.is_file()]
    found = Look(
        hour,
        anonymous,
        resident_mib("Anonymous"),
        mapped,
        len(gc.get_objects()),
        len(paths),
        psutil.Process().num_fds(),
        sum(path.stat().st_size for path in paths) / 2**20,
    )
    print(
        f"{hour:4d} h  anonymous {found.anonymous:6.1f} MiB, trimmed {found.trimmed:6.1f}  of files"
        f" {found.mapped:6.1f}  objects {found.objects:7d}  files {found.files:4d}"
        f"  open {found.descriptors:3d}"
        f"  disk {found.disk:6.1f} MiB  head {len(db.store.head):6d} series  blocks {len(db.blocks):3d}"
        f"  ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    return found


def verdict(looks: list[Look]) -> None:
    """The growth of each quantity an hour once a day has passed, beside its median."""
    late = [each for each in looks if each.hour >= 24]
    if len(late) < 3:
        print("too short for a verdict: it looks at what comes after the first day")
        return
    for name in ("anonymous", "trimmed", "mapped", "objects", "files", "descriptors", "disk"):
        slope = statistics.median(
            (getattr(b, name) - getattr(a, name)) / (b.hour - a.hour)
            for a, b in itertools.combinations(late, 2)
        )
        values = [getattr(each, name) for each in late]
        typical = statistics.median(values)
        day = slope * 24 / max(typical, 1) * 100
        print(
            f"{name:>11}: median {typical:9.1f}, from {min(values):.1f} to {max(values):.1f};"
            f" {slope:+8.3f} an hour, {day:+5.1f} % a day"
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
    looks = []
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
        if minute % 180 == 0:
            looks.append(look(minute // 60, directory, db, began))
        await clock.advance(STEP_SECONDS)
    looks.append(look(hours, directory, db, began))
    verdict(looks)
    queries.close()
    db.close()


def main() -> None:
    one_arena()  # as the server does
    given = [int(argument) for argument in sys.argv[1:]]
    hours, targets, series = [*given, *(72, 30, 100)[len(given) :]]
    samples = hours * 3600 // STEP_SECONDS * targets * series
    print(f"{hours} h of {targets} targets x {series} series every {STEP_SECONDS} s: {samples} samples")
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(soak(hours, targets, series, Path(name)))


if __name__ == "__main__":
    main()
