"""What an idle kubelet costs: CPU share and memory with ten pods that do nothing, for each enforcer.

Run: python bench/kubelet_idle.py [--pods 10] [--seconds 30]. Prints one line an enforcer.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import psutil

from wavetank.clock import RealClock, cpu_seconds
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Api
from wavetank.kube.kinds.catalog import register_built_in
from wavetank.kube.kubelet.enforcer import Enforcer
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.process_runtime import ProcessRuntime, choose_enforcer
from wavetank.kube.kubelet.server import LocalKubelets
from wavetank.kube.kubelet.signals import SignalEnforcer
from wavetank.kube.local_client import LocalClient
from wavetank.kube.metrics_server.scrapers import LocalScraper
from wavetank.kube.metrics_server.server import MetricsServer
from wavetank.kube.registry import Registry
from wavetank.kube.resources import NAMESPACES, PODS
from wavetank.kube.storage import Storage


async def measure(enforcer: Enforcer, pods: int, seconds: float) -> None:
    clock = RealClock()
    journal = MemoryJournal(clock)
    registry = Registry()
    register_built_in(registry)
    client = LocalClient(Api(Storage(), registry, clock, journal), "bench")
    await client.create(NAMESPACES, {"metadata": {"name": "default"}})
    with tempfile.TemporaryDirectory() as directory:
        node = NodeConfig("node-1", pod_cidr="127.90.0.0/24", ip="127.90.0.1")
        runtime = ProcessRuntime(f"bench-{id(clock):x}", clock, enforcer=enforcer)
        kubelet = Kubelet(client, node, runtime, clock, journal, KubeletOptions(Path(directory) / "run"))
        await kubelet.start()
        kubelets = LocalKubelets()
        kubelets.add(kubelet)
        server = MetricsServer(client, LocalScraper(kubelets), clock, journal)
        await server.start()
        for number in range(pods):
            await client.create(PODS, pod(number), "default")
        await clock.sleep(2)
        begun, used = clock.monotonic(), cpu_seconds()
        await clock.sleep(seconds)
        share = (cpu_seconds() - used) / (clock.monotonic() - begun)
        started = [r["at"] for r in journal.of("container.started")]
        created = [r["at"] for r in journal.of("pod.created")]
        resident = psutil.Process().memory_info().rss / 2**20
        await server.stop()
        await kubelet.stop()
    print(
        f"{enforcer.name:42} {pods} pods: {share * 100:.2f} % of a core, {resident:.0f} MB, "
        f"{pods} pods started in {max(started) - min(created):.3f} s"
    )


def pod(number: int) -> dict[str, object]:
    resources = {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "256Mi"}}
    probe = (
        {"exec": {"command": ["true"]}} if number == 0 else {"tcpSocket": {"port": 1, "host": "127.0.0.1"}}
    )
    main = {
        "name": "main",
        "image": "sleep:1",
        "command": ["sleep", "1000"],
        "resources": resources,
        "readinessProbe": probe,
    }
    return {"metadata": {"name": f"p{number}"}, "spec": {"nodeName": "node-1", "containers": [main]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    clock = RealClock()
    best = choose_enforcer("bench-probe", clock)
    best.close()
    for enforcer in (choose_enforcer("bench-kubelet", clock), SignalEnforcer("bench-kubelet", clock)):
        asyncio.run(measure(enforcer, given.pods, given.seconds))


if __name__ == "__main__":
    main()
