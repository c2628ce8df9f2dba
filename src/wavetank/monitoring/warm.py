"""Loading the kernels before they are needed.

The first call of a kernel compiles it, once per machine, or loads it from the cache. Were that left to the
first scrape and the first query, both would come late: a scrape that misses its tick, a query over its
deadline. So a server makes one small round trip (scrape, store, query) in a thread before it is ready.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from wavetank.clock import Clock
from wavetank.exposition.scrape_cache import ScrapeCache
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.promql.engine import Engine
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

__all__ = ["QUERIES", "warm_kernels"]

_BODY = b"""# TYPE warm_total counter
warm_total{a="1"} %d
# TYPE warm_seconds histogram
warm_seconds_bucket{le="0.1"} %d
warm_seconds_bucket{le="1.0"} %d
warm_seconds_bucket{le="+Inf"} %d
"""

#: What rehearsals and dashboards ask most.
QUERIES = (
    "warm_total",
    'sum(increase(warm_total{a=~"1|2"}[30s])) / sum(increase(warm_total[30s]))',
    "max by (a) (rate(warm_total[30s]))",
    "histogram_quantile(0.95, sum by (le) (increase(warm_seconds_bucket[30s]))) / 1000",
)


def warm_kernels(clock: Clock) -> None:
    """One scrape, one commit and the usual queries, in a directory that is thrown away."""
    now_ms = int(clock.now() * 1000)
    with tempfile.TemporaryDirectory(prefix="wavetank-warm-") as name:
        db = DB.open(Path(name), Options(), clock)
        try:
            cache = ScrapeCache()
            for i in range(3):
                _store(db, cache, now_ms - 30_000 + i * 10_000, i)
            engine = Engine()
            for query in QUERIES:
                engine.query_range(db, query, now_ms - 20_000, now_ms, 5_000)
                engine.query_instant(db, query, now_ms)
        finally:
            db.close()


def _store(db: DB, cache: ScrapeCache, at_ms: int, i: int) -> None:
    body = _BODY % (i, i, i, i)
    scrape = cache.parse(body, "text/plain; version=0.0.4", default_timestamp_ms=at_ms)
    appender = db.appender()
    for index, labels in scrape.new:
        named = labels if METRIC_NAME in labels else Labels.of(__name__="warm")
        cache.bind(scrape, index, appender.append(0, named, at_ms, float(scrape.values[index])))
    if not scrape.new:
        appender.append_batch(scrape.refs, scrape.timestamps_ms, scrape.values)
    appender.commit()
