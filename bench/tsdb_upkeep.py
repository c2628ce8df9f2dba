"""How long the flush of a large head makes others wait for it.

Usage: python bench/tsdb_upkeep.py [series]

Three hours of samples a minute apart, of which a tenth of the series sees only the first; then the flush of
the first two hours, while another thread takes the head's lock again and again, as queries and scrapes do.
Prints CPU and wall time of the flush, and the longest wait.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time

import numpy as np

from wavetank.clock import VirtualClock
from wavetank.model.labels import Labels
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Options
from wavetank.tsdb.series_table import key_of

START = 1_700_000_000_000 // (2 * HOUR_MS) * (2 * HOUR_MS)


def series_of(db: DB, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    keys = [
        key_of(Labels.of(__name__="m", pod=f"web-{i // 1000}", path=f"/v1/items/{i % 1000}", job="j"))
        for i in range(count)
    ]
    flat = np.frombuffer(bytearray(b"".join(keys)), np.uint8)
    return db.series_refs(flat, np.cumsum([0, *map(len, keys)]).astype(np.int64))


def fill(db: DB, refs: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    for minute in range(183):
        live = refs if minute < 60 else refs[: len(refs) * 9 // 10]
        appender = db.appender()
        times = np.full(len(live), START + minute * 60_000)
        appender.append_batch(live, times, np.arange(len(live)) * 1.0 + minute)
        appender.commit()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    waits: list[float] = []
    over = threading.Event()

    def ask(db: DB) -> None:
        while not over.is_set():
            began = time.monotonic()
            with db.store.head.lock:
                waits.append(time.monotonic() - began)
            time.sleep(0.002)

    with tempfile.TemporaryDirectory() as name:
        db = DB.open(name, Options(), VirtualClock(1.7e9))
        fill(db, series_of(db, count))
        asking = threading.Thread(target=ask, args=(db,))
        asking.start()
        began, cpu = time.monotonic(), time.process_time()
        db.compact()
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
        over.set()
        asking.join()
        waits.sort()
        print(
            f"{count} series, {len(db.store.head)} left: flush of two hours {wall:.1f} s ({cpu:.1f} of CPU);"
            f" waits for the head: median {waits[len(waits) // 2] * 1000:.2f} ms, longest"
            f" {waits[-1] * 1000:.0f} ms"
        )
        db.close()


if __name__ == "__main__":
    main()
