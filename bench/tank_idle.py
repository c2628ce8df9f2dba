"""What a tank costs when nothing happens: memory and CPU of its two processes with ten pods.

    python bench/tank_idle.py [seconds]

Prints RSS and CPU (share of one core, mean over the window) of control plane, monitoring and Envoy. The
figures to reach: control plane + monitoring at most 250 MB and 5 % of a core. Start it twice: the very
first start compiles kernels.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import psutil

from wavetank.clock import Clock, RealClock
from wavetank.rehearsal.console_facts import ConsoleFacts
from wavetank.rehearsal.manifests import load_manifests
from wavetank.rehearsal.outcome.record import WorkloadFacts
from wavetank.rehearsal.scrape import internal_targets, monitoring_config
from wavetank.rehearsal.spec import Cluster, Monitoring
from wavetank.rehearsal.tank import Tank
from wavetank.rehearsal.workload_wait import wait_for_workloads
from wavetank.yamlfile import Document

PODS = 10
MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: idle}}
spec:
  replicas: {PODS}
  selector: {{matchLabels: {{app: idle}}}}
  template:
    metadata: {{labels: {{app: idle}}}}
    spec:
      containers:
        - name: idle
          image: idle:1
          command: [python3, -m, http.server, --bind, $(POD_IP), "8080"]
          env: [{{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
          readinessProbe: {{tcpSocket: {{port: 8080}}}}
          resources: {{requests: {{cpu: 50m, memory: 32Mi}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: idle}}
spec: {{selector: {{app: idle}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


async def measure(clock: Clock, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "idle.yaml").write_text(MANIFEST)
        manifests = load_manifests(directory, ["idle.yaml"], Document({}, "idle.yaml", 1, {}))
        tank = await Tank.open(clock)
        try:
            await tank.start_monitoring(
                ConsoleFacts(kind="tank", name="idle", monitoring_url=tank.monitoring_url)
            )
            await tank.start_control_plane(Cluster())
            targets = internal_targets(tank.addresses, tank.metrics_address, 1)
            await tank.apply(manifests)
            facts = WorkloadFacts(namespace="default", name="idle", kind="Deployment", replicas=PODS)
            await wait_for_workloads([facts], await tank.client(), clock)
            await tank.monitor(monitoring_config(directory, Monitoring(), targets, tank.files.account, "5s"))
            await clock.sleep(15.0)
            await report(tank, clock, seconds)
        finally:
            await tank.close()


async def report(tank: Tank, clock: Clock, seconds: float) -> None:
    assert tank.control_plane is not None and tank.monitoring is not None
    plane = psutil.Process(tank.control_plane.pid)
    processes = {"control plane": plane, "monitoring": psutil.Process(tank.monitoring.pid)}
    processes |= {p.name(): p for p in plane.children(recursive=True) if "envoy" in p.name()}
    before = {name: sum(p.cpu_times()[:2]) for name, p in processes.items()}
    begun = clock.monotonic()
    await clock.sleep(seconds)
    window = clock.monotonic() - begun
    rss = cpu = 0.0
    print(f"{'process':14} {'RSS MB':>8} {'USS MB':>8} {'CPU %':>7}   ({PODS} pods, {window:.0f} s)")
    for name, process in processes.items():
        memory = process.memory_full_info()
        share = (sum(process.cpu_times()[:2]) - before[name]) / window * 100
        print(f"{name:14} {memory.rss / 1e6:8.1f} {memory.uss / 1e6:8.1f} {share:7.2f}")
        if name != "envoy":
            rss, cpu = rss + memory.rss / 1e6, cpu + share
    print(f"{'both of ours':14} {rss:8.1f} {'':8} {cpu:7.2f}   (to reach: 250 MB, 5 %)")


if __name__ == "__main__":
    asyncio.run(measure(RealClock(), float(sys.argv[1]) if len(sys.argv) > 1 else 30.0))
