"""Debian's ``victoria-metrics`` as a peer: data pushed to it, queried over HTTP, its CPU time read."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from wavetank.clock import pause

__all__ = ["VictoriaMetrics"]


class VictoriaMetrics:
    """One server on the loopback; ``close`` ends it and removes its data. Caches are off."""

    def __init__(self) -> None:
        program = shutil.which("victoria-metrics")
        if program is None:
            raise SystemExit("victoria-metrics is not installed: run without --vm")
        self._directory = Path(tempfile.mkdtemp(prefix="promql-vm-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [
                program,
                f"-storageDataPath={self._directory}",
                f"-httpListenAddr=127.0.0.1:{self._port}",
                "-retentionPeriod=100y",
                "-search.latencyOffset=0s",
                "-search.disableCache",
                "-search.maxPointsPerTimeseries=100000",
                "-loggerLevel=ERROR",
            ]
        )
        for _ in range(300):
            try:
                self._ask("/health", {})
                return
            except (urllib.error.URLError, ConnectionError):
                pause(0.1)
        self.close()
        raise SystemExit("victoria-metrics did not become ready")

    def _ask(self, path: str, params: dict[str, str], body: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self._port}{path}?{urllib.parse.urlencode(params)}"
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=120) as response:
            answer: bytes = response.read()
            return answer

    def load(self, bodies: Iterable[bytes]) -> None:
        """Lines of its JSON import; afterwards they can be queried."""
        for body in bodies:
            self._ask("/api/v1/import", {}, body)
        self._ask("/internal/force_flush", {})

    def cpu_ms(self) -> float:
        """All its threads' time on a CPU."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6

    def query_ms(self, expr: str, start_ms: int, end_ms: int, step_ms: int, rounds: int) -> float:
        """Median CPU milliseconds of one range query; NaN if it does not know the expression."""
        params = {
            "query": expr,
            "start": str(start_ms / 1000),
            "end": str(end_ms / 1000),
            "step": str(step_ms / 1000),
            "nocache": "1",
        }
        times = []
        for i in range(rounds + 1):
            before = self.cpu_ms()
            try:
                self._ask("/api/v1/query_range", params)
            except urllib.error.HTTPError:
                return float("nan")
            if i:
                times.append(self.cpu_ms() - before)
        return statistics.median(times)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
