"""What a rule and a dashboard's queries cost in the engine, over a head of many series.

Usage: python bench/promql_rules.py [targets series scrapes profile]

Fills a database by the ordinary append path with the series of ``bench/monitoring_peer.py`` and times, in
this process and thread: its rule (`sum by (code) (rate(...[1m]))` over one target) at one instant, each for
another target and for all again, and the queries of its dashboard over five minutes. Prints the CPU time of
one in milliseconds, the median of rounds. With ``profile`` as last argument it prints where the time goes.
"""

from __future__ import annotations

import cProfile
import pstats
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wavetank.clock import RealClock
from wavetank.model.labels import Labels
from wavetank.promql.engine import Engine
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options
from wavetank.tsdb.series_table import key_of

INTERVAL_MS = 15_000
RULE = 'sum by (code) (rate(app_requests_total{{pod="web-{pod}"}}[1m]))'
DASHBOARD = (
    RULE,
    'topk(5, rate(app_requests_total{{pod="web-{pod}"}}[1m]))',
    'app_requests_total{{pod="web-{pod}",code="200"}}',
    'histogram_quantile(0.9, rate(app_requests_total{{pod="web-{pod}"}}[1m]))',
)
SINGLE = 'app_requests_total{{pod="web-{pod}",path="/v1/items/6"}}'


def fill(db: DB, targets: int, series: int, scrapes: int) -> int:
    """Scrape after scrape, target after target; returns the time of the last."""
    refs = []
    for target in range(targets):
        keys = [
            key_of(
                Labels.of(
                    (),
                    __name__="app_requests_total",
                    code=str(200 + i % 5),
                    instance="127.0.0.1:9000",
                    job=f"job-{target}",
                    method="GET",
                    path=f"/v1/items/{i}",
                    pod=f"web-{target}",
                )
            )
            for i in range(series)
        ]
        offsets = np.cumsum([0, *map(len, keys)]).astype(np.int64)
        refs.append(db.series_refs(np.frombuffer(bytearray(b"".join(keys)), np.uint8), offsets))
    begin = round(time.time() * 1000) // 60_000 * 60_000 - scrapes * INTERVAL_MS
    each = np.arange(series)
    for scrape in range(scrapes):
        values = each * 1000.0 + scrape % 4 * (each % 7)
        for target in range(targets):
            at = begin + scrape * INTERVAL_MS + target * INTERVAL_MS // targets
            appender = db.appender()
            appender.append_batch(refs[target], np.full(series, at), values)
            appender.commit()
    return begin + scrapes * INTERVAL_MS


def timed(name: str, run: Callable[[int], object], rounds: int, *, profile: bool) -> None:
    run(0)
    taken = []
    for i in range(rounds):
        began = time.thread_time()
        run(i)
        taken.append(time.thread_time() - began)
    spread = f"{min(taken) * 1000:.3f} to {max(taken) * 1000:.3f}"
    print(f"{name:60} {statistics.median(taken) * 1000:8.3f} ms ({spread})", flush=True)
    if profile:
        profiler = cProfile.Profile()
        profiler.enable()
        for i in range(rounds):
            run(i)
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)


def main() -> None:
    profile = sys.argv[-1] == "profile"
    given = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    targets, series, scrapes = [*given, *(200, 1000, 40)[len(given) :]]
    root = Path(tempfile.mkdtemp(prefix="promql-rules-"))
    db = DB.open(root, Options(), RealClock())
    try:
        began = time.process_time()
        now = fill(db, targets, series, scrapes)
        print(f"{targets} targets x {series} series, {scrapes} scrapes: {time.process_time() - began:.1f} s")
        engine = Engine()

        def instant(text: str) -> Callable[[int], object]:
            return lambda i: engine.query_instant(db, text.format(pod=i * 37 % targets), now)

        def span(text: str) -> Callable[[int], object]:
            return lambda i: engine.query_range(
                db, text.format(pod=i * 37 % targets), now - 300_000, now, INTERVAL_MS
            )

        timed("rule, first time", instant(RULE), min(targets, 100), profile=False)
        timed("rule, again", instant(RULE), min(targets, 100), profile=profile)
        timed("one series, again", lambda i: instant(SINGLE)(i % 5), 100, profile=profile)
        for text in DASHBOARD:
            timed(f"20 steps: {text}", span(text), min(targets, 50), profile=profile)
    finally:
        db.close()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
