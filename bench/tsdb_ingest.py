"""Ingestion: scrape (parse and append), append by ref, bulk text import, log replay, memory per series.

Prints medians of CPU time and, where promtool is installed, its own time on the same input and their ratio.
Usage: python bench/tsdb_ingest.py [append|scrape|import|replay|memory ...]
"""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wavetank.clock import RealClock, VirtualClock, cpu_seconds
from wavetank.exposition.scrape_cache import ScrapeCache
from wavetank.model.labels import Labels
from wavetank.monitoring.promtool.backfill import blocks_from_openmetrics
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Options
from wavetank.tsdb.series_table import key_of

BASE_MS = 1_699_999_200_000
FOREVER = Options(retention_ms=0, lock_file=False)


def show(what: str, samples: int, seconds: list[float], peer: float | None = None) -> None:
    median = statistics.median(seconds)
    line = f"{what:<58} {samples / median / 1e6:8.2f} M/s/core  ({median:.3f} CPU-s)"
    if peer is not None:
        line += f"   promtool {samples / peer / 1e6:6.2f} M/s   x{peer / median:.1f}"
    print(line, flush=True)


def labels_of(count: int) -> list[Labels]:
    """Seven labels each, as in facts about scraped series."""
    return [
        Labels.of(
            __name__=f"bench_metric_{i % 500}",
            instance=f"host-{i % 97}:9090",
            job="bench",
            method=("GET", "POST")[i % 2],
            code=str(200 + i % 5),
            path=f"/api/{i % 1000}",
            series=str(i),
        )
        for i in range(count)
    ]


def registered(db: DB, labels: list[Labels]) -> Any:
    keys = [key_of(each) for each in labels]
    offsets = np.cumsum([0, *map(len, keys)]).astype(np.int64)
    return db.series_refs(np.frombuffer(bytearray(b"".join(keys)), np.uint8), offsets)


def batches(count: int, steps: int, jitter: bool) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(1)
    values = np.zeros(count)
    out = []
    for step in range(steps):
        times = np.full(count, BASE_MS + step * 15_000)
        if jitter:
            times = times + rng.integers(0, 20, count)
            values = values + rng.normal(size=count)
        else:
            values = values + 1.0
        out.append((times, values.copy()))
    return out


def promtool_write(series: int) -> float | None:
    """CPU seconds of ``promtool tsdb bench write`` for 20,000 series, 600 samples each."""
    if shutil.which("promtool") is None:
        return None
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "series.json"
        source.write_text("\n".join(json.dumps(dict(each)) for each in labels_of(series)))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [
            "promtool",
            "tsdb",
            "bench",
            "write",
            f"--metrics={series}",
            "--scrapes=600",
            f"--out={work}/out",
        ]
        done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False, cwd=work)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)
            return None
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench_append() -> None:
    peer = promtool_write(20_000)
    for jitter in (False, True):
        for compression in ("none", "snappy"):
            for count, steps in ((20_000, 600), (200_000, 60)):
                work = Path(tempfile.mkdtemp())
                db = DB.open(work, Options(retention_ms=0, wal_compression=compression), VirtualClock())  # type: ignore[arg-type]
                refs = registered(db, labels_of(count))
                data = batches(count, steps, jitter)
                begin = 0.0
                for step, (times, values) in enumerate(data):
                    if step == 1:  # the first scrape logs the series, too
                        begin = cpu_seconds()
                    appender = db.appender()
                    appender.append_batch(refs, times, values)
                    appender.commit()
                spent = cpu_seconds() - begin
                name = (
                    f"append by ref, {count} series, {'random walk' if jitter else 'ramp'}, log {compression}"
                )
                same = count == 20_000 and not jitter and compression == "none"
                show(name, count * (steps - 1), [spent], peer if same else None)
                db.close()
                shutil.rmtree(work)


def bench_scrape() -> None:
    count = 50_000
    rng = np.random.default_rng(2)
    series = [str(each).replace('", ', '",') for each in labels_of(count)]  # as exporters write it
    for jitter in (False, True):
        work = Path(tempfile.mkdtemp())
        db = DB.open(work, FOREVER, VirtualClock())
        cache = ScrapeCache()
        values = np.zeros(count)
        spent = []
        parse_only = []
        for scrape in range(8):
            values = values + (rng.normal(size=count) if jitter else 1.0)
            body = "".join(f"{s} {v!r}\n" for s, v in zip(series, values.tolist(), strict=True)).encode()
            begin = cpu_seconds()
            found = cache.parse(body, "text/plain", default_timestamp_ms=BASE_MS + scrape * 15_000)
            parsed = cpu_seconds()
            if found.new:
                refs = registered(db, [labels for _, labels in found.new])
                for (index, _), ref in zip(found.new, refs.tolist(), strict=True):
                    cache.bind(found, index, ref)
            appender = db.appender()
            appender.append_batch(found.refs, found.timestamps_ms, found.values)
            appender.commit()
            if scrape > 1:
                spent.append(cpu_seconds() - begin)
                parse_only.append(parsed - begin)
        kind = "random walk" if jitter else "counters"
        show(f"scrape 50k series, {kind}: parse", count, parse_only)
        show(f"scrape 50k series, {kind}: parse and append", count, spent)
        db.close()
        shutil.rmtree(work)


