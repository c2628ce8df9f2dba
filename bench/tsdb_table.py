"""The storage's and PromQL's figures in one table, each next to its peer's where one is installed.

Runs the other scripts in turn, a part of their cases each, and adds the size of blocks on jittered data.
A few minutes on two quiet cores.

    python bench/tsdb_table.py [append scrape import replay memory disk labels queries ...]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wavetank.clock import RealClock
from wavetank.monitoring.promtool.backfill import blocks_from_openmetrics
from wavetank.tsdb.options import HOUR_MS

HERE = Path(__file__).parent
SERIES, POINTS, BASE_SECONDS = 200, 1_440, 1_699_999_200


def script(name: str, *arguments: str) -> None:
    """Another script of this directory, its output as it comes."""
    done = subprocess.run([sys.executable, str(HERE / name), *arguments], cwd=HERE, check=False)
    if done.returncode != 0:
        print(f"{name} {' '.join(arguments)}: exit code {done.returncode}", flush=True)


def queries() -> None:
    """A part of BenchmarkRangeQuery's cases, against whichever peers are here."""
    peers = [name for name in ("prometheus", "victoria-metrics") if shutil.which(name)]
    script("promql_range.py", "--peers", ",".join(peers), "--rounds", "3", "--every", "6")


def jittered(path: Path) -> int:
    """OpenMetrics text: times off the beat, values a random walk of two decimals; returns the samples."""
    rng = np.random.default_rng(5)
    values = np.cumsum(rng.normal(size=(POINTS, SERIES)), axis=0).round(2)
    with path.open("w") as file:
        file.write("# TYPE walk gauge\n")
        for k in range(POINTS):
            late = rng.integers(0, 1000, SERIES)
            for i in range(SERIES):
                second = BASE_SECONDS + k * 15
                file.write(f'walk{{series="{i}"}} {values[k, i]} {second}.{late[i]:03d}\n')
        file.write("# EOF\n")
    return SERIES * POINTS


def chunk_bytes(directory: Path) -> int:
    return sum(p.stat().st_size for p in directory.glob("*/chunks/*"))


def disk() -> None:
    """Bytes of chunks per sample that ours and Prometheus' own tool make of the same text."""
    with tempfile.TemporaryDirectory() as work:
        source, ours, theirs = Path(work) / "in.om", Path(work) / "ours", Path(work) / "theirs"
        count = jittered(source)
        blocks_from_openmetrics(source, ours, RealClock(), width_ms=2 * HOUR_MS, labels={})
        line = f"disk, jittered times, random walk: {chunk_bytes(ours) / count:.3f} bytes/sample"
        if shutil.which("promtool") is not None:
            command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(source), str(theirs)]
            subprocess.run(command, check=True, capture_output=True)
            other = chunk_bytes(theirs)
            line += f"   promtool {other / count:.3f}, ratio {chunk_bytes(ours) / other:.3f}"
        print(line, flush=True)


def main() -> None:
    table: dict[str, Callable[[], None]] = {
        name: (lambda name=name: script("tsdb_ingest.py", name))  # type: ignore[misc]
        for name in ("append", "scrape", "import", "replay", "memory")
    }
    table |= {"disk": disk, "labels": lambda: script("tsdb_labels.py", "500000"), "queries": queries}
    for name in sys.argv[1:] or list(table):
        print(f"--- {name}", flush=True)
        table[name]()


if __name__ == "__main__":
    main()
