"""First run: seconds to compile the kernels of append, select and scrape; and memory of an idle database.

Usage: python bench/tsdb_cold.py (runs itself once with an empty kernel cache, once with a full one)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def child() -> None:
    from wavetank.clock import RealClock, VirtualClock

    clock = RealClock()
    begin = clock.monotonic()
    import numpy as np

    from wavetank.exposition.scrape_cache import ScrapeCache
    from wavetank.model.labels import Labels, Matcher, MatchType
    from wavetank.tsdb.db import DB
    from wavetank.tsdb.options import Options

    imported = clock.monotonic()
    db = DB.open(Path(tempfile.mkdtemp()), Options(), VirtualClock())
    refs = np.array([db.series_ref(Labels.of(__name__="m", i=str(i), job="x")) for i in range(3000)])
    appender = db.appender()
    appender.append_batch(refs, np.full(3000, 1_700_000_000_000), np.arange(3000.0))
    appender.commit()
    appended = clock.monotonic()
    db.select([Matcher(MatchType.EQUAL, "__name__", "m")], 0, 1 << 60)
    selected = clock.monotonic()
    ScrapeCache().parse(b"a 1\n", "text/plain", default_timestamp_ms=0)
    scraped = clock.monotonic()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    print(
        f"import {imported - begin:.1f} s, append {appended - imported:.1f} s, "
        f"select {selected - appended:.1f} s, scrape {scraped - selected:.1f} s; resident {resident:.0f} MB"
    )
    db.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
            done = subprocess.run(
                [sys.executable, __file__, "child"],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"{name}: {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    child() if sys.argv[1:] == ["child"] else main()
