"""The servers of the PromQL benchmarks: ours and Debian's, asked over HTTP, their CPU time read from /proc.

Each is a process on the loopback with a directory of its own, removed when it is closed.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import statistics
import subprocess
import tempfile
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from wavetank.clock import pause

__all__ = ["Server", "prometheus", "victoria_metrics", "wavetank"]

_BATCH_MS = 25.0  # a round asks again and again until the server has worked about this long
_CASE_MS = 6_000.0  # no more rounds of one case once the server has worked this long
_ASKED_MAX = 40
_FOREVER = "100y"


class Server:
    """One running process; ``close`` ends it and removes its directory."""

    def __init__(self, name: str, program: str, arguments: Callable[[Path, int], list[str]]) -> None:
        found = shutil.which(program)
        if found is None:
            raise SystemExit(f"{program} is not installed: run without {name}")
        self.name = name
        self.directory = Path(tempfile.mkdtemp(prefix="promql-bench-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._process = subprocess.Popen([found, *arguments(self.directory, port)])

    def wait(self, path: str) -> Server:
        """Until it answers that path with 200."""
        for _ in range(600):
            try:
                if self.ask(path)[0] == 200:
                    return self
            except OSError:
                self._connection.close()
            pause(0.1)
        self.close()
        raise SystemExit(f"{self.name} did not become ready")

    def ask(
        self, path: str, params: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Status and body; the connection is kept, as browsers and Grafana keep theirs."""
        url = f"{path}?{urllib.parse.urlencode(params)}" if params else path
        self._connection.request("GET" if body is None else "POST", url, body)
        response = self._connection.getresponse()
        return response.status, response.read()

    def cpu_ms(self) -> float:
        """All its threads' time on a CPU, user and system, to the nanosecond."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6

    def query_ms(self, expr: str, start_ms: int, end_ms: int, step_ms: int, rounds: int) -> float:
        """CPU milliseconds of one range query: the median of the rounds; NaN if it refuses the expression.

        A small query is asked many times a round, so that what a server does now and then, such as
        collecting garbage, is shared out among them.
        """
        params = {
            "query": expr,
            "start": str(start_ms / 1000),
            "end": str(end_ms / 1000),
            "step": str(step_ms / 1000),
            "nocache": "1",  # VictoriaMetrics' own; the others ignore it
        }
        for _ in range(3):  # the first ones compile, and fill what is cached
            before = self.cpu_ms()
            if self.ask("/api/v1/query_range", params)[0] != 200:
                return float("nan")
            once = self.cpu_ms() - before
            if once > _BATCH_MS:
                break
        count = max(1, min(_ASKED_MAX, round(_BATCH_MS / max(once, 0.01))))
        times: list[float] = []
        while len(times) < rounds and sum(times) * count < _CASE_MS:
            before = self.cpu_ms()
            for _ in range(count):
                self.ask("/api/v1/query_range", params)
            times.append((self.cpu_ms() - before) / count)
        return statistics.median(times)

    def load(self, bodies: Iterable[bytes]) -> None:
        """VictoriaMetrics: lines of its JSON import; afterwards they can be queried."""
        for body in bodies:
            self.ask("/api/v1/import", body=body)
        self.ask("/internal/force_flush")

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def wavetank(data: Path) -> Server:
    """`wavetank prometheus` on a copy of a data directory."""
    features = "promql-experimental-functions,promql-extended-range-selectors"
    return _on_copy("wavetank", "wavetank", data, ["prometheus", f"--enable-feature={features}"])


def prometheus(data: Path) -> Server:
    """Debian's on a copy of a data directory; it does not merge the blocks, which ours did."""
    unmerged = [f"--storage.tsdb.{which}-block-duration=2h" for which in ("min", "max")]
    return _on_copy("prometheus", "prometheus", data, unmerged)


def _on_copy(name: str, program: str, data: Path, more: list[str]) -> Server:
    def arguments(directory: Path, port: int) -> list[str]:
        shutil.copytree(data, directory / "data", ignore=shutil.ignore_patterns("wal", "lock"))
        (directory / "p.yml").write_text("global: {}\n")
        return [
            *more,
            f"--config.file={directory / 'p.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--storage.tsdb.retention.time={_FOREVER}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]

    return Server(name, program, arguments).wait("/-/ready")


def victoria_metrics() -> Server:
    """Debian's, empty: see ``Server.load``. Its cache of results is off."""

    def arguments(directory: Path, port: int) -> list[str]:
        return [
            f"-storageDataPath={directory}",
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-retentionPeriod={_FOREVER}",
            "-search.latencyOffset=0s",
            "-search.disableCache",
            "-search.maxPointsPerTimeseries=100000",
            "-loggerLevel=ERROR",
        ]

    return Server("victoria-metrics", "victoria-metrics", arguments).wait("/health")
