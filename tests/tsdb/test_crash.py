"""kill -9 at random moments: no acknowledged sample is lost, and the directory opens again every time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from crash_child import BASE_MS, SERIES
from tsdb_model import EVER, matching

from wavetank.clock import RealClock
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

CHILD = Path(__file__).parent / "crash_child.py"
#: Set WAVETANK_CRASHES=500 for the long run; the default keeps the suite short.
KILLS = int(os.environ.get("WAVETANK_CRASHES", "40"))
SEED = int(os.environ.get("WAVETANK_CRASH_SEED", "1"))


def run_and_kill(server: subprocess.Popen[str], path: Path, first: int, chance: random.Random) -> int:
    """Returns the last step that was acknowledged."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{path} {first}\n")
    server.stdin.flush()
    until = chance.randrange(0, 120)
    pid = 0
    acknowledged = first - 1
    while True:
        line = server.stdout.readline().strip()
        assert line, "the writer's parent died"
        if line == "dead":
            return acknowledged
        if line.startswith("pid "):
            pid = int(line[4:])
        elif line != "open":
            acknowledged = int(line)
        if pid and acknowledged - first + 1 >= until and (line == "open" or acknowledged >= first):
            for _ in range(chance.randrange(20_000)):  # a few instructions more or less, instead of a sleep
                pass
            os.kill(pid, signal.SIGKILL)
            pid = 0


def check(db: DB, steps: int) -> None:
    wanted = [BASE_MS + step * 15_000 for step in range(steps)]
    batch = db.select(matching("__name__", "crash"), BASE_MS, EVER[1])
    assert len(batch.labels) == SERIES
    for i, labels in enumerate(batch.labels):
        part = slice(batch.offsets[i], batch.offsets[i + 1])
        found = dict(zip(batch.timestamps_ms[part].tolist(), batch.values[part].tolist(), strict=True))
        number = int(labels.get("i"))
        for step, t in enumerate(wanted):
            assert found.get(t) == number + step * 100.0, (labels, step)
    late = db.select(matching("i", "0"), *EVER)
    found = dict(zip(late.timestamps_ms.tolist(), late.values.tolist(), strict=True))
    for step, t in enumerate(wanted):
        assert found.get(t - 15_000_007) == step + 0.5, step
    histograms = db.select(matching("__name__", "crash_histogram"), *EVER)
    first, second = histograms.offsets[1:3]
    assert set(wanted) <= set(histograms.timestamps_ms[:first].tolist())
    behind = [t - 15_000_007 - back for t in wanted for back in (0, 7)]
    assert set(behind) <= set(histograms.timestamps_ms[first:second].tolist())


@pytest.mark.slow
def test_no_acknowledged_sample_is_lost(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    step = 0
    options = Options(wal_segment_bytes=64 * 1024, min_block_ms=600_000, max_block_ms=5_400_000)
    with subprocess.Popen(
        [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        for kill in range(KILLS):
            # The next round writes again a step that may have been stored without being acknowledged.
            step = run_and_kill(server, tmp_path, step, chance) + 1
            if step and (kill % 10 == 0 or kill == KILLS - 1):
                db = DB.open(tmp_path, options, RealClock())
                assert db.quarantined == []
                check(db, step)
                db.close()
        assert server.stdin is not None
        server.stdin.close()
    assert step > 0
