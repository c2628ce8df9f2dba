"""CPU and memory of a whole server, beside Debian's Prometheus with the same configuration and targets.

Usage: python bench/monitoring_peer.py [targets series interval_seconds seconds rules]

One process answers for all targets, from bodies made beforehand whose counters move between scrapes. The
servers run one after the other. Prints CPU time used per second of wall time, resident memory, how long a
sample takes from the target's answer to a query's, the 99th percentile of a dashboard's queries meanwhile,
how long the server takes to be ready again after a restart, and the ratios; with rules, each is
`sum by (code) (rate(...[1m]))` over one target.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

WARM_UP_SECONDS = 30.0  # all series are known and written once
VARIANTS = 4


def body(target: int, series: int, variant: int) -> bytes:
    """Counters that moved ``variant`` times, as an application exposes them."""
    lines = ["# HELP app_requests_total Requests.", "# TYPE app_requests_total counter"]
    rest = f'method="GET",pod="web-{target}"'
    lines += [
        f'app_requests_total{{path="/v1/items/{i}",code="{200 + i % 5}",{rest}}}'
        f" {i * 1000 + variant * (i % 7)}"
        for i in range(series)
    ]
    return ("\n".join(lines) + "\n").encode()


class Exporter(asyncio.Protocol):
    """Answers ``GET /<target>/metrics`` on connections that are kept."""

    answers: dict[int, list[bytes]]
    turn: dict[int, int]
    answered: Any  # when the first target was answered last

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while b"\r\n\r\n" in self.pending:
            head, _, self.pending = self.pending.partition(b"\r\n\r\n")
            target = int(head.split(b" ", 2)[1].split(b"/")[1])
            turn = self.turn[target] = self.turn.get(target, 0) + 1
            self.transport.write(self.answers[target][turn % VARIANTS])
            if target == 0:
                self.answered.value = time.time()


def serve(targets: int, series: int, sock: socket.socket, answered: Any) -> None:
    """The exporter process."""
    Exporter.answered = answered
    Exporter.answers = {}
    for target in range(targets):
        made = [body(target, series, variant) for variant in range(VARIANTS)]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n"
        Exporter.answers[target] = [head % len(text) + text for text in made]
    Exporter.turn = {}

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Exporter, sock=sock)
        await server.serve_forever()

    asyncio.run(run())


def write_config(directory: Path, port: int, targets: int, interval: float, rules: int) -> None:
    jobs = [
        {
            "job_name": f"job-{i}",
            "metrics_path": f"/{i}/metrics",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for i in range(targets)
    ]
    span = f"{int(interval * 1000)}ms"
    config = {
        "global": {"scrape_interval": span, "scrape_timeout": span, "evaluation_interval": span},
        "scrape_configs": jobs,
        "rule_files": ["rules.yml"] if rules else [],
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))
    expressions = [
        {
            "record": f"job:requests:rate{i}",
            "expr": f'sum by (code) (rate(app_requests_total{{pod="web-{i % targets}"}}[1m]))',
        }
        for i in range(rules)
    ]
    groups = [{"name": f"g{i}", "rules": expressions[i : i + 50]} for i in range(0, len(expressions), 50)]
    (directory / "rules.yml").write_text(json.dumps({"groups": groups}))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def fetch(url: str, path: str, **parameters: object) -> list[Any]:
    text = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{text}", timeout=60) as response:
        return list(json.loads(response.read())["data"]["result"])


def ask(url: str, query: str) -> float:
    result = fetch(url, "query", query=query)
    return float(result[0]["value"][1]) if result else 0.0


def visible_seconds(url: str, answered: Any, interval: float) -> float:
    """From the answer of the first target to the first query that shows it; the median of three."""
    found = []
    query = 'app_requests_total{path="/v1/items/6",pod="web-0"}'
    before = ask(url, query)
    ends = time.monotonic() + 4 * interval + 10
    while len(found) < 3 and time.monotonic() < ends:
        now = ask(url, query)
        if now != before:
            found.append(max(0.0, time.time() - answered.value))
            before = now
        time.sleep(0.02)
    return statistics.median(found) if found else float("nan")


def dashboard_seconds(url: str, targets: int) -> list[float]:
    """How long the queries of a dashboard take, one after the other, sorted."""
    taken = []
    for turn in range(25):
        pod = turn * 37 % targets
        end = time.time()
        window = {"start": end - 300, "end": end, "step": 15}
        for query in (
            f'sum by (code) (rate(app_requests_total{{pod="web-{pod}"}}[1m]))',
            f'topk(5, rate(app_requests_total{{pod="web-{pod}"}}[1m]))',
            f'app_requests_total{{pod="web-{pod}",code="200"}}',
            f'histogram_quantile(0.9, rate(app_requests_total{{pod="web-{pod}"}}[1m]))',
        ):
            began = time.monotonic()
            fetch(url, "query_range", query=query, **window)
            taken.append(time.monotonic() - began)
        began = time.monotonic()
        fetch(url, "query", query="sum(up)")
        taken.append(time.monotonic() - began)
    return sorted(taken)


def wait_until_ready(url: str) -> float:
    """How long it took."""
    began = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(url + "/-/ready", timeout=5) as response:
                if response.status == 200:
                    return time.monotonic() - began
        except OSError:
            time.sleep(0.02)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass
class Measured:
    """Of one server: CPU seconds a second, RSS in MB, targets up, series, and what its users wait for."""

    cpu: float
    rss: float
    up: float
    series: float
    visible_seconds: float
    p50_seconds: float
    p99_seconds: float
    ready_seconds: float = 0.0


def start(argv: list[str], directory: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *argv,
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data-{Path(argv[0]).name}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    )


def measure(
    argv: list[str], directory: Path, seconds: float, targets: int, interval: float, answered: Any
) -> Measured:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    child = start(argv, directory, port)
    try:
        wait_until_ready(url)
        time.sleep(max(WARM_UP_SECONDS, 2 * interval))
        process = psutil.Process(child.pid)
        before, began = cpu_seconds(process), time.monotonic()
        time.sleep(seconds)
        cpu = (cpu_seconds(process) - before) / (time.monotonic() - began)
        rss = process.memory_info().rss / (1 << 20)
        up, series = ask(url, "sum(up)"), ask(url, "sum(scrape_samples_scraped)")
        taken = dashboard_seconds(url, targets)
        found = Measured(
            cpu,
            rss,
            up,
            series,
            visible_seconds(url, answered, interval),
            statistics.median(taken),
            taken[int(len(taken) * 0.99)],
        )
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()
    child = start(argv, directory, port)
    try:
        found.ready_seconds = wait_until_ready(url)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()
    return found


def main() -> None:
    given = [float(argument) for argument in sys.argv[1:]]
    targets, series, interval, seconds, rules = [*given, *(200, 1000, 5, 20, 0)[len(given) :]]
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    answered = multiprocessing.Value("d", 0.0)
    exporter = multiprocessing.Process(
        target=serve, args=(int(targets), int(series), sock, answered), daemon=True
    )
    exporter.start()
    shown = f"{int(targets)} targets x {int(series)} series every {interval:g} s"
    print(f"{shown}, {int(rules)} rules, measured for {seconds:g} s")
    names = {"wavetank": [shutil.which("wavetank") or "wavetank", "prometheus"]}
    if peer := shutil.which("prometheus"):
        names["prometheus"] = [peer]
    results = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_config(directory, sock.getsockname()[1], int(targets), interval, int(rules))
        for server, argv in names.items():
            found = measure(argv, directory, seconds, int(targets), interval, answered)
            results[server] = found
            rate = targets * series / interval
            print(
                f"{server:>11}: {found.cpu * 100:6.1f} % of a core ({found.cpu / rate * 1e6:5.2f} us/sample),"
                f" RSS {found.rss:6.0f} MB, {found.up:.0f} up, {found.series:.0f} series\n"
                f"{'':13}visible after {found.visible_seconds * 1000:.0f} ms, dashboard p50"
                f" {found.p50_seconds * 1000:.1f} ms p99 {found.p99_seconds * 1000:.1f} ms,"
                f" ready after a restart {found.ready_seconds:.2f} s",
                flush=True,
            )
    if len(results) == 2:
        ours, theirs = results["wavetank"], results["prometheus"]
        named = {
            "CPU": "cpu",
            "RSS": "rss",
            "p50": "p50_seconds",
            "p99": "p99_seconds",
            "ready": "ready_seconds",
        }
        ratios = [
            f"{shown} {getattr(ours, name) / getattr(theirs, name):.2f}" for shown, name in named.items()
        ]
        print(f"      ratio: {', '.join(ratios)}")
    exporter.terminate()
    exporter.join()


if __name__ == "__main__":
    main()
