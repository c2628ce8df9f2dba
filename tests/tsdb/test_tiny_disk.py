"""A file system of three megabytes that fills up, again and again, under any writer: log, head chunks, blocks,
checkpoints. What was acknowledged is always there, also after restarts; nothing appears that nobody sent."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wavetank.clock import VirtualClock
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Options

EVERY = [Matcher(MatchType.REGEXP, METRIC_NAME, ".+")]
START = 1_700_000_000_000 // (2 * HOUR_MS) * (2 * HOUR_MS)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


class Walk:
    """A database, what it acknowledged, and what it refused (which may be there after a restart)."""

    def __init__(self, disk: Path, seed: int) -> None:
        self.draw = random.Random(seed)
        self.ballast = disk / "ballast"
        self.root = disk / "data"
        self.options = Options(
            wal_segment_bytes=128 * 1024,
            head_chunks_in_memory=self.draw.choice([1, 50]),
            wal_compression="snappy" if seed % 2 else "none",
        )
        self.clock = VirtualClock(1_700_000_000.0)
        self.db = DB.open(self.root, self.options, self.clock)
        self.acknowledged: dict[tuple[str, int], float] = {}
        self.refused: set[tuple[str, int]] = set()
        self.failures = 0

    def fill(self, left: int) -> None:
        self.free()
        state = os.statvfs(self.ballast.parent)
        self.ballast.write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - left)))

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def append(self, step: int) -> None:
        names = [f"m{i}" for i in range(30)]
        if self.draw.random() < 0.3:
            names += [f"new{step}_{i}" for i in range(20)]
        at_ms = START + step * 120_000
        if self.draw.random() < 0.1:
            at_ms -= 3 * HOUR_MS + self.draw.randrange(60_000)
        values = {(name, at_ms): self.draw.random() for name in names}
        appender = self.db.appender()
        try:
            for (name, _), value in values.items():
                appender.append(0, Labels.of(__name__=name), at_ms, value)
            counts = appender.commit()
        except OSError:
            self.failures += 1
            self.refused |= set(values)
        else:
            assert counts.appended + counts.backfilled == len(values)
            self.acknowledged |= values

    def compact(self) -> None:
        try:
            self.db.compact()
        except OSError:
            self.failures += 1
        assert not [path for path in self.root.rglob("*") if ".tmp" in path.name]

    def restart(self) -> None:
        try:
            self.db.close()
        except OSError:  # the lock goes with the process, which does not end here
            self.failures += 1
            assert self.db._lock_file is not None
            self.db._lock_file.close()
        try:
            self.db = DB.open(self.root, self.options, self.clock)
        except OSError:
            self.failures += 1
            self.free()
            self.db = DB.open(self.root, self.options, self.clock)

    def check(self) -> None:
        batch = self.db.select(EVERY, 0, 1 << 60)
        found = {}
        for i, labels in enumerate(batch.labels):
            for k in range(batch.offsets[i], batch.offsets[i + 1]):
                found[labels.name, int(batch.timestamps_ms[k])] = float(batch.values[k])
        lost = [key for key, value in self.acknowledged.items() if found.get(key) != value]
        assert not lost
        assert set(found) <= self.refused | set(self.acknowledged)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 4, 8])
def test_what_is_acknowledged_is_always_there(disk: Path, seed: int) -> None:
    walk = Walk(disk, seed)
    for step in range(300):
        if walk.draw.random() < 0.06:
            walk.fill(walk.draw.choice([0, 100, 4_096, 9_000, 30_000, 60_000]))
        if walk.draw.random() < 0.08:
            walk.free()
        walk.append(step)
        if walk.draw.random() < 0.15:
            walk.compact()
        if walk.draw.random() < 0.03:
            walk.check()
        if walk.draw.random() < 0.02:
            walk.restart()
            walk.check()
    walk.free()
    assert walk.failures > 10
    walk.append(1_000)
    assert ("m0", START + 1_000 * 120_000) in walk.acknowledged
    walk.db.compact()
    walk.check()
    walk.restart()
    walk.check()
    walk.db.close()
