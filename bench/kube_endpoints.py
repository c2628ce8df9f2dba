"""How long from a pod becoming ready to its EndpointSlice saying so, in process, as the mesh sees it.

Run: ``python bench/kube_endpoints.py [--pods 50]``. The write of the pod's status is the start, the event on
a watch of EndpointSlices the end.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import Any

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.client import WatchType
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.resources import ENDPOINTSLICES, NODES, PODS, SERVICES


def pod(i: int) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i:1", "ports": [{"containerPort": 8080}]}]
    metadata = {"name": f"p{i}", "namespace": "default", "labels": {"app": "web"}}
    return {"metadata": metadata, "spec": {"containers": containers, "nodeName": "node-1"}}


async def run(pods: int) -> None:
    clock = RealClock()
    plane = ControlPlane(clock, MemoryJournal(clock))
    await plane.start()
    client = plane.client("bench")
    await client.create(NODES, {"metadata": {"name": "node-1"}})
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    await client.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
    made = [await client.create(PODS, pod(i)) for i in range(pods)]
    seen: dict[str, float] = {}
    arrived = asyncio.Event()

    async def watch() -> None:
        async for event in client.watch(ENDPOINTSLICES, "default"):
            now = time.perf_counter()
            if event.type is not WatchType.LISTED:
                for endpoint in event.object.get("endpoints") or ():
                    if endpoint["conditions"]["ready"]:
                        seen.setdefault(endpoint["targetRef"]["name"], now)
                arrived.set()

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.2)
    lags = []
    for i, obj in enumerate(made):
        ready = {"type": "Ready", "status": "True"}
        status = {"phase": "Running", "podIP": f"127.3.0.{i % 250 + 1}", "conditions": [ready]}
        started = time.perf_counter()
        await client.update(PODS, {**obj, "status": status}, subresource="status")
        while f"p{i}" not in seen:
            arrived.clear()
            await arrived.wait()
        lags.append((seen[f"p{i}"] - started) * 1e3)
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await plane.stop()
    lags.sort()
    print(
        f"pod ready -> EndpointSlice event, {pods} pods: median {statistics.median(lags):.2f} ms, "
        f"p99 {lags[int(len(lags) * 0.99)]:.2f} ms (goal 20 ms to the acknowledgement of Envoy)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=50)
    asyncio.run(run(parser.parse_args().pods))


if __name__ == "__main__":
    main()
