"""What the kubelet asks of a container runtime: the seam between a pod's life cycle and what runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wavetank.errors import WavetankError
from wavetank.kube.kubelet.container_log import ContainerLog
from wavetank.kube.kubelet.enforcer import Limits, Usage
from wavetank.kube.providers import ExecSession

__all__ = ["ContainerConfig", "Exit", "Running", "Runtime", "StartError"]


class StartError(WavetankError):
    """The container could not be started. ``reason`` is the waiting reason: CreateContainerError or
    RunContainerError."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """Everything that is needed to start a container; nothing in it refers to the API any more."""

    pod: str
    pod_uid: str
    name: str
    container_id: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: Path  # where it starts
    home: Path  # its own, gone with its pod
    log_path: Path
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended. ``code`` is 128 + signal where a signal ended it."""

    code: int
    signal: int = 0
    oom_killed: bool = False


class Running(Protocol):
    """A started container."""

    pid: int
    log: ContainerLog

    async def wait(self) -> Exit:
        """Wait for the end; the same answer at every call."""
        ...

    def terminate(self) -> None:
        """SIGTERM to the container's first process."""
        ...

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        ...

    def usage(self) -> Usage: ...

    def resize(self, limits: Limits) -> None: ...

    async def execute(self, argv: Sequence[str], timeout: float) -> tuple[int, str]:
        """Run a command beside the container's processes: (exit code, first of its output). Raises
        TimeoutError, after killing it, and StartError."""
        ...

    async def open(self, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecSession:
        """Start a command beside the container's processes, with streams. Raises StartError."""
        ...


class Runtime(Protocol):
    """``name`` is the RuntimeClass it stands for, ``enforcer`` names who keeps the limits."""

    name: str
    enforcer: str

    async def start(self, config: ContainerConfig) -> Running:
        """Raises StartError."""
        ...

    def remove_pod(self, pod_uid: str) -> None:
        """All the pod's containers have ended: remove what was made for it."""
        ...

    def close(self) -> None: ...
