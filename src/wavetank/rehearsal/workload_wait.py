"""Waiting for the first pods, and saying why when they do not come."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from wavetank.clock import Clock
from wavetank.errors import InputError, WavetankError
from wavetank.kube.client import Client, Object
from wavetank.kube.resources import PODS
from wavetank.limits import WORKLOAD_START_SECONDS
from wavetank.rehearsal.outcome.record import WorkloadFacts

__all__ = ["Readiness", "readiness", "wait_for_workloads"]

#: A container that failed again after this many restarts will not come up by waiting.
RESTARTS_MAX = 1
_FATAL = ("CreateContainerError", "CreateContainerConfigError", "RunContainerError", "InvalidImageName")


@dataclass(frozen=True, slots=True)
class Broken:
    """A container that cannot work, and why."""

    namespace: str
    pod: str
    container: str
    why: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """``ready`` of ``wanted`` pods; ``pending`` are the scheduler's messages, ``broken`` what cannot work."""

    wanted: int
    ready: int
    pending: tuple[str, ...] = ()
    broken: tuple[Broken, ...] = ()

    @property
    def settled(self) -> bool:
        """All pods are ready but those that no node has room for."""
        return self.ready + len(self.pending) >= self.wanted


def readiness(workloads: Sequence[WorkloadFacts], pods: Sequence[Object]) -> Readiness:
    """What the pods' own status says. A pure function of the API's objects."""
    wanted = sum(max(w.replicas, w.min_replicas or 0) for w in workloads)
    ready = 0
    pending: list[str] = []
    broken: list[Broken] = []
    for pod in pods:
        status = pod.get("status") or {}
        conditions = {c.get("type"): c for c in status.get("conditions") or []}
        name = f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']}"
        if (conditions.get("Ready") or {}).get("status") == "True":
            ready += 1
        scheduled = conditions.get("PodScheduled") or {}
        if scheduled.get("status") == "False":
            pending.append(f"{name} is Pending: {scheduled.get('message')}")
        broken.extend(_broken(pod))
    return Readiness(wanted, ready, tuple(pending), tuple(broken))


def _broken(pod: Object) -> list[Broken]:
    status, metadata = pod.get("status") or {}, pod["metadata"]
    found = []
    for section in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(section) or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason, message = waiting.get("reason"), waiting.get("message") or ""
            last = (container.get("lastState") or {}).get("terminated") or {}
            why = ""
            if reason in _FATAL:
                why = message or reason
            elif reason == "CrashLoopBackOff" and int(container.get("restartCount") or 0) >= RESTARTS_MAX:
                told = " ".join(str(last.get("message") or "").split())
                code = last.get("exitCode")
                why = f"keeps ending: {told}" if told else f"keeps ending with exit code {code}"
            if why:
                found.append(Broken(str(metadata.get("namespace")), metadata["name"], container["name"], why))
    return found


async def _failure(broken: Broken, client: Client) -> InputError:
    """The error of a broken container, with the last line that it wrote."""
    pod = f"/api/v1/namespaces/{broken.namespace}/pods/{broken.pod}"
    path = f"{pod}/log?container={broken.container}&tailLines=20"
    said = ""
    for which in ("", "&previous=true"):
        with suppress(WavetankError):
            lines = (await client.get_raw(path + which)).decode("utf-8", "replace").strip().splitlines()
            said = lines[-1].strip() if lines else said
    name = f"{broken.namespace}/{broken.pod}"
    fix = f"it said last: {said}" if said else "it wrote no output"
    return InputError(f"{name}: container {broken.container} {broken.why}", fix=fix)


async def wait_for_workloads(workloads: Sequence[WorkloadFacts], client: Client, clock: Clock) -> Readiness:
    """Until every pod is ready, or only those are missing that no node has room for.

    Raises InputError when a container cannot work, or when it takes longer than WORKLOAD_START_SECONDS.
    """
    end = clock.monotonic() + WORKLOAD_START_SECONDS
    while True:
        found = readiness(workloads, (await client.list(PODS)).items)
        if found.broken:
            raise await _failure(found.broken[0], client)
        if found.settled or found.wanted == 0:
            return found
        if clock.monotonic() > end:
            missing = f"{found.ready} of {found.wanted} pods are ready after {WORKLOAD_START_SECONDS:.0f} s"
            fix = found.pending[0] if found.pending else "check the probes and the programs' logs"
            raise InputError(missing, fix=fix)
        await clock.sleep(0.02)
