"""Label search in the head: many series, upstream's kinds of matchers.

The series are made as upstream's BenchmarkQuerier makes them: ``i`` of many values, ``n`` and ``j`` of few.
Prints the median wall time per matcher set. Usage: python bench/tsdb_labels.py [series, default 1000000]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from wavetank.clock import RealClock, VirtualClock
from wavetank.model.labels import Matcher, MatchType
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options
from wavetank.tsdb.postings import matching_rows
from wavetank.tsdb.wal.records import uvarint

EQ, NE, RE, NR = MatchType.EQUAL, MatchType.NOT_EQUAL, MatchType.REGEXP, MatchType.NOT_REGEXP
SUFFIX = "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"
SETS: list[list[tuple[MatchType, str, str]]] = [
    [(EQ, "n", "1" + SUFFIX)],
    [(EQ, "n", "1" + SUFFIX), (EQ, "j", "foo")],
    [(EQ, "j", "foo"), (EQ, "n", "1" + SUFFIX)],
    [(EQ, "n", "1" + SUFFIX), (NE, "j", "foo")],
    [(RE, "i", ".*")],
    [(RE, "i", ".+")],
    [(RE, "i", "")],
    [(NE, "i", "")],
    [(EQ, "n", "1" + SUFFIX), (RE, "i", ".*"), (EQ, "j", "foo")],
    [(EQ, "n", "1" + SUFFIX), (RE, "i", ".*"), (NE, "i", "2" + SUFFIX), (EQ, "j", "foo")],
    [(EQ, "n", "1" + SUFFIX), (NE, "i", "")],
    [(EQ, "n", "1" + SUFFIX), (NE, "i", ""), (EQ, "j", "foo")],
    [(EQ, "n", "1" + SUFFIX), (RE, "i", ".+"), (EQ, "j", "foo")],
    [(EQ, "n", "1" + SUFFIX), (RE, "i", "1.+"), (EQ, "j", "foo")],
    [(EQ, "n", "1" + SUFFIX), (RE, "i", ".+"), (NE, "i", "2" + SUFFIX), (EQ, "j", "foo")],
    [(EQ, "n", "1" + SUFFIX), (RE, "i", ".+"), (NR, "i", "2.*"), (EQ, "j", "foo")],
    [(EQ, "n", "1" + SUFFIX), (RE, "i", "(1|2|3)" + SUFFIX)],
]


def key(pairs: list[tuple[str, str]]) -> bytes:
    parts = [uvarint(len(pairs))]
    for name, value in pairs:
        parts += (uvarint(len(name)), name.encode(), uvarint(len(value)), value.encode())
    return b"".join(parts)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    clock = RealClock()
    db = DB.open(Path(tempfile.mkdtemp()), Options(lock_file=False), VirtualClock())
    begin = clock.monotonic()
    batch: list[bytes] = []
    for number in range(count // 10):
        i, n, j = number % 100_000, number // 100_000 * 2, number % 2
        for part in range(10):
            pairs = [("i", f"{i}{SUFFIX}"), ("j", "foo" if j else "bar"), ("n", f"{(n + part) % 10}{SUFFIX}")]
            batch.append(key([*pairs, ("p", str(part))]))
        if len(batch) >= 50_000:
            flush(db, batch)
    flush(db, batch)
    print(f"{len(db.store.head)} series made in {clock.monotonic() - begin:.1f} s")
    begin = clock.monotonic()
    db.store.head.index.refresh()
    print(f"postings of all built in {clock.monotonic() - begin:.2f} s")
    for wanted in SETS:
        matchers = [Matcher(*each) for each in wanted]
        times = []
        for _ in range(3):
            begin = clock.monotonic()
            rows = matching_rows(db.store.head.index, matchers)
            times.append(clock.monotonic() - begin)
        shown = ",".join(str(m).replace(SUFFIX, "~") for m in matchers)
        print(f"{shown:<60} {len(rows):>9} rows {statistics.median(times) * 1000:9.2f} ms", flush=True)


def flush(db: DB, batch: list[bytes]) -> None:
    if batch:
        offsets = np.cumsum([0, *map(len, batch)]).astype(np.int64)
        db.store.head.add_series(np.frombuffer(bytearray(b"".join(batch)), np.uint8), offsets)
        batch.clear()


if __name__ == "__main__":
    main()
