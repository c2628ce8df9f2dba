"""A container runtime whose containers are models: the kubelet's ``Runtime`` seam in virtual time.

A simulated container starts up (using CPU, longer under a CPU limit), answers its probes from then on, uses
what the requests sent to it cost, grows, is killed at its memory limit, may crash, and ends when told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Never

from wavetank.clock import Clock
from wavetank.kube.kubelet.container_log import ContainerLog
from wavetank.kube.kubelet.enforcer import Limits, Usage
from wavetank.kube.kubelet.images import ImageConfig, ModelledPuller, Pulled
from wavetank.kube.kubelet.probes import ProbeSpec
from wavetank.kube.kubelet.runtime import ContainerConfig, Exit, StartError
from wavetank.simulation.flows import PodTraffic
from wavetank.simulation.model import PodModel

__all__ = ["SimulatedContainer", "SimulatedPuller", "SimulatedRuntime"]

_DRAIN_STEP = 0.25
_MEMORY_STEP = 1.0


class SimulatedPuller:
    """``ModelledPuller``, with an entrypoint for images whose pods name no command."""

    def __init__(self, model: ModelledPuller) -> None:
        self._model = model

    async def pull(self, image: str) -> Pulled:
        pulled = await self._model.pull(image)
        return replace(pulled, config=ImageConfig(entrypoint=("simulated",)))


class SimulatedRuntime:
    """``find`` gives the model and the traffic of a pod ("namespace/name"); traffic is None where no load
    reaches it."""

    name = "simulated"
    enforcer = "modelled CFS quota and memory limit"

    def __init__(self, clock: Clock, find: Callable[[str], tuple[PodModel, PodTraffic | None]]) -> None:
        self._clock = clock
        self._find = find
        self._pids = 0

    async def start(self, config: ContainerConfig) -> SimulatedContainer:
        model, traffic = self._find(config.pod)
        self._pids += 1
        return SimulatedContainer(self._clock, config, model, traffic, self._pids)

    def remove_pod(self, pod_uid: str) -> None:
        """Nothing was made for it."""

    def close(self) -> None:
        """Nothing is held."""


class SimulatedContainer:
    """See ``wavetank.kube.kubelet.runtime.Running``."""

    def __init__(
        self, clock: Clock, config: ContainerConfig, model: PodModel, traffic: PodTraffic | None, pid: int
    ) -> None:
        self.pid = pid
        self.log = ContainerLog(config.log_path, clock)
        self._clock = clock
        self._model = model
        self._traffic = traffic
        self._uid = config.pod_uid
        self._limits = config.limits
        self._begun = clock.now()
        self._answers = self._begun + self._startup_seconds()
        self._answering = False
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._tasks = [self._spawn(self._live())]
        if model.crashes_per_second > 0:
            self._tasks.append(self._spawn(self._crash()))
        self._last = Usage()

    def _spawn(self, work: object) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work, name=f"model {self._uid}")  # type: ignore[arg-type]

    def _startup_seconds(self) -> float:
        model = self._model
        draw = self._clock.random("startup").random()
        seconds = model.startup * (1 + model.startup_spread * (2 * draw - 1))
        limit = self._limits.cpu_millis / 1000
        return seconds * max(1.0, model.startup_cpu / limit) if limit else seconds

    async def _live(self) -> None:
        """Start up; then watch the memory, where it can reach its limit."""
        await self._clock.sleep(self._answers - self._clock.now())
        self._answering = True
        if self._traffic is not None:
            self._traffic.start(self._uid)
        memory, limit = self._model.memory, self._limits.memory_bytes
        if not limit or (memory.growth <= 0 and memory.per_request <= 0 and memory.base < limit):
            return
        while self._memory() < limit:
            await self._clock.sleep(_MEMORY_STEP)
        self._last = replace(self.usage(), oom_kills=1)
        self._finish(Exit(137, 9, oom_killed=True))

    async def _crash(self) -> None:
        await self._clock.sleep(self._clock.random("crashes").expovariate(self._model.crashes_per_second))
        self._finish(Exit(1))

    def _memory(self) -> int:
        memory = self._model.memory
        flying = 0
        if self._traffic is not None and memory.per_request:
            self._traffic.advance()
            flying = self._traffic.in_flight(self._uid)
        age = self._clock.now() - self._begun
        return int(memory.base + memory.per_request * flying + memory.growth * age)

    def _finish(self, how: Exit) -> None:
        if self._end.done():
            return
        self._last = replace(self.usage(), oom_kills=int(how.oom_killed))
        if self._traffic is not None:
            self._traffic.stop(self._uid)
        self._answering = False
        self._end.set_result(how)
        self.log.close()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    # --- what the kubelet asks

    async def wait(self) -> Exit:
        return await asyncio.shield(self._end)

    def terminate(self) -> None:
        self._tasks.append(self._spawn(self._drain()))

    async def _drain(self) -> None:
        """Finish what is being worked on, then end."""
        await self._clock.sleep(self._model.shutdown)
        while self._traffic is not None:
            self._traffic.advance()
            if self._traffic.in_flight(self._uid) == 0:
                break
            await self._clock.sleep(_DRAIN_STEP)
        self._finish(Exit(0))

    def kill(self) -> None:
        self._finish(Exit(137, 9))

    def usage(self) -> Usage:
        """Start-up, idling and requests together."""
        if self._end.done():
            return self._last
        now, model = self._clock.now(), self._model
        cores = min(model.startup_cpu, self._limits.cpu_millis / 1000 or model.startup_cpu)
        starting = min(now, self._answers) - self._begun
        cpu = cores * starting + model.idle_cpu * (now - self._begun)
        requests = Usage()
        if self._traffic is not None and self._answering:
            self._traffic.advance()
            requests = self._traffic.usage(self._uid)
        used = int(cpu * 1e9) + requests.cpu_ns
        memory = self._memory()
        return replace(
            requests, cpu_ns=used, cpu_user_ns=used, memory_usage=memory, memory_working_set=memory,
            memory_rss=memory, processes=1,
        )  # fmt: skip

    def resize(self, limits: Limits) -> None:
        self._limits = limits

    async def execute(self, argv: Sequence[str], timeout: float) -> tuple[int, str]:
        return (0, "") if self._answering else (1, "not started")

    async def open(self, argv: Sequence[str], *, stdin: bool, tty: bool) -> Never:
        raise StartError("RunContainerError", "a modelled container runs no commands")

    @property
    def steady(self) -> bool:
        return self._answering

    def probe(self, spec: ProbeSpec) -> tuple[bool, str]:
        """A probe succeeds as soon as the program answers."""
        return (True, "") if self._answering else (False, f"{spec.action}: connection refused")
