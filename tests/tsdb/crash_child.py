"""Forks writers that write until they are killed: one line on standard output for every acknowledged commit.

The kernels are loaded once, before the first fork, so that hundreds of kills take minutes. Commands on
standard input are ``directory first-step``; the answer begins with ``pid N`` and ends with ``dead``.
"""

from __future__ import annotations

import os
import sys
import tempfile

import numpy as np

from wavetank.clock import RealClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

BASE_MS = 1_699_999_200_000
SERIES = 8
ZEROS = (0.0,) * 4


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def write(path: str, first: int, last: int) -> None:
    # Small segments and blocks, so that kills fall into segment changes, flushes and checkpoints too; and every
    # third writer keeps start timestamps, so that the log has records of both kinds.
    with_starts = first % 3 == 0
    options = Options(
        wal_segment_bytes=64 * 1024,
        min_block_ms=600_000,
        max_block_ms=5_400_000,
        head_chunks_in_memory=4,
        start_storage=with_starts,
        float_chunks="xor2" if with_starts else "xor",
        histogram_starts=with_starts,
    )
    db = DB.open(path, options, RealClock())
    say("open")
    histogram = Labels.of(__name__="crash_histogram")
    for step in range(first, last):
        refs = np.array([db.series_ref(Labels.of(__name__="crash", i=str(i))) for i in range(SERIES)])
        appender = db.appender()
        times = np.full(SERIES, BASE_MS + step * 15_000)
        starts = np.full(SERIES, BASE_MS + step // 50 * 750_000 - 1)
        appender.append_batch(refs, times, np.arange(SERIES) + step * 100.0, starts)
        # one late sample per commit, four hours and a bit back
        late = np.array([BASE_MS + step * 15_000 - 15_000_007], np.int64)
        appender.append_batch(refs[:1], late, np.array([step + 0.5]))
        buckets = 1 + step // 30 % 4
        sample = FloatHistogram(
            0, step, step * 2.0, 0.001, 0.0, ((0, buckets),), (float(step), *ZEROS[1:buckets])
        )
        appender.append_histogram(0, histogram, BASE_MS + step * 15_000, sample, int(starts[0]))
        late_ms = BASE_MS + step * 15_000 - 15_000_007
        appender.append_histogram(0, Labels.of(__name__="crash_histogram", late="1"), late_ms, sample)
        appender.append_histogram(0, Labels.of(__name__="crash_histogram", late="1"), late_ms - 7, sample)
        appender.commit()
        say(str(step))
        if step % 37 == 0:
            db.compact()
        if step % 211 == 0:
            db.flush()
    db.close()


def serve() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        quiet, shown = os.open(os.devnull, os.O_WRONLY), os.dup(1)
        os.dup2(quiet, 1)
        write(scratch, 0, 250)  # loads every kernel
        write(scratch, 250, 260)
        os.dup2(shown, 1)
    for line in sys.stdin:
        path, first = line.rsplit(" ", 1)
        pid = os.fork()
        if pid == 0:
            write(path, int(first), int(first) + 100_000)
            os._exit(0)
        say(f"pid {pid}")
        os.waitpid(pid, 0)
        say("dead")


if __name__ == "__main__":
    serve()
