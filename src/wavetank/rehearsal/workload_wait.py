"""Waiting for the first pods, and saying why when they do not come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.kube.client import Client, Object
from wavetank.kube.resources import PODS
from wavetank.limits import WORKLOAD_START_SECONDS
from wavetank.rehearsal.outcome.record import WorkloadFacts

__all__ = ["Readiness", "readiness", "wait_for_workloads"]

#: A container that failed this often will not come up by waiting.
RESTARTS_MAX = 3
_FATAL = ("CreateContainerError", "CreateContainerConfigError", "RunContainerError", "InvalidImageName")


@dataclass(frozen=True, slots=True)
class Readiness:
    """``ready`` of ``wanted`` pods; ``pending`` are the scheduler's messages, ``broken`` what cannot work."""

    wanted: int
    ready: int
    pending: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """All pods are ready but those that no node has room for."""
        return self.ready > 0 and self.ready + len(self.pending) >= self.wanted


def readiness(workloads: Sequence[WorkloadFacts], pods: Sequence[Object]) -> Readiness:
    """What the pods' own status says. A pure function of the API's objects."""
    wanted = sum(max(w.replicas, w.min_replicas or 0) for w in workloads)
    ready = 0
    pending: list[str] = []
    broken: list[str] = []
    for pod in pods:
        status = pod.get("status") or {}
        conditions = {c.get("type"): c for c in status.get("conditions") or []}
        name = f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']}"
        if (conditions.get("Ready") or {}).get("status") == "True":
            ready += 1
        scheduled = conditions.get("PodScheduled") or {}
        if scheduled.get("status") == "False":
            pending.append(f"{name} is Pending: {scheduled.get('message')}")
        broken.extend(f"{name}: {text}" for text in _broken(status))
    return Readiness(wanted, ready, tuple(pending), tuple(broken))


def _broken(status: Object) -> list[str]:
    found = []
    for section in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(section) or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason, message = waiting.get("reason"), waiting.get("message") or ""
            last = (container.get("lastState") or {}).get("terminated") or {}
            if reason in _FATAL:
                found.append(f"container {container['name']}: {message or reason}")
            elif int(container.get("restartCount") or 0) >= RESTARTS_MAX or (
                reason == "CrashLoopBackOff" and last.get("message")
            ):
                why = last.get("message") or f"exit code {last.get('exitCode')}"
                found.append(f"container {container['name']} keeps ending: {' '.join(str(why).split())}")
    return found


async def wait_for_workloads(workloads: Sequence[WorkloadFacts], client: Client, clock: Clock) -> Readiness:
    """Until every pod is ready, or only those are missing that no node has room for.

    Raises InputError when a container cannot work, or when it takes longer than WORKLOAD_START_SECONDS.
    """
    end = clock.monotonic() + WORKLOAD_START_SECONDS
    while True:
        found = readiness(workloads, (await client.list(PODS)).items)
        if found.broken:
            raise InputError(
                found.broken[0], fix="its output is in `kubectl logs`, and in --keep's directory"
            )
        if found.settled or found.wanted == 0:
            return found
        if clock.monotonic() > end:
            missing = f"{found.ready} of {found.wanted} pods are ready after {WORKLOAD_START_SECONDS:.0f} s"
            fix = found.pending[0] if found.pending else "check the probes and the programs' logs"
            raise InputError(missing, fix=fix)
        await clock.sleep(0.02)
