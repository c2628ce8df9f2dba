"""What the API server does in a second: requests, watch fan-out, big lists, memory, start.

Run: ``python bench/kube_apiserver.py [--seconds 2]``. Everything is measured over HTTPS on loopback with the
server in a process of its own and clients in this one; rates per core divide by the CPU time the server's
process used, since both share the machine. No real kube-apiserver is at hand to compare with: ratios are to
the figures the project set itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.kubeconfig import read_kubeconfig

CMS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SENT = re.compile(rb'"sent":"([0-9.]+)"')
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def serve(directory: str) -> None:
    async def run() -> None:
        clock = RealClock()
        root = Path(directory)
        options = ControlPlaneOptions(state=root / "state", kubeconfig=root / "kubeconfig")
        plane = ControlPlane(clock, MemoryJournal(clock), options)
        await plane.start()
        await asyncio.Event().wait()

    asyncio.run(run())


def pod(i: int) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "registry.example.com/shop/web:1.2.3",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "ports": [{"containerPort": 8080, "name": "http"}],
        "env": [{"name": f"V{n}", "value": "x" * 20} for n in range(5)],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
    }
    labels = {"app": "web", "pod-template-hash": "abc", "version": "v1"}
    metadata = {"name": f"pod-{i:05d}", "labels": labels}
    # Nobody schedules them: that is another figure.
    return {"metadata": metadata, "spec": {"containers": [container], "schedulerName": "none"}}


class Bench:
    def __init__(self, session: aiohttp.ClientSession, server: psutil.Process, seconds: float) -> None:
        self.session, self.server, self.seconds = session, server, seconds

    def cpu(self) -> float:
        times = self.server.cpu_times()
        return times.user + times.system

    async def rate(self, name: str, call: Any, goal: float, workers: int = 8) -> None:
        end = time.perf_counter() + self.seconds
        latencies: list[float] = []
        before = self.cpu()

        async def worker(w: int) -> None:
            n = 0
            while time.perf_counter() < end:
                started = time.perf_counter()
                await call(w, n)
                latencies.append(time.perf_counter() - started)
                n += 1

        await asyncio.gather(*(worker(w) for w in range(workers)))
        used = self.cpu() - before
        per_core = len(latencies) / used
        print(
            f"{name:32} {len(latencies) / self.seconds:8.0f}/s  {per_core:8.0f}/s per core of server CPU "
            f"({per_core / goal:4.1f} x goal {goal:.0f})  median {statistics.median(latencies) * 1e3:.1f} ms"
        )

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        async with self.session.request(method, path, data=data, headers=headers) as response:
            content = await response.read()
            assert response.status < 300, content
            return content


async def watchers(bench: Bench, count: int = 100, changes: int = 1000) -> None:
    """``count`` watchers of one resource that changes ``changes`` times in a second."""
    lags: list[float] = []
    ready = asyncio.Event()
    opened = 0

    async def watch() -> None:
        nonlocal opened
        async with bench.session.get(f"{CMS}?watch=true&labelSelector=fan=out") as response:
            opened += 1
            if opened == count:
                ready.set()
            async for chunk in response.content.iter_any():
                now = time.time()
                lags.extend(now - float(sent) for sent in SENT.findall(chunk))

    tasks = [asyncio.create_task(watch()) for _ in range(count)]
    await ready.wait()
    started, before = time.perf_counter(), bench.cpu()

    async def write(w: int, n: int) -> None:
        metadata = {"name": f"fan-{w}-{n}", "labels": {"fan": "out"}}
        await bench.request("POST", CMS, {"metadata": metadata, "data": {"sent": f"{time.time():.6f}"}})

    per_worker = changes // 8
    await asyncio.gather(*(_several(write, w, per_worker) for w in range(8)))
    elapsed = time.perf_counter() - started
    wanted = count * per_worker * 8
    for _ in range(200):
        if len(lags) >= wanted:
            break
        await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    lags.sort()
    print(
        f"{'watch fan-out to ' + str(count):32} {len(lags)}/{wanted} events, {per_worker * 8 / elapsed:.0f} "
        f"changes/s, median {lags[len(lags) // 2] * 1e3:.1f} ms, "
        f"p99 {lags[int(len(lags) * 0.99)] * 1e3:.1f} ms "
        f"(goal 50), server CPU {(bench.cpu() - before) / elapsed:.2f} cores"
    )


async def _several(call: Any, w: int, count: int) -> None:
    for n in range(count):
        await call(w, n)


async def run(directory: Path, server: psutil.Process, seconds: float) -> None:
    access = read_kubeconfig(directory / "kubeconfig")
    connector = aiohttp.TCPConnector(ssl=access.ssl_context() or False, limit=0)
    headers = {"Authorization": f"Bearer {access.token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(access.server, connector=connector, headers=headers) as session:
        bench = Bench(session, server, seconds)
        await asyncio.sleep(0.5)
        before = bench.cpu()
        await asyncio.sleep(3)
        print(
            f"{'idle':32} {(bench.cpu() - before) / 3 * 100:.2f} % of a core, "
            f"{server.memory_info().rss / 2**20:.0f} MB"
        )
        await bench.request("POST", PODS, pod(0))
        await bench.rate("GET one pod", lambda w, n: bench.request("GET", f"{PODS}/pod-00000"), 3000)
        await bench.rate(
            "create configmaps",
            lambda w, n: bench.request("POST", CMS, {"metadata": {"name": f"c-{w}-{n}"}, "data": {"a": "b"}}),
            800,
        )
        patch = {"Content-Type": "application/merge-patch+json"}
        await bench.rate(
            "patch a configmap",
            lambda w, n: bench.request("PATCH", f"{CMS}/c-{w}-0", {"data": {"n": str(n)}}, **patch),
            800,
        )
        await watchers(bench)
        rss = server.memory_info().rss
        await asyncio.gather(
            *(
                _several(lambda w, n: bench.request("POST", PODS, pod(1 + w * 625 + n)), w, 625)
                for w in range(8)
            )
        )
        print(f"{'5,000 more pods':32} {(server.memory_info().rss - rss) / 2**20:.0f} MB (goal 150)")
        times = []
        used = bench.cpu()
        for _ in range(5):
            started = time.perf_counter()
            content = await bench.request("GET", PODS, Accept=TABLE)
            times.append(time.perf_counter() - started)
        print(
            f"{'list 5,001 pods as Table':32} median {statistics.median(times) * 1e3:.0f} ms (goal 150), "
            f"{len(content) / 2**20:.1f} MB, server CPU {(bench.cpu() - used) / 5 * 1e3:.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(name,), daemon=True)
        process.start()
        config = Path(name) / "kubeconfig"
        while not config.exists():
            time.sleep(0.005)
        print(
            f"{'from exec to kubeconfig':32} {time.perf_counter() - started:.2f} s "
            "(new certificates included)"
        )
        assert process.pid is not None and process.pid != os.getpid()
        try:
            asyncio.run(run(Path(name), psutil.Process(process.pid), arguments.seconds))
        finally:
            process.terminate()
            process.join()


if __name__ == "__main__":
    main()
