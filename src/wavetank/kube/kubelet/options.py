"""The kubelet's options: flags of the real one where there are such, and what a tank adds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wavetank.kube.client import Object
from wavetank.kube.kubelet.images import ImagePuller

__all__ = ["KubeletOptions", "NodeConfig"]


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A node: a budget, not a machine. ``capacity`` holds quantities by resource (cpu, memory, pods);
    ``pod_cidr`` is the block of loopback addresses its pods get."""

    name: str
    capacity: Mapping[str, str] = field(default_factory=lambda: {"cpu": "4", "memory": "8Gi"})
    pod_cidr: str = "127.64.0.0/16"
    ip: str = "127.64.0.1"
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    kubelet_port: int = 10250


@dataclass(frozen=True, slots=True)
class KubeletOptions:
    """``run_directory`` holds pods' directories and logs and is emptied of them at the end.

    Seconds: ``housekeeping_interval`` and ``housekeeping_jitter`` (a share of it, drawn anew each time) are
    cAdvisor's; ``lease_interval`` renews the node's lease; ``status_interval`` rewrites its status.
    ``relist_period`` above 0 delays the first readiness probe of a container to the next multiple of it, as
    upstream's kubelet does, which learns of a started container by listing all of them every second; 0 asks
    at once. ``before_stop`` is awaited, for at most ``before_stop_seconds``, when a pod begins to end and
    before its containers hear of it: the composing layer waits there until no proxy sends it new requests.
    """

    run_directory: Path
    working_directory: Path | None = None
    housekeeping_interval: float = 10.0
    housekeeping_jitter: float = 0.5
    lease_interval: float = 10.0
    lease_duration: float = 40.0
    status_interval: float = 300.0
    puller: ImagePuller | None = None
    before_stop: Callable[[Object], Awaitable[None]] | None = None
    before_stop_seconds: float = 1.0
    relist_period: float = 0.0
    kubernetes_version: str = "v1.33.0"
