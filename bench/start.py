"""How long a user waits: for help, and for the first request of a rehearsal.

    python bench/start.py [runs]

Prints the median of ``wavetank --help``, the time from ``rehearse`` to the first request that came back
through Envoy with kernels in the cache, and the same for the first time ever (an empty kernel cache). To
reach: 0.2 s; 5 s; 30 s. The example's service itself needs about a second of CPU to import, and the model of
its image pull 1.2 s; both are part of the figure.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from wavetank.clock import RealClock

EXAMPLE = Path(__file__).parents[1] / "examples" / "httpbin"


def help_seconds(runs: int) -> float:
    clock = RealClock()
    times = []
    script = str(Path(sys.executable).with_name("wavetank"))
    for _ in range(runs):
        begun = clock.monotonic()
        subprocess.run([script, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(clock.monotonic() - begun)
    return statistics.median(times)


def _as_usual() -> dict[str, str]:
    """The environment, without the wish to compile every import again in every process."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def first_request_seconds(name: str, environment: dict[str, str]) -> float:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / name
        shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("report", ".gunicorn"))
        spec = directory / "rehearsal.yaml"
        stages = "    stages:\n      - {duration: 5s, rps: 5}\n"
        spec.write_text(re.sub(r"    stages:\n(      - .*\n)+", stages, spec.read_text()))
        command = [sys.executable, "-m", "wavetank", "rehearse", str(directory), "--quiet"]
        subprocess.run(command, check=False, env=_as_usual() | environment, stdout=subprocess.DEVNULL)
        report = json.loads((directory / "report" / "report.json").read_bytes())
        return float(report["figures"]["time_to_first_request_seconds"])


def main(runs: int) -> None:
    print(f"wavetank --help              {help_seconds(20):6.2f} s   (to reach: 0.2)")
    first_request_seconds("warm-up", {})
    warm = [first_request_seconds(f"warm{i}", {}) for i in range(runs)]
    print(f"first request, warm          {statistics.median(warm):6.2f} s   (to reach: 5)")
    with tempfile.TemporaryDirectory() as cache:
        cold = first_request_seconds("cold", {"NUMBA_CACHE_DIR": cache})
    print(f"first request, first time    {cold:6.2f} s   (to reach: 30)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