def bench_import() -> None:
    """OpenMetrics text with timestamps, as ``promtool tsdb create-blocks-from openmetrics`` takes it."""
    series, points = 400, 2500
    lines = ["# TYPE bench gauge"]
    rng = np.random.default_rng(3)
    for k in range(points):
        values = rng.normal(size=series).tolist()
        stamp = BASE_MS // 1000 + k * 15
        lines += [f'bench{{series="{i}",job="import"}} {v!r} {stamp}' for i, v in enumerate(values)]
    text = ("\n".join(lines) + "\n# EOF\n").encode()
    peer = None
    with tempfile.TemporaryDirectory() as work:
        if shutil.which("promtool") is not None:
            source = Path(work) / "in.om"
            source.write_bytes(text)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(source), f"{work}/out"]
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            peer = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        source = Path(work) / "ours.om"
        source.write_bytes(text)
        spent = []
        for turn in range(3):
            begin = cpu_seconds()
            blocks_from_openmetrics(
                source, Path(work) / str(turn), RealClock(), width_ms=2 * HOUR_MS, labels={}
            )
            spent.append(cpu_seconds() - begin)
        show("bulk import of OpenMetrics text to blocks", series * points, spent[1:], peer)


def bench_replay() -> None:
    for count, steps, goal in ((20_000, 300, 0.75), (200_000, 100, 10.2)):
        work = Path(tempfile.mkdtemp())
        db = DB.open(work, Options(retention_ms=0, lock_file=False), VirtualClock())
        refs = registered(db, labels_of(count))
        for times, values in batches(count, steps, False):
            appender = db.appender()
            appender.append_batch(refs, times, values)
            appender.commit()
        db.close()
        for files in ("with chunks_head", "log only"):
            walls = []
            for _ in range(3):
                if files == "log only":
                    shutil.rmtree(work / "chunks_head", ignore_errors=True)
                clock = RealClock()
                begin, cpu = clock.monotonic(), cpu_seconds()
                again = DB.open(work, Options(retention_ms=0, lock_file=False), VirtualClock())
                walls.append(clock.monotonic() - begin)
                spent = cpu_seconds() - cpu
                assert again.replays[0].samples == count * steps
                again.close()
            peer = promtool_free_replay(work) if files == "with chunks_head" else None
            print(
                f"replay {count * steps / 1e6:.0f} M samples, {count} series, {files:<17}"
                f" {statistics.median(walls):6.2f} s wall, {spent:.2f} CPU-s"
                + (f"   prometheus {peer:.2f} s, x{peer / statistics.median(walls):.1f}" if peer else "")
                + f"   (measured before elsewhere: {goal} s)",
                flush=True,
            )
        shutil.rmtree(work)


def promtool_free_replay(data: Path) -> float | None:
    """Seconds that Prometheus itself says it took to replay this directory."""
    if shutil.which("prometheus") is None:
        return None
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "data"
        shutil.copytree(data, copy)
        config = Path(work) / "p.yml"
        config.write_text("")
        child = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={copy}", "--log.format=json",
             "--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=100y"],
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert child.stderr is not None
        seconds = None
        for line in child.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if "total_replay_duration" in entry:
                text = entry["total_replay_duration"]
                seconds = float(text[:-2]) / 1000 if text.endswith("ms") else float(text.rstrip("s"))
            if entry.get("msg") == "Server is ready to receive web requests." or seconds is not None:
                break
        child.terminate()
        child.communicate(timeout=60)
        return seconds


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def bench_memory() -> None:
    """Resident memory per active series of a head of 200,000 series of seven labels, 60 samples each."""
    warm = DB.open(Path(tempfile.mkdtemp()), FOREVER, VirtualClock())
    warm_refs = registered(warm, labels_of(100))
    for times, values in batches(100, 150, True):
        appender = warm.appender()
        appender.append_batch(warm_refs, times, values)
        appender.commit()
    for jitter in (False, True):
        if os.fork():  # a process of its own: memory freed by the other would be used again unseen
            os.wait()
            continue
        every = labels_of(200_000)
        gc.collect()
        before = resident_bytes()
        db = DB.open(Path(tempfile.mkdtemp()), FOREVER, VirtualClock())
        count = 200_000
        refs = np.concatenate([registered(db, every[i : i + 20_000]) for i in range(0, count, 20_000)])
        rng = np.random.default_rng(1)
        values = np.zeros(count)
        for step in range(60):
            values = values + (rng.normal(size=count) if jitter else 1.0)
            appender = db.appender()
            appender.append_batch(refs, np.full(count, BASE_MS + step * 15_000), values)
            appender.commit()
        del refs, values
        gc.collect()
        used = resident_bytes() - before
        kind = "random walk" if jitter else "ramp"
        print(
            f"memory, 200k series of 7 labels, 60 samples each ({kind}): {used / count / 1000:.2f} KB/series",
            flush=True,
        )
        db.close()
        os._exit(0)


def main() -> None:
    """Run the named benches, or all; a first small run loads the kernels."""
    table: dict[str, Callable[[], None]] = {
        "append": bench_append,
        "scrape": bench_scrape,
        "import": bench_import,
        "replay": bench_replay,
        "memory": bench_memory,
    }
    warm = DB.open(Path(tempfile.mkdtemp()), FOREVER, VirtualClock())
    refs = registered(warm, labels_of(10))
    for times, values in batches(10, 2, False):
        appender = warm.appender()
        appender.append_batch(refs, times, values)
        appender.commit()
    ScrapeCache().parse(b"a 1\n", "text/plain", default_timestamp_ms=0)
    warm.flush()
    warm.close()
    for name in sys.argv[1:] or list(table):
        table[name]()


if __name__ == "__main__":
    main()
