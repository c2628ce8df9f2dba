"""A cluster in virtual time: how long 5,000 pods on 100 nodes take to be created, bound, made ready, removed.

Run: ``python bench/kube_virtual.py [--pods 5000] [--nodes 100]``.
"""

from __future__ import annotations

import argparse
import time

import psutil

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube import deletion
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.resources import DEPLOYMENTS, NODES, PODS, SERVICES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--nodes", type=int, default=100)
    arguments = parser.parse_args()
    clock = VirtualClock(1e9, seed=1)
    plane = ControlPlane(clock, MemoryJournal(clock), ControlPlaneOptions(manage_fields=False))
    plane.boot()
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "110"}
    for i in range(arguments.nodes):
        labels = {"kubernetes.io/hostname": f"n{i}"}
        made = {"metadata": {"name": f"n{i}", "labels": labels}, "status": {"allocatable": capacity}}
        plane.api.create(NODES, None, made)
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    plane.api.create(SERVICES, "default", {"metadata": {"name": "web"}, "spec": spec})
    container = {"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": arguments.pods, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    process = psutil.Process()
    plane.run_step()
    rss = process.memory_info().rss

    def timed(what: str) -> None:
        started = time.process_time()
        plane.run_step()
        spent = time.process_time() - started
        print(f"{what:28} {spent:6.2f} s of CPU, {spent / arguments.pods * 1e3:.2f} ms a pod")

    plane.api.create(DEPLOYMENTS, "default", {"metadata": {"name": "web"}, "spec": spec})
    timed(f"create and bind {arguments.pods} pods")
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    for i, pod in enumerate(plane.api.bucket(PODS).sorted("default")):
        status = {
            **pod["status"],
            "phase": "Running",
            "podIP": f"127.{i // 62500 + 1}.{i // 250 % 250}.{i % 250}",
        }
        status["conditions"] = [*status.get("conditions", []), *ready]
        name = pod["metadata"]["name"]
        plane.api.update(PODS, "default", name, {**pod, "status": status}, subresource="status")
    timed("make all of them ready")
    print(f"{'memory':28} {(process.memory_info().rss - rss) / 2**20:.0f} MB")
    plane.api.delete(DEPLOYMENTS, "default", "web", deletion.Options(propagation_policy="Background"))
    timed("begin to delete them")


if __name__ == "__main__":
    main()
