"""CPU and memory of scraping, beside Debian's Prometheus on the same targets.

Usage: python bench/monitoring_scrape.py [targets series interval_seconds seconds]

One process serves all targets; each server scrapes them in turn for the given time after a warm-up. Prints
CPU in per cent of a core, resident memory, and the ratios. Without the peer, prints ours alone.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
from aiohttp import web

WARM_UP_SECONDS = 8.0


def exposition(target: int, series: int) -> bytes:
    """Counters that move, as an application exposes them."""
    now = time.time()
    lines = ["# HELP app_requests_total Requests.", "# TYPE app_requests_total counter"]
    rest = f'method="GET",code="200",pod="web-{target}"'
    lines += [
        f'app_requests_total{{path="/v1/items/{i}",{rest}}} {int(now * (i + 1))}' for i in range(series)
    ]
    return ("\n".join(lines) + "\n").encode()


async def serve(targets: int, series: int) -> tuple[web.AppRunner, int]:
    async def answer(request: web.Request) -> web.Response:
        body = exposition(int(request.match_info["target"]), series)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.router.add_get("/{target}/metrics", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


def config(port: int, targets: int, interval: float) -> str:
    jobs = [
        {
            "job_name": f"job-{i}",
            "metrics_path": f"/{i}/metrics",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for i in range(targets)
    ]
    seconds = f"{int(interval * 1000)}ms"
    return json.dumps(
        {"global": {"scrape_interval": seconds, "scrape_timeout": seconds}, "scrape_configs": jobs}
    )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure(argv: list[str], text: str, seconds: float) -> tuple[float, float, float, int]:
    """(start to ready in s, CPU %, RSS in MB, series with up == 1) of one server."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "prometheus.yml").write_text(text)
        port = free_port()
        began = time.monotonic()
        child = subprocess.Popen(  # noqa: ASYNC220
            [
                *argv,
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            while not await asyncio.to_thread(answers, url + "/-/ready"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            ready = time.monotonic() - began
            await asyncio.sleep(WARM_UP_SECONDS)
            process = psutil.Process(child.pid)
            parts = []
            for _ in range(5):
                before = cpu_seconds(process)
                await asyncio.sleep(seconds / 5)
                parts.append((cpu_seconds(process) - before) / (seconds / 5) * 100)
            rss = process.memory_info().rss / (1 << 20)
            up = await asyncio.to_thread(count_up, url)
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait()
        return ready, statistics.median(parts), rss, up


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return response.status == 200
    except OSError:
        return False


def count_up(url: str) -> int:
    with urllib.request.urlopen(f"{url}/api/v1/query?query=sum(up)", timeout=5) as response:
        result = json.loads(response.read())["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


async def main() -> None:
    given = [float(argument) for argument in sys.argv[1:]]
    targets, series, interval, seconds = [*given, *(12, 200, 3, 20)[len(given) :]]
    runner, port = await serve(int(targets), int(series))
    text = config(port, int(targets), interval)
    print(
        f"{int(targets)} targets x {int(series)} series every {interval:g} s, median of 5 over {seconds:g} s"
    )
    results = {}
    names = {"wavetank": [sys.executable, "-m", "wavetank", "prometheus"]}
    if script := shutil.which("wavetank"):
        names["wavetank"] = [script, "prometheus"]
    if peer := shutil.which("prometheus"):
        names["prometheus"] = [peer]
    for name, argv in names.items():
        ready, cpu, rss, up = results[name] = await measure(argv, text, seconds)
        print(f"{name:>11}: ready {ready:5.2f} s, CPU {cpu:6.2f} % of a core, RSS {rss:6.0f} MB, {up} up")
    if len(results) == 2:
        ours, theirs = results["wavetank"], results["prometheus"]
        print(f"      ratio: CPU {ours[1] / max(theirs[1], 0.01):.2f}, RSS {ours[2] / theirs[2]:.2f}")
    await runner.cleanup()


asyncio.run(main())
