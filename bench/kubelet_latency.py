"""How fast the kubelet reacts: medians over pods started one after the other, then all at once.

Run: python bench/kubelet_latency.py [--pods 20]. Times in milliseconds from the journal and the API's watch.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Api
from wavetank.kube.client import Object
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.process_runtime import ProcessRuntime
from wavetank.kube.local_client import LocalClient
from wavetank.kube.registry import Registry
from wavetank.kube.resources import NAMESPACES, PODS
from wavetank.kube.storage import Storage


def pod(name: str, *command: str, **more: object) -> Object:
    main = {"name": "main", "image": "bench:1", "command": list(command), **more}
    spec = {"nodeName": "node-1", "containers": [main], "restartPolicy": "Never"}
    return {"metadata": {"name": name}, "spec": spec}


class Bench:
    def __init__(self, directory: Path) -> None:
        self.clock = RealClock()
        self.journal = MemoryJournal(self.clock)
        registry = Registry()
        register_built_in(registry)
        self.client = LocalClient(Api(Storage(), registry, self.clock, self.journal), "bench")
        node = NodeConfig("node-1", pod_cidr="127.90.0.0/24", ip="127.90.0.1")
        runtime = ProcessRuntime(f"bench-{id(self):x}", self.clock)
        self.enforcer = runtime.enforcer
        self.kubelet = Kubelet(
            self.client, node, runtime, self.clock, self.journal, KubeletOptions(directory / "run")
        )

    async def when(self, name: str, condition: str) -> float:
        """The time at which the pod is "ready" or "ended" for a watcher."""
        async for event in self.client.watch(PODS, "default", field_selector=f"metadata.name={name}"):
            status = event.object.get("status") or {}
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
            ended = status.get("phase") in ("Succeeded", "Failed")
            if {"ready": ready, "ended": ended}[condition]:
                return self.clock.now()
        raise AssertionError

    async def one(self, name: str) -> dict[str, float]:
        created = self.clock.now()
        await self.client.create(PODS, pod(name, "sleep", "100"), "default")
        ready = await self.when(name, "ready")
        (started,) = (r["at"] for r in self.journal.of("container.started") if r["pod"] == f"default/{name}")
        worker = next(w for w in self.kubelet.workers.values() if w.name == name)
        killed = self.clock.now()
        worker.running["main"].terminate()
        ended = await self.when(name, "ended")
        return {
            "bound to started": started - created,
            "started to ready in the API": ready - started,
            "signal to ended in the API": ended - killed,
        }


async def measure(pods: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        await bench.client.create(NAMESPACES, {"metadata": {"name": "default"}})
        await bench.kubelet.start()
        rows = [await bench.one(f"p{number}") for number in range(pods)]
        print(f"{bench.enforcer}, {pods} pods one after the other")
        for name in rows[0]:
            values = sorted(row[name] * 1000 for row in rows)
            print(f"  {name:32} p50 {statistics.median(values):6.1f} ms   max {values[-1]:6.1f} ms")
        begun = bench.clock.now()
        names = [f"q{number}" for number in range(pods)]
        for name in names:
            await bench.client.create(PODS, pod(name, "sleep", "100"), "default")
        times = await asyncio.gather(*(bench.when(name, "ready") for name in names))
        print(f"  {pods} at once: all ready after {(max(times) - begun) * 1000:.0f} ms")
        stopping = bench.clock.now()
        await bench.kubelet.stop()
        print(f"  stop with {pods} running pods: {(bench.clock.now() - stopping) * 1000:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=20)
    asyncio.run(measure(parser.parse_args().pods))


if __name__ == "__main__":
    main()
