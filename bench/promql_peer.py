"""Debian's ``prometheus`` as a peer: on a copy of a data directory, queried over HTTP, its CPU time read."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from wavetank.clock import pause

__all__ = ["Peer"]


class Peer:
    """One server on the loopback; ``close`` ends it and removes its copy of the data."""

    def __init__(self, data: Path) -> None:
        program = shutil.which("prometheus")
        if program is None:
            raise SystemExit("prometheus is not installed: run without --peer")
        self._directory = Path(tempfile.mkdtemp(prefix="promql-peer-"))
        shutil.copytree(data, self._directory / "data", ignore=shutil.ignore_patterns("wal", "lock"))
        (self._directory / "p.yml").write_text("global: {}\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={self._directory / 'p.yml'}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=error",
            ]
        )
        for _ in range(300):
            try:
                self._get("/-/ready", {})
                return
            except (urllib.error.URLError, ConnectionError):
                pause(0.1)
        self.close()
        raise SystemExit("prometheus did not become ready")

    def _get(self, path: str, params: dict[str, str]) -> bytes:
        url = f"http://127.0.0.1:{self._port}{path}?{urllib.parse.urlencode(params)}"
        with urllib.request.urlopen(url, timeout=120) as response:
            body: bytes = response.read()
            return body

    def _cpu_ms(self) -> float:
        """All its threads' time on a CPU, to the nanosecond."""
        total = 0
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e6

    def query_ms(self, expr: str, start_ms: int, end_ms: int, step_ms: int, rounds: int) -> float:
        """Median CPU milliseconds of one range query; NaN if the peer does not know the expression."""
        params = {
            "query": expr,
            "start": str(start_ms / 1000),
            "end": str(end_ms / 1000),
            "step": str(step_ms / 1000),
        }
        times = []
        for i in range(rounds + 1):
            before = self._cpu_ms()
            try:
                self._get("/api/v1/query_range", params)
            except urllib.error.HTTPError:
                return float("nan")
            if i:
                times.append(self._cpu_ms() - before)
        return statistics.median(times)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
