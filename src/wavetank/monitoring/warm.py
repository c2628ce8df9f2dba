"""Loading the kernels before they are needed.

The first call of a kernel compiles it, once per machine, or loads it from the cache. Were that left to the
first scrape and the first query, both would come late: a scrape that misses its tick, a query over its
deadline. So a server makes one small round trip (scrape, store, query) in a thread before it is ready.

Compiling holds the interpreter's lock, so the first time ever a second process
(``python -m wavetank.monitoring.warm``) compiles one half, and this process finds it in the cache.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numba
import numpy as np

from wavetank.clock import Clock, RealClock
from wavetank.exposition.scrape_cache import ScrapeCache
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.process import python_argv
from wavetank.promql.engine import Engine
from wavetank.promql.promqltest.memory import MemoryStorage
from wavetank.promql.storage import Queryable
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

__all__ = ["QUERIES", "warm_kernels"]

_KERNEL_ROOMS = ("exposition", "tsdb", "promql")

_CONTENT_TYPE = "text/plain; version=0.0.4"
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
    stamp = _stamp()
    other = None if stamp.exists() else subprocess.Popen(python_argv("wavetank.monitoring.warm"))
    now_ms = int(clock.now() * 1000)
    with tempfile.TemporaryDirectory(prefix="wavetank-warm-") as name:
        db = DB.open(Path(name), Options(), clock)
        try:
            _append(db, now_ms)
            if other is not None:
                other.wait()
            cache = ScrapeCache()
            for i in range(3):
                _store(db, cache, now_ms - 30_000 + i * 10_000, i)
            _query(db, now_ms)
        finally:
            db.close()
    with suppress(OSError):
        stamp.touch()


def _stamp() -> Path:
    """A file that exists once the kernels as they now stand have been compiled here."""
    package = Path(__file__).parents[1]
    sources = sorted(p for room in _KERNEL_ROOMS for p in (package / room).rglob("*.py"))
    facts = [numba.__version__, platform.python_version(), *(str(p.stat().st_mtime_ns) for p in sources)]
    name = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    given = os.environ.get("NUMBA_CACHE_DIR")
    return (Path(given) if given else Path(__file__).parent / "__pycache__") / f"kernels-{name}.stamp"


def _append(db: DB, now_ms: int) -> None:
    """Some commits and selections: the kernels of the storage."""
    ref = 0
    appender = db.appender()
    for i in range(20):  # so many that a selection of one looks at it alone
        appender.append(0, Labels.of(__name__="warm", i=str(i)), now_ms - 60_000, float(i))
    appender.commit()
    for i in range(2):
        appender = db.appender()
        ref = appender.append(ref, Labels.of(__name__="warm"), now_ms - 60_000 + i, float(i))
        refs, times = np.array([ref], np.int64), np.array([now_ms - 50_000 + i], np.int64)
        appender.append_batch(refs, times, np.ones(1))
        appender.commit()
    late = db.appender()
    late.append_batch(refs, times - 60_000, np.ones(1))
    late.commit()
    named = Matcher(MatchType.EQUAL, METRIC_NAME, "warm")
    db.select([named, Matcher(MatchType.EQUAL, "i", "7")], now_ms - 60_000, now_ms)
    db.select([named], now_ms - 120_000, now_ms)  # with a sample that came late


def _query(storage: Queryable, now_ms: int) -> None:
    engine = Engine()
    for query in QUERIES:
        engine.query_range(storage, query, now_ms - 20_000, now_ms, 5_000)
        engine.query_instant(storage, query, now_ms)


def _other_half(clock: Clock) -> None:
    """The kernels of parsing and of PromQL, without a storage."""
    now_ms = int(clock.now() * 1000)
    ScrapeCache().parse(_BODY % (1, 1, 1, 1), _CONTENT_TYPE, default_timestamp_ms=now_ms)
    storage = MemoryStorage()
    for le in ("0.1", "1.0", "+Inf"):
        times = [now_ms - 30_000, now_ms - 20_000, now_ms - 10_000]
        for name in ("warm_total", "warm_seconds_bucket"):
            storage.add_series(Labels.of(__name__=name, a="1", le=le), [(t, 1.0) for t in times])
    _query(storage, now_ms)


def _store(db: DB, cache: ScrapeCache, at_ms: int, i: int) -> None:
    body = _BODY % (i, i, i, i)
    scrape = cache.parse(body, _CONTENT_TYPE, default_timestamp_ms=at_ms)
    appender = db.appender()
    for index, labels in scrape.new:
        named = labels if METRIC_NAME in labels else Labels.of(__name__="warm")
        cache.bind(scrape, index, appender.append(0, named, at_ms, float(scrape.values[index])))
    if not scrape.new:
        appender.append_batch(scrape.refs, scrape.timestamps_ms, scrape.values)
    appender.commit()


if __name__ == "__main__":
    _other_half(RealClock())
    sys.exit(0)
