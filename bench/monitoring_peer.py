"""CPU and memory of a whole server, beside Debian's Prometheus with the same configuration and targets.

Usage: python bench/monitoring_peer.py [targets series interval_seconds seconds rules]

One process answers for all targets, from bodies made beforehand whose counters move between scrapes. The
servers run one after the other. Prints CPU time used per second of wall time, resident memory, samples
stored per second, and the ratios; with rules, each is `sum by (code) (rate(...[1m]))` over one target.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

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


def serve(targets: int, series: int, sock: socket.socket) -> None:
    """The exporter process."""
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


def ask(url: str, query: str) -> float:
    text = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"{url}/api/v1/query?{text}", timeout=60) as response:
        result = json.loads(response.read())["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def wait_until_ready(url: str) -> None:
    while True:
        try:
            with urllib.request.urlopen(url + "/-/ready", timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.2)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(argv: list[str], directory: Path, seconds: float) -> tuple[float, float, float, float]:
    """(CPU seconds a second, RSS MB, targets up, series) of one server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    child = subprocess.Popen(
        [
            *argv,
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data-{Path(argv[0]).name}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(url)
        time.sleep(WARM_UP_SECONDS)
        process = psutil.Process(child.pid)
        before, began = cpu_seconds(process), time.monotonic()
        time.sleep(seconds)
        cpu = (cpu_seconds(process) - before) / (time.monotonic() - began)
        rss = process.memory_info().rss / (1 << 20)
        return cpu, rss, ask(url, "sum(up)"), ask(url, "count(app_requests_total)")
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()


def main() -> None:
    given = [float(argument) for argument in sys.argv[1:]]
    targets, series, interval, seconds, rules = [*given, *(200, 1000, 5, 20, 0)[len(given) :]]
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    exporter = multiprocessing.Process(target=serve, args=(int(targets), int(series), sock), daemon=True)
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
            cpu, rss, up, stored = results[server] = measure(argv, directory, seconds)
            rate = targets * series / interval
            print(
                f"{server:>11}: {cpu * 100:6.1f} % of a core ({cpu / rate * 1e6:5.2f} us a sample),"
                f" RSS {rss:6.0f} MB, {up:.0f} up, {stored:.0f} series"
            )
    if len(results) == 2:
        ours, theirs = results["wavetank"], results["prometheus"]
        print(f"      ratio: CPU {ours[0] / theirs[0]:.2f}, RSS {ours[1] / theirs[1]:.2f}")
    exporter.terminate()
    exporter.join()


if __name__ == "__main__":
    main()
