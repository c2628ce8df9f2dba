"""The kubelet of one node: follows the pods bound to it, and answers for them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from wavetank.clock import Clock
from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Client, Object, WatchType
from wavetank.kube.controllers.stage import SIMULATED, is_simulated
from wavetank.kube.events import EventRecorder
from wavetank.kube.informer import Informer
from wavetank.kube.kubelet.addresses import AddressPool
from wavetank.kube.kubelet.background import background
from wavetank.kube.kubelet.cadvisor import Cadvisor
from wavetank.kube.kubelet.container_log import read_log
from wavetank.kube.kubelet.context import Context
from wavetank.kube.kubelet.exec_session import AttachedOutput
from wavetank.kube.kubelet.images import ImageStore, ModelledPuller
from wavetank.kube.kubelet.metrics import KubeletMetrics
from wavetank.kube.kubelet.node import NodeReporter
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.pod_worker import PodWorker
from wavetank.kube.kubelet.runtime import Running, Runtime, StartError
from wavetank.kube.providers import ExecSession
from wavetank.kube.resources import NODES, PODS

__all__ = ["FAILED", "Kubelet"]

FAILED = "wavetank.dev/failed"
"""Annotation of a node: its machine is lost while it is there."""


class Kubelet:
    """Runs the pods bound to ``node``. ``start`` returns once the node is registered and known pods have
    workers; ``stop`` kills all of them and leaves no process, control group or directory."""

    def __init__(
        self,
        client: Client,
        node: NodeConfig,
        runtime: Runtime,
        clock: Clock,
        journal: Journal,
        options: KubeletOptions,
    ) -> None:
        self.node = node
        self.clock = clock
        self.options = options
        self.started_at = clock.now()
        self.workers: dict[str, PodWorker] = {}
        self.metrics = KubeletMetrics(node.name)
        self.cadvisor = Cadvisor(clock, journal, node, options)
        self._runtime = runtime
        self._recorder = EventRecorder(client, clock, "kubelet", node.name)
        images = ImageStore(options.puller or ModelledPuller(clock), clock)
        self._reporter = NodeReporter(client, node, clock, options, runtime.name, images)
        self._context = Context(
            client,
            clock,
            journal,
            runtime,
            node,
            options,
            self._recorder,
            images,
            AddressPool(node.pod_cidr, clock),
            self.metrics,
            self.cadvisor,
        )
        self._client = client
        self._pods = self._pods_of_node()
        self._tasks: list[asyncio.Task[None]] = []
        self._self = Informer(client, NODES, field_selector=f"metadata.name={node.name}", clock=clock)
        self._switching = asyncio.Lock()
        self._switches: set[asyncio.Task[None]] = set()
        self._to_fail = False
        self.failed = False
        """Whether the machine is lost: nothing runs, and nothing is told to anybody."""

    @property
    def enforcer(self) -> str:
        """Who keeps CPU and memory limits, in words for status and report."""
        return self._runtime.enforcer

    def _pods_of_node(self) -> Informer:
        return Informer(
            self._client, PODS, field_selector=f"spec.nodeName={self.node.name}", clock=self.clock
        )

    async def start(self) -> None:
        await self._run()
        self._self.add_handler(self._on_node)
        await self._self.start()

    async def _run(self) -> None:
        await self._reporter.register()
        self._pods.add_handler(self._on_pod)
        self._tasks = [
            background(self.cadvisor.run(), f"housekeeping {self.node.name}"),
            background(self._keep_lease(), f"lease {self.node.name}"),
            background(self._keep_status(), f"status {self.node.name}"),
        ]
        await self._pods.start()
        self._recorder.event(self._reporter.object, "Normal", "Starting", "Starting kubelet.")

    async def _fall_silent(self) -> None:
        await self._pods.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_node(self, kind: WatchType, before: Object | None, node: Object) -> None:
        """The annotation on the node decides whether its machine is there."""
        del before
        lost = FAILED in (node["metadata"].get("annotations") or {})
        if kind is not WatchType.DELETED and lost is not self._to_fail:
            self._to_fail = lost
            task = background(self._switch(), f"power {self.node.name}")
            self._switches.add(task)
            task.add_done_callback(self._switches.discard)

    async def _switch(self) -> None:
        async with self._switching:
            if self._to_fail is not self.failed:
                self.failed = self._to_fail
                await (self._fail() if self.failed else self._restore())

    async def _fail(self) -> None:
        """The machine is gone: all processes end at once, heartbeats stop, and nobody is told."""
        await self._fall_silent()
        workers = list(self.workers.values())
        for worker in workers:
            worker.task.cancel()
        await asyncio.gather(*(worker.task for worker in workers), return_exceptions=True)

    async def _restore(self) -> None:
        """The machine boots: the pods that are still bound to it start once more."""
        self._pods = self._pods_of_node()
        await self._run()

    async def stop(self) -> None:
        await self._self.stop()
        await asyncio.gather(*self._switches, return_exceptions=True)
        await self._fall_silent()
        workers = list(self.workers.values())
        for worker in workers:
            worker.kill()
        await asyncio.gather(*(worker.task for worker in workers), return_exceptions=True)
        self._runtime.close()
        await self._recorder.flush()
        for name in ("pods", "logs"):
            directory = self.options.run_directory / name
            with suppress(OSError):
                directory.rmdir()  # left alone where another kubelet uses it too
        if not any(self.options.run_directory.glob("*")):
            shutil.rmtree(self.options.run_directory, ignore_errors=True)

    def _on_pod(self, kind: WatchType, before: Object | None, pod: Object) -> None:
        if is_simulated(pod) and self._runtime.name != SIMULATED:
            return  # its life is a matter of stages
        uid = pod["metadata"]["uid"]
        worker = self.workers.get(uid)
        if kind is WatchType.DELETED:
            if worker is not None:
                worker.vanish()
            return
        if before is not None and before["metadata"]["uid"] != uid:
            replaced = self.workers.get(before["metadata"]["uid"])
            if replaced is not None:
                replaced.vanish()
        if worker is not None:
            worker.update(pod)
            return
        worker = self.workers[uid] = PodWorker(self._context, pod)
        worker.task.add_done_callback(lambda _: self.workers.pop(uid, None))

    async def _keep_lease(self) -> None:
        while True:
            await self.clock.sleep(self.options.lease_interval)
            with suppress(ApiError):
                await self._reporter.renew()

    async def _keep_status(self) -> None:
        while True:
            await self.clock.sleep(self.options.status_interval)
            with suppress(ApiError):
                await self._reporter.report()

    # Answers

    def pods(self) -> list[Object]:
        """The pods of this node as the kubelet knows them."""
        return [worker.pod for worker in self.workers.values()]

    def count(self) -> None:
        """Bring the gauges of /metrics up to date."""
        running = [len(worker.running) for worker in self.workers.values()]
        self.metrics.counted(sum(1 for n in running if n), sum(running))

    async def logs(
        self,
        pod: Object,
        container: str,
        *,
        follow: bool = False,
        tail_lines: int | None = None,
        timestamps: bool = False,
        since_seconds: float | None = None,
        previous: bool = False,
    ) -> AsyncIterator[bytes]:
        """A container's output. Raises ApiError 400 where there is none, in upstream's words."""
        name = pod["metadata"]["name"]
        worker = self.workers.get(pod["metadata"]["uid"])
        paths = worker.log_paths.get(container, []) if worker is not None else []
        if previous and len(paths) < 2:
            raise ApiError(
                400, "BadRequest", f'previous terminated container "{container}" in pod "{name}" not found'
            )
        if worker is None or not paths:
            record = worker.records.get(container) if worker is not None else None
            reason = record.reason if record is not None and record.reason else "ContainerCreating"
            raise ApiError(
                400,
                "BadRequest",
                f'container "{container}" in pod "{name}" is waiting to start: {reason}',
            )
        path = paths[-2] if previous else paths[-1]
        log = None if previous else worker.logs.get(container)
        async for chunk in read_log(
            path,
            log,
            now=self.clock.now(),
            follow=follow,
            tail_lines=tail_lines,
            timestamps=timestamps,
            since_seconds=since_seconds,
        ):
            yield chunk

    async def execute(
        self, pod: Object, container: str, argv: Sequence[str], *, stdin: bool, tty: bool
    ) -> ExecSession:
        """Start a command beside a container's processes. Raises ApiError 500 where it cannot, as a runtime
        does."""
        running = self._running(pod, container)
        try:
            return await running.open(argv, stdin=stdin, tty=tty)
        except StartError as error:
            text = f"error executing command in container: {error.message}"
            raise ApiError(500, "InternalError", f"Internal error occurred: {text}") from None

    async def attach(self, pod: Object, container: str) -> ExecSession:
        """What a container says from now on."""
        return AttachedOutput(self._running(pod, container))

    def _running(self, pod: Object, container: str) -> Running:
        worker = self.workers.get(pod["metadata"]["uid"])
        running = worker.running.get(container) if worker is not None else None
        if running is None:
            text = f'unable to upgrade connection: container not found ("{container}")'
            raise ApiError(500, "InternalError", text)
        return running

    async def connect(self, pod: Object, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a port of the pod's address."""
        worker = self.workers.get(pod["metadata"]["uid"])
        if worker is None or not worker.ip:
            raise OSError("the pod is not running")
        return await asyncio.open_connection(worker.ip, port)
