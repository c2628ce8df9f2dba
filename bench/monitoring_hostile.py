"""What others suffer from a target that makes a million new series at each scrape, with no limit configured.

Usage: python bench/monitoring_hostile.py [series interval_seconds seconds targets series_limit]

One process answers for twenty good targets, which are scraped every second, and another for the bad one.
Prints how late the good ones' scrapes were (the distance between two samples of `up`, less the interval), how
long a dashboard's query took meanwhile, and the server's memory and series. Afterwards the bad target falls
silent and memory is looked at once more.
"""

from __future__ import annotations

import asyncio
import itertools
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
from typing import Any

import psutil

GOOD_INTERVAL_SECONDS = 1.0
GOOD_SERIES = 200
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n"


def hostile_body(turn: int, series: int) -> bytes:
    rest = 'method="GET",code="200"'
    return b"".join(f'request_seconds{{id="{turn}-{i}",{rest}}} {i}\n'.encode() for i in range(series))


class Exporter(asyncio.Protocol):
    """Answers ``GET /<target>/metrics``; ``/bad`` makes new series each time, until it is quiet."""

    series = 0
    turn = 0
    quiet: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while b"\r\n\r\n" in self.pending:
            head, _, self.pending = self.pending.partition(b"\r\n\r\n")
            name = head.split(b" ", 2)[1].split(b"/")[1].decode()
            if name == "bad":
                asyncio.get_running_loop().run_in_executor(
                    None, self.answer_badly, asyncio.get_running_loop()
                )
                continue
            text = b"".join(b'app_requests_total{path="/v1/%d"} %d\n' % (i, i) for i in range(GOOD_SERIES))
            self.transport.write(HEAD % len(text) + text)

    def answer_badly(self, loop: asyncio.AbstractEventLoop) -> None:
        Exporter.turn += 1
        text = b"" if self.quiet.value else hostile_body(Exporter.turn, self.series)
        loop.call_soon_threadsafe(self.transport.write, HEAD % len(text) + text)


def serve(series: int, sock: socket.socket, quiet: Any) -> None:
    Exporter.series, Exporter.quiet = series, quiet

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Exporter, sock=sock)
        await server.serve_forever()

    asyncio.run(run())


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def configuration(good_port: int, bad_port: int, targets: int, interval: float) -> str:
    def job(name: str, port: int, seconds: float) -> dict[str, object]:
        return {
            "job_name": name,
            "metrics_path": f"/{name}/metrics",
            "scrape_interval": f"{int(seconds * 1000)}ms",
            "scrape_timeout": f"{int(seconds * 1000)}ms",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }

    jobs = [job(f"good-{i}", good_port, GOOD_INTERVAL_SECONDS) for i in range(targets)]
    return json.dumps({"scrape_configs": [*jobs, job("bad", bad_port, interval)]})


def fetch(url: str, path: str, **parameters: object) -> list[Any]:
    text = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{text}", timeout=120) as response:
        return list(json.loads(response.read())["data"]["result"])


def wait_until_ready(url: str) -> None:
    while True:
        try:
            with urllib.request.urlopen(url + "/-/ready", timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.02)


def late_seconds(url: str, seconds: float) -> list[float]:
    """How late the scrapes of good targets were, sorted: a sample that is missing counts as one that was
    a whole interval late."""
    found = []
    for series in fetch(url, "query", query=f'up{{job=~"good.*"}}[{int(seconds)}s]'):
        times = [float(t) for t, _ in series["values"]]
        found += [b - a - GOOD_INTERVAL_SECONDS for a, b in itertools.pairwise(times)]
    return sorted(found)


def ask_for(url: str, seconds: float) -> list[float]:
    """How long queries of a dashboard took, five a second at most, sorted."""
    taken = []
    ends = time.monotonic() + seconds
    while (began := time.monotonic()) < ends:
        fetch(url, "query", query='sum(rate(app_requests_total{job="good-1"}[1m]))')
        taken.append(time.monotonic() - began)
        time.sleep(max(0.0, 0.2 - taken[-1]))
    return sorted(taken)


def shown(values: list[float]) -> str:
    if not values:
        return "none"
    places = (("p50", 0.5), ("p99", 0.99), ("worst", 1.0))
    return ", ".join(
        f"{name} {values[min(len(values) - 1, int(len(values) * at))] * 1000:.0f} ms" for name, at in places
    )


def report(url: str, process: psutil.Process, what: str) -> None:
    own = urllib.request.urlopen(url + "/metrics", timeout=60).read().decode()
    head = next(line for line in own.splitlines() if line.startswith("prometheus_tsdb_head_series "))
    dropped = [line for line in own.splitlines() if "head_series_dropped_total " in line and line[0] != "#"]
    print(f"{what}: RSS {process.memory_info().rss / 2**20:.0f} MiB, {head}, {' '.join(dropped)}", flush=True)


def main() -> None:
    given = [float(argument) for argument in sys.argv[1:]]
    series, interval, seconds, targets, limit = [*given, *(1_000_000, 15, 60, 20, 0)[len(given) :]]
    sockets = listening(), listening()
    quiet = multiprocessing.Value("b", 0)
    exporters = [
        multiprocessing.Process(target=serve, args=(int(series), sock, quiet), daemon=True)
        for sock in sockets
    ]
    for exporter in exporters:
        exporter.start()
    ports = [sock.getsockname()[1] for sock in sockets]
    free = listening()
    port = free.getsockname()[1]
    free.close()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "prometheus.yml").write_text(configuration(ports[0], ports[1], int(targets), interval))
        child = subprocess.Popen(
            [
                shutil.which("wavetank") or "wavetank",
                "prometheus",
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--storage.tsdb.series-limit={int(limit)}",
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_ready(url)
            time.sleep(3)
            process = psutil.Process(child.pid)
            taken = ask_for(url, seconds)
            late = late_seconds(url, seconds)
            over = sum(each > GOOD_INTERVAL_SECONDS * 0.5 for each in late)
            print(
                f"{int(series)} new series every {interval:g} s for {seconds:g} s, {int(targets)} good"
                f" targets:\n  their scrapes late by {shown(late)}; {over} of {len(late)} by over half a"
                f" second\n  {len(taken)} queries: {shown(taken)}"
            )
            report(url, process, "  at the end")
            quiet.value = 1
            time.sleep(2 * interval)
            report(url, process, "  the target fell silent")
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait()
    for exporter in exporters:
        exporter.terminate()
        exporter.join()


if __name__ == "__main__":
    main()
