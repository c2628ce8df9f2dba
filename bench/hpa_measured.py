"""Scale from zero and back in virtual time, beside 20 runs measured on a real cluster.

That cluster (k3s 1.36, External metric, Prometheus scrape 15 s, sync 15 s, scale-down window 60 s) took a
producer's start as its zero. How long the producer needed until it had anything to show is a property of that
set-up: it is taken from their first stage (metric visible in Prometheus), less the mean wait for a scrape and
half of the five seconds at which they looked. The rest is ours: scrape and sync at random phases.

Their runs were phase-locked (each a little later in the loops than the one before), so the usual confidence
interval of a mean, which takes runs for independent, is too narrow; the one by the effective number of runs,
from the correlation of neighbours, stands beside it. And so there are two variants of ours: at random phases,
as a user would meet it, and at their phases: each scrape as late after the producer's start as they saw it,
and the sync as in their first run, creeping on by 0.3 s a run as its queue does (from their data). What is
left to get right there is that nothing else takes time, and which sync is the first to see the metric.

Run: python bench/hpa_measured.py [--runs 200].
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.local_client import LocalClient
from wavetank.kube.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, PODS
from wavetank.kube.times import format_time

DATA = Path(__file__).parent.parent / "tests" / "autoscaling" / "data" / "measured_hpa_latency.json"
START = 1_750_000_000.0
SCRAPE = 15.0
SYNC = 15.0
CREEP = 0.3
LOOKED_EVERY = 5.0
BUSY_SECONDS = 31.0
CONTAINERS = {"containers": [{"name": "c", "image": "i"}]}


class Queue:
    """The metric as of the last scrape."""

    def __init__(self, clock: VirtualClock, phase: float) -> None:
        self._clock = clock
        self.phase = phase
        self.busy = (math.inf, math.inf)

    async def raw(self, path: str) -> bytes:
        since = self._clock.now() - START - self.phase
        at = START + self.phase + since // SCRAPE * SCRAPE
        length = 25 if self.busy[0] <= at < self.busy[1] else 0
        return msgspec.json.encode({"items": [{"value": str(length), "timestamp": format_time(at)}]})


def autoscaler() -> dict[str, Any]:
    policies = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
    down = {"stabilizationWindowSeconds": 60, "policies": policies}
    metric = {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"}}
    return {
        "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": 0,
            "maxReplicas": 3,
            "metrics": [{"type": "External", "external": metric}],
            "behavior": {"scaleDown": down, "scaleUp": {"stabilizationWindowSeconds": 0}},
        },
    }


async def run(seed: int, producer: float, locked: tuple[float, float] | None = None) -> tuple[float, float]:
    """(producer's start to rescale from zero, from there to the rescale to zero), seconds. ``locked``: from
    the producer's start to the scrape that shows it, and to a sync; None: as chance has it."""
    clock = VirtualClock(START, seed=seed)
    draw = clock.random("bench")
    journal = MemoryJournal(clock)
    plane = ControlPlane(clock, journal, ControlPlaneOptions(manage_fields=False))
    plane.boot()
    queue = Queue(clock, draw.uniform(0, SCRAPE))
    client = LocalClient(plane.api, "bench", queue.raw)
    labels = {"app": "worker"}
    template = {"metadata": {"labels": labels}, "spec": CONTAINERS}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    await client.create(DEPLOYMENTS, {"metadata": {"name": "worker"}, "spec": spec}, "default")
    await client.create(HORIZONTALPODAUTOSCALERS, autoscaler(), "default")
    for number in range(3):
        made = {"metadata": {"name": f"w{number}", "labels": labels}, "spec": CONTAINERS}
        await client.create(PODS, made, "default")
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await client.patch(PODS, f"w{number}", {"status": status}, "default", subresource="status")
    options = HpaOptions().emulate(36)
    controller = HpaController(client, ApiMetricsClient(client), clock, journal, options)
    await controller.start()
    await clock.advance(120)  # idle: the HPA itself puts the target to zero
    begun = clock.now() + draw.uniform(0, SCRAPE)
    if locked is not None:
        scrape, sync = locked
        last = journal.of("hpa.sync")[-1]["at"]
        begun = last + 2 * SYNC - sync
        queue.phase = (begun + scrape - START) % SCRAPE
    queue.busy = (begun + producer, begun + producer + BUSY_SECONDS)
    journal.records.clear()
    await clock.advance(220)
    await controller.stop()
    changes = [r["at"] for r in journal.of("hpa.sync") if r["rescaled"]]
    return changes[0] - begun, changes[-1] - changes[0]


def interval(values: Sequence[float], runs: float) -> tuple[float, float]:
    """95 % of a mean over so many independent runs."""
    mean = statistics.fmean(values)
    half = 1.96 * statistics.stdev(values) / math.sqrt(runs)
    return mean - half, mean + half


def effective(values: Sequence[float]) -> float:
    """How many independent runs say as much as these, by the correlation of neighbours."""
    mean = statistics.fmean(values)
    off = [v - mean for v in values]
    correlation = sum(a * b for a, b in itertools.pairwise(off)) / sum(a * a for a in off)
    return max(1.0, len(values) * (1 - correlation) / (1 + correlation))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs: int = parser.parse_args().runs
    measured = msgspec.json.decode(DATA.read_bytes())["hpa"]
    theirs = [float(v) for v in measured["rescaleFromZero"]]
    producer = statistics.fmean(measured["lagVisible"]) - LOOKED_EVERY / 2 - SCRAPE / 2
    ours = [asyncio.run(run(seed, producer)) for seed in range(runs)]
    up, down = [u for u, _ in ours], [d for _, d in ours]
    mean = statistics.fmean(up)
    plain, wide = interval(theirs, len(theirs)), interval(theirs, effective(theirs))
    print(f"producer until it has something to show (from their first stage): {producer:.2f} s")
    print(
        f"measured  from zero {statistics.fmean(theirs):5.2f} s (sd {statistics.stdev(theirs):.2f}, "
        f"{min(theirs):.0f} to {max(theirs):.0f}); 95 % as independent {plain[0]:.1f} to {plain[1]:.1f}, "
        f"by {effective(theirs):.1f} effective runs {wide[0]:.1f} to {wide[1]:.1f}"
    )
    own = interval(up, runs)
    print(
        f"at random phases    {mean:5.2f} s (sd {statistics.stdev(up):.2f}, {min(up):.0f} to {max(up):.0f}); "
        f"95 % {own[0]:.1f} to {own[1]:.1f}; {runs} runs"
    )
    for name, (low, high) in (("independent", plain), ("effective", wide)):
        print(f"that mean within their interval ({name} runs): {low <= mean <= high}")
    at_theirs = [
        asyncio.run(run(seed, producer, (visible - LOOKED_EVERY / 2, theirs[0] + CREEP * seed)))[0]
        for seed, visible in enumerate(measured["lagVisible"])
    ]
    locked = statistics.fmean(at_theirs)
    print(
        f"at their phases     {locked:5.2f} s (sd {statistics.stdev(at_theirs):.2f}, {min(at_theirs):.0f} to "
        f"{max(at_theirs):.0f}); within their interval (independent runs): {plain[0] <= locked <= plain[1]}"
    )
    share = sum(1 for value in up if min(theirs) <= value <= max(theirs)) / runs
    print(f"share of our runs within their range: {share:.0%}")
    to_zero = statistics.fmean(measured["rescaleToZeroAfterScaleUp"])
    print(f"to zero: measured {to_zero:.0f} s, simulated {statistics.median(down):.0f} s (median)")


if __name__ == "__main__":
    main()
