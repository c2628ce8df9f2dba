"""A pod's life as a pure step: what to start and stop now, and what the status says.

Mirrors ``computePodActions`` of ``kuberuntime_manager.go`` and ``generateAPIPodStatus``. ``plan`` looks at
the pod and its containers' records and says what to do; the shell (``pod_worker``) does it and notes what
happened in new records. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wavetank.kube.client import Object
from wavetank.limits import (
    KUBELET_BACKOFF_RESET_SECONDS,
    KUBELET_BACKOFF_SECONDS,
    KUBELET_BACKOFF_SECONDS_MAX,
)

__all__ = ["Backoff", "ContainerRecord", "Plan", "Termination", "is_sidecar", "phase_of", "plan"]


@dataclass(frozen=True, slots=True)
class Termination:
    """One ended run of a container."""

    exit_code: int
    reason: str
    started_at: float
    finished_at: float
    container_id: str
    signal: int = 0
    message: str = ""

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long the next start waits: nothing after the first end, then 10 s, doubling to 300 s; a container
    that has run for 10 minutes begins anew."""

    delay: float = 0.0
    since: float = 0.0

    def ready_at(self, finished_at: float) -> float:
        if finished_at - self.since > KUBELET_BACKOFF_RESET_SECONDS:
            return finished_at
        return finished_at + self.delay

    def next(self, now: float, finished_at: float) -> Backoff:
        """The back-off after a start that was due."""
        if self.delay == 0.0 or finished_at - self.since > KUBELET_BACKOFF_RESET_SECONDS:
            return Backoff(KUBELET_BACKOFF_SECONDS, now)
        return Backoff(min(self.delay * 2, KUBELET_BACKOFF_SECONDS_MAX), now)


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """What the kubelet knows of one container. ``state`` is waiting, starting, running or terminated.

    ``reason`` and ``message`` explain waiting; ``started`` and ``ready`` are the probes' verdicts;
    ``ended`` is the run that ended last, ``before`` the one before it; ``retry_at`` holds back a start that
    could not be tried.
    """

    name: str
    init: bool = False
    sidecar: bool = False
    state: str = "waiting"
    reason: str = "ContainerCreating"
    message: str = ""
    started_at: float = 0.0
    container_id: str = ""
    image_id: str = ""
    restarts: int = 0
    started: bool = False
    ready: bool = False
    ended: Termination | None = None
    before: Termination | None = None
    backoff: Backoff = Backoff()
    retry_at: float = 0.0
    restart_now: bool = False
    """A probe killed it: the restart policy decides as after a failure."""

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def alive(self) -> bool:
        return self.state in ("running", "starting")


@dataclass(frozen=True, slots=True)
class Plan:
    """``start`` names containers to start now, ``stop`` those to stop; ``wake_at`` is when to plan again,
    None for "when something happens". ``waiting`` maps containers held by back-off to their delays."""

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    wake_at: float | None = None
    waiting: Mapping[str, float] | None = None
    phase: str = "Pending"
    finished: bool = False
    """No container will run again: the pod has succeeded or failed."""


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """A restartable init container."""
    return container.get("restartPolicy") == "Always"


def plan(now: float, pod: Object, records: Mapping[str, ContainerRecord], *, stopping: bool = False) -> Plan:
    """What to do now. ``stopping``: the pod is being deleted or has passed its deadline."""
    spec = pod["spec"]
    policy = spec.get("restartPolicy", "Always")
    inits: Sequence[Mapping[str, Any]] = spec.get("initContainers") or ()
    mains: Sequence[Mapping[str, Any]] = spec["containers"]
    phase = phase_of(pod, records)
    if stopping:
        return Plan(phase=phase, finished=not any(r.alive for r in records.values()))

    wishes = _Wishes(now)
    initialised = _plan_inits(inits, records, policy, wishes)
    if initialised is None:
        alive = tuple(name for name, record in records.items() if record.alive)
        return Plan(stop=alive, phase="Failed", finished=not alive)
    main_records = [records[c["name"]] for c in mains]
    if initialised:
        for record in main_records:
            wishes.consider(record, _restarts(record, policy))
        done = all(r.state == "terminated" and not _restarts(r, policy) for r in main_records)
        if done:
            sidecars = tuple(c["name"] for c in reversed(inits) if is_sidecar(c) and records[c["name"]].alive)
            return Plan(stop=sidecars, phase=phase, finished=not sidecars)
    return Plan(start=tuple(wishes.start), wake_at=wishes.wake_at, waiting=wishes.waiting, phase=phase)


@dataclass(slots=True)
class _Wishes:
    """Collects what may start now and what must wait until when."""

    now: float
    start: list[str]
    waiting: dict[str, float]
    wake_at: float | None

    def __init__(self, now: float) -> None:
        self.now = now
        self.start = []
        self.waiting = {}
        self.wake_at = None

    def consider(self, record: ContainerRecord, wanted: bool) -> None:
        if record.alive or not wanted:
            return
        due = max(
            record.retry_at,
            self.now if record.ended is None else record.backoff.ready_at(record.ended.finished_at),
        )
        if due <= self.now:
            self.start.append(record.name)
            return
        if record.ended is not None:
            self.waiting[record.name] = record.backoff.delay
        self.wake_at = due if self.wake_at is None else min(self.wake_at, due)


def _restarts(record: ContainerRecord, policy: str) -> bool:
    """Whether a container that is not running is to run."""
    if record.state != "terminated" or record.ended is None:
        return True
    if policy == "Always" or record.sidecar:
        return True
    return policy == "OnFailure" and (not record.ended.succeeded or record.restart_now)


def _plan_inits(
    inits: Sequence[Mapping[str, Any]],
    records: Mapping[str, ContainerRecord],
    policy: str,
    wishes: _Wishes,
) -> bool | None:
    """In order, each after the one before is done (a sidecar: has started). True when all are through,
    None when one has failed for good."""
    for container in inits:
        record = records[container["name"]]
        if is_sidecar(container):
            wishes.consider(record, True)
            if not (record.running and record.started) and not _mains_have_run(records):
                return False
            continue
        if record.state == "terminated" and record.ended is not None and record.ended.succeeded:
            continue
        if record.state == "terminated" and policy == "Never":
            return None
        wishes.consider(record, True)
        return False
    return True


def _mains_have_run(records: Mapping[str, ContainerRecord]) -> bool:
    return any(not r.init and (r.alive or r.ended is not None) for r in records.values())


def phase_of(pod: Object, records: Mapping[str, ContainerRecord]) -> str:
    """``status.phase`` as ``getPhase`` has it."""
    spec = pod["spec"]
    policy = spec.get("restartPolicy", "Always")
    for container in spec.get("initContainers") or ():
        record = records[container["name"]]
        if is_sidecar(container):
            if not record.started and record.ended is None:
                return "Pending"
        elif record.ended is None or not record.ended.succeeded:
            failed = record.state == "terminated" and record.ended is not None and policy == "Never"
            return "Failed" if failed else "Pending"
    mains = [records[c["name"]] for c in spec["containers"]]
    if any(not r.running and r.ended is None for r in mains):
        return "Pending"
    if any(r.running for r in mains) or policy == "Always":
        return "Running"
    if any(r.state != "terminated" for r in mains):
        return "Running"
    if all(r.ended is not None and r.ended.succeeded for r in mains):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def ended(record: ContainerRecord, termination: Termination) -> ContainerRecord:
    """The record of a container whose run has just ended."""
    return replace(
        record,
        state="terminated",
        ended=termination,
        before=record.ended,
        started=False,
        ready=record.init and not record.sidecar and termination.succeeded,
        reason="",
        message="",
    )
