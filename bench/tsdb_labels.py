"""Label search in the head: many series, upstream's kinds of matchers.

Series and matchers are those of upstream's BenchmarkQuerier, whose own size is 5,000,000. Prints the median
wall time per matcher set. No peer: the postings of Debian's Prometheus cannot be asked alone.
Usage: python bench/tsdb_labels.py [series, default 5000000]
"""

from __future__ import annotations

import re
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
#: Upstream's forty sets; values after ``=`` and ``!=`` get SUFFIX, but those of ``j``.
SETS = """
n=1|n=X|n=1 j=foo|n=X j=foo|j=foo n=1|n=1 j!=foo|n=1 i!=2|n=0_1 j=foo a=1|n=X j!=foo
i=~1[0-9] j=~foo/bar|j=~foo/bar|j=~XXX/YYY|j=~X.+|i=~(1/2/3/4/5/6/20/55)|i!~(1/2/3/4/5/6/20/55)|i=~X/Y/Z
i!~X/Y/Z|i=~.*|i=~1.*|i=~.*1|i=~.+|i=~.+ j=~X.+|i=~|i!=|n=1 i=~.* j=foo|n=X i=~.* j=foo
n=1 i=~.* i!=2 j=foo|n=1 i!=|n=1 i!= j=foo|n=1 i!= j=~X.+|n=1 i!= j=~XXX/YYY|n=1 i=~X/Y/Z j=foo
n=1 i!~X/Y/Z j=foo|n=1 i=~.+ j=foo|n=1 i=~1.+ j=foo|n=1 i=~.*1.* j=foo|n=1 i=~.+ i!=2 j=foo
n=1 i=~.+ i!~2.* j=foo|n=1 i=~.+ i!~.*2.* j=foo|n=X i=~.+ i!~.*2.* j=foo
"""
OPERATORS = {"=": EQ, "!=": NE, "=~": RE, "!~": NR}


def matchers_of(text: str) -> list[Matcher]:
    """``n=1 j!=foo`` as matchers; a slash stands for the bar of alternatives."""
    made = []
    for each in text.split():
        found = re.fullmatch(r"(\w)(=~|!~|!=|=)(.*)", each)
        assert found is not None, each
        name, operator, value = found.groups()
        long = operator in ("=", "!=") and name != "j" and value
        made.append(Matcher(OPERATORS[operator], name, value.replace("/", "|") + (SUFFIX if long else "")))
    return made


def key(pairs: list[tuple[str, str]]) -> bytes:
    parts = [uvarint(len(pairs))]
    for name, value in pairs:
        parts += (uvarint(len(name)), name.encode(), uvarint(len(value)), value.encode())
    return b"".join(parts)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    clock = RealClock()
    db = DB.open(Path(tempfile.mkdtemp()), Options(lock_file=False), VirtualClock())
    begin = clock.monotonic()
    batch: list[bytes] = []
    for n in range(10):
        batch.append(key([("a", f"{n}{SUFFIX}")]))
        for i in range(count // 50):
            for prefix, j in (("", "foo"), ("", "bar"), ("0_", "bar"), ("1_", "bar"), ("2_", "foo")):
                batch.append(key([("i", f"{i}{SUFFIX}"), ("j", j), ("n", f"{prefix}{n}{SUFFIX}")]))
            if len(batch) >= 50_000:
                flush(db, batch)
    flush(db, batch)
    print(f"{len(db.store.head)} series made in {clock.monotonic() - begin:.1f} s")
    begin = clock.monotonic()
    db.store.head.index.refresh()
    medians: list[float] = []
    print(f"postings of all built in {clock.monotonic() - begin:.2f} s")
    for wanted in SETS.replace("\n", "|").strip("|").split("|"):
        matchers = matchers_of(wanted)
        times = []
        for _ in range(3):
            begin = clock.monotonic()
            rows = matching_rows(db.store.head.index, matchers)
            times.append(clock.monotonic() - begin)
        took = statistics.median(times)
        medians.append(took)
        print(f"{wanted:<36} {len(rows):>9} rows {took * 1000:9.3f} ms", flush=True)
    print(f"{len(medians)} sets, geometric mean {statistics.geometric_mean(medians) * 1000:.3f} ms")


def flush(db: DB, batch: list[bytes]) -> None:
    if batch:
        offsets = np.cumsum([0, *map(len, batch)]).astype(np.int64)
        db.store.head.add_series(np.frombuffer(bytearray(b"".join(batch)), np.uint8), offsets)
        batch.clear()


if __name__ == "__main__":
    main()
