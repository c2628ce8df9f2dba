"""One pod on this node: the shell that carries out the plan of its life cycle.

A worker sleeps until something happens (the pod changed, a container ended, a probe reached a threshold, a
back-off is over), plans, acts, and writes the status if it differs. It does all writing of one pod's
records, in one task; other tasks only report.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavetank.errors import InputError
from wavetank.kube.client import ApiError, Object
from wavetank.kube.kubelet.background import background
from wavetank.kube.kubelet.container_log import ContainerLog
from wavetank.kube.kubelet.context import Context, limits_of
from wavetank.kube.kubelet.enforcer import Limits
from wavetank.kube.kubelet.environment import ConfigError
from wavetank.kube.kubelet.hooks import run_hook
from wavetank.kube.kubelet.images import PullError
from wavetank.kube.kubelet.lifecycle import (
    Plan,
    Termination,
    ended,
    is_sidecar,
    plan,
)
from wavetank.kube.kubelet.pod_status import pod_status
from wavetank.kube.kubelet.ports import explain_conflict
from wavetank.kube.kubelet.preparation import Preparation
from wavetank.kube.kubelet.prober import Prober
from wavetank.kube.kubelet.records import first_records
from wavetank.kube.kubelet.runtime import Exit, Running, StartError
from wavetank.kube.kubelet.status_writer import StatusWriter, Written
from wavetank.kube.kubelet.volumes import VolumeError
from wavetank.kube.times import parse_time
from wavetank.limits import (
    KUBELET_BACKOFF_SECONDS,
    KUBELET_BACKOFF_SECONDS_MAX,
    KUBELET_MESSAGE_BYTES_MAX,
)

__all__ = ["PodWorker"]

_RETRY_SECONDS = 1.0  # after the API refused a write
_TERM_SECONDS_MIN = 2.0  # after a preStop hook that used up the grace period, as upstream


class PodWorker:
    """Runs one pod until it is gone. ``update`` gives it the pod's newest version."""

    def __init__(self, context: Context, pod: Object) -> None:
        self.pod = pod
        meta = pod["metadata"]
        self.uid: str = meta["uid"]
        self.namespace: str = meta.get("namespace", "default")
        self.name: str = meta["name"]
        self.key = f"{self.namespace}/{self.name}"
        self.directory = context.options.run_directory / "pods" / self.uid
        self.records = first_records(pod)
        self.running: dict[str, Running] = {}
        self.logs: dict[str, ContainerLog] = {}
        self.log_paths: dict[str, list[Path]] = {}
        self.ip = ""
        self.start_time = parse_time((pod.get("status") or {}).get("startTime")) or context.clock.now()
        self._context = context
        self._wake = asyncio.Event()
        self._stopping = False
        self._stop_begun = False
        self._released = False
        self._override: tuple[str, str, str] | None = None
        self._deadline: float | None = None
        self._deadline_moved = asyncio.Event()
        self._writer = StatusWriter(context.client, context.journal, pod)
        self._probers: dict[str, Prober] = {}
        self._limits: dict[str, Limits] = {}
        self._pull_delay: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: dict[str, asyncio.Task[None]] = {}
        self.task = background(self._run(), f"pod {self.key}")

    # What others tell the worker

    def update(self, pod: Object) -> None:
        self.pod = pod
        self._note_deletion()
        self._resize()
        self.wake()

    def _resize(self) -> None:
        """Apply changed resources to running containers, without a restart."""
        for name, running in self.running.items():
            try:
                wanted = limits_of(self.container_spec(name))
                if wanted != self.limits(name):
                    running.resize(wanted)
                    self._limits[name] = wanted
            except (StartError, OSError) as error:
                self._event("Warning", "ResizeError", f"Error resizing container {name}: {error}", name)

    def vanish(self) -> None:
        """The object is gone from the API: end at once, whatever its grace period was."""
        now = self._context.clock.now()
        self._released = True
        self._deadline = now
        self._deadline_moved.set()
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    def limits(self, name: str) -> Limits:
        """The limits under which a container was started."""
        return self._limits.get(name, Limits())

    @property
    def ready(self) -> bool:
        return self._writer.ready

    # The loop

    async def _run(self) -> None:
        self._note_deletion()
        if (self.pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            self._stopping = True
        if not await self._take_address():
            return
        self._preparation = Preparation(self._context, self.ip, self.directory, self._event)
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            while True:
                self._wake.clear()
                step = self._step()
                await self._publish(step)
                if step.finished and self._is_over():
                    return
                await self._pause(step)
        finally:
            await self._clean_up()

    async def _take_address(self) -> bool:
        """Wait for a free address; False where the pod left before there was one."""
        while True:
            try:
                self.ip = self._context.addresses.take()
                return True
            except InputError as error:
                self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            self._wake.clear()
            await self._pause(Plan(wake_at=self._context.clock.now() + KUBELET_BACKOFF_SECONDS))
            if self._released:
                return False
            if self._leaving() and await self._writer.delete():
                self._context.journal.record("pod.gone", pod=self.key, uid=self.uid)
                return False

    def _is_over(self) -> bool:
        """All containers have ended: whether the pod is to leave, or stays for its logs and status."""
        return self._released or self._leaving()

    def _leaving(self) -> bool:
        return self.pod["metadata"].get("deletionTimestamp") is not None

    def _step(self) -> Plan:
        now = self._context.clock.now()
        self._check_deadline(now)
        stopping = self._stopping or self._leaving() or self._released
        step = plan(now, self.pod, self.records, stopping=stopping)
        if stopping and not step.finished:
            self._begin_stopping()
        for name in step.start:
            record = self.records[name]
            if record.ended is not None:
                due = record.backoff.next(now, record.ended.finished_at)
                record = replace(record, backoff=due, restarts=record.restarts + 1)
            self.records[name] = replace(record, state="starting", retry_at=0.0, restart_now=False)
            self._starting[name] = self._spawn(self._start(name))
        for name in step.stop:
            if name in self.running:
                self._spawn(self._stop_one(name, self._grace()))
        for name in step.waiting or ():
            self._note_back_off(name)
        return step

    async def _pause(self, step: Plan) -> None:
        """Sleep until woken or until a back-off or deadline is due."""
        wake_at = step.wake_at
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        if limit is not None and not self._stopping:
            due = self.start_time + float(limit)
            wake_at = due if wake_at is None else min(wake_at, due)
        if wake_at is None:
            await self._wake.wait()
            return
        timer = asyncio.ensure_future(
            self._context.clock.sleep(max(0.0, wake_at - self._context.clock.now()))
        )
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()

    def _check_deadline(self, now: float) -> None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        if limit is None or self._stopping or now < self.start_time + float(limit):
            return
        self._stopping = True
        self._override = (
            "Failed",
            "DeadlineExceeded",
            "Pod was active on the node longer than the specified deadline",
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = background(work, f"pod {self.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Starting

    async def _start(self, name: str) -> None:
        container = self.container_spec(name)
        try:
            config = await self._preparation.config(self.pod, container, self.records[name].restarts)
            if self._stopping or self._leaving() or self._released:
                self._not_started(name, "ContainerCreating", "")
                return
            running = await self._context.runtime.start(config)
            self._limits[name] = config.limits
        except PullError as error:
            self._not_pulled(name, error)
        except VolumeError as error:
            self._event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error.message}")
            self._not_started(name, "ContainerCreating", error.message)
        except ConfigError as error:
            self._event("Warning", "Failed", f"Error: {error.message}", name)
            self._not_started(name, "CreateContainerConfigError", error.message)
        except StartError as error:
            self._failed_start(name, error)
        except ApiError as error:
            self._not_started(name, "ContainerCreating", error.message)
        except (InputError, AttributeError, KeyError, TypeError, ValueError) as error:
            # What the API let through and we cannot read: said, not left hanging.
            text = f"cannot read the container's specification: {type(error).__name__}: {error}"
            self._failed_start(name, StartError("CreateContainerError", text))
        else:
            self._started(name, running, config.container_id, container)

    def _started(self, name: str, running: Running, container_id: str, spec: Mapping[str, Any]) -> None:
        now = self._context.clock.now()
        self.running[name] = running
        self.logs[name] = running.log
        self.log_paths.setdefault(name, []).append(running.log.path)
        del self.log_paths[name][:-2]  # upstream keeps the running and the previous instance
        record = self.records[name]
        prober = Prober(self._context, self, name, spec, running)
        self._probers[name] = prober
        self.records[name] = replace(
            record,
            state="running",
            reason="",
            message="",
            started_at=now,
            container_id=container_id,
            image_id=f"wavetank://{spec.get('image', '')}",
            started=prober.started,
            ready=prober.ready,
        )
        self._event("Normal", "Created", f"Created container: {name}", name)
        self._event("Normal", "Started", f"Started container {name}", name)
        self._context.journal.record(
            "container.started",
            pod=self.key,
            uid=self.uid,
            container=name,
            pid=running.pid,
            restart=record.restarts,
        )
        self._context.metrics.started(self.start_time, now, record)
        self._context.cadvisor.container_started(self)
        self._spawn(self._watch(name, running, now, container_id))
        hook = (spec.get("lifecycle") or {}).get("postStart")
        if hook:
            self._spawn(self._post_start(name, running, hook))
        prober.start()
        self.wake()

    async def _post_start(self, name: str, running: Running, hook: Mapping[str, Any]) -> None:
        problem = await run_hook(self._context, hook, running, self.ip, self.container_spec(name), 30.0)
        if problem:
            self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {problem}", name)
            await self._stop_one(name, self._grace())

    def _not_started(self, name: str, reason: str, message: str) -> None:
        """Nothing ran: try again later, as often as it takes."""
        retry = self._context.clock.now() + KUBELET_BACKOFF_SECONDS
        self.records[name] = replace(
            self.records[name], state="waiting", reason=reason, message=message, retry_at=retry
        )
        self.wake()

    def _not_pulled(self, name: str, error: PullError) -> None:
        """Try again after 10 s, then 20 s, and so on to five minutes."""
        image = self.container_spec(name).get("image", "")
        delay = min(
            KUBELET_BACKOFF_SECONDS_MAX, max(KUBELET_BACKOFF_SECONDS, 2 * self._pull_delay.get(name, 0))
        )
        self._pull_delay[name] = delay
        self._event("Warning", "Failed", f'Failed to pull image "{image}": {error.message}', name)
        self._event("Warning", "Failed", "Error: ErrImagePull", name)
        self._event("Normal", "BackOff", f'Back-off pulling image "{image}"', name)
        self._not_started(
            name, "ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {error.message}'
        )
        record = self.records[name]
        self.records[name] = replace(record, retry_at=self._context.clock.now() + delay)

    def _failed_start(self, name: str, error: StartError) -> None:
        """The command cannot be run: counts as a run that ended with 128, so that back-off applies."""
        now = self._context.clock.now()
        self._event("Warning", "Failed", f"Error: {error.message}", name)
        end = Termination(128, "StartError", now, now, "", 0, error.message)
        self.records[name] = replace(
            ended(self.records[name], end), state="waiting", reason=error.reason, message=error.message
        )
        self._context.journal.record(
            "container.exited",
            pod=self.key,
            uid=self.uid,
            container=name,
            exit_code=128,
            signal=0,
            reason="StartError",
        )
        self.wake()

    # Ending

    async def _watch(self, name: str, running: Running, started_at: float, container_id: str) -> None:
        """Wait for a container's end and note it."""
        result = await running.wait()
        self._probers.pop(name).stop()
        now = self._context.clock.now()
        reason = "OOMKilled" if result.oom_killed else "Completed" if result.code == 0 else "Error"
        message = self._last_words(name, running, result)
        end = Termination(
            result.code,
            reason,
            started_at,
            now,
            container_id,
            result.signal,
            message[:KUBELET_MESSAGE_BYTES_MAX],
        )
        self._context.cadvisor.container_ended(self, name, running.usage())
        self.running.pop(name, None)
        self.records[name] = ended(self.records[name], end)
        self._context.journal.record(
            "container.exited",
            pod=self.key,
            uid=self.uid,
            container=name,
            exit_code=result.code,
            signal=result.signal,
            reason=reason,
        )
        self.wake()

    def _last_words(self, name: str, running: Running, result: Exit) -> str:
        """The message of a termination: a port conflict explained, or the log's end where asked for."""
        if result.code == 0 or self._leaving():
            return ""
        spec = self.container_spec(name)
        output = running.log.tail()
        conflict = explain_conflict(output, self.ip, spec.get("ports") or ())
        if conflict:
            self._event("Warning", "PortConflict", conflict, name)
            return conflict
        if spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return output
        return ""

    def _note_deletion(self) -> None:
        """The deletion's grace ends ``deletionGracePeriodSeconds`` after it was first seen; a later, shorter
        one takes effect at once."""
        meta = self.pod["metadata"]
        if meta.get("deletionTimestamp") is None:
            return
        grace = float(meta.get("deletionGracePeriodSeconds") or 0)
        due = self._context.clock.now() + grace
        if self._deadline is None or due < self._deadline:
            self._deadline = due
            self._deadline_moved.set()

    def _grace(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _begin_stopping(self) -> None:
        if self._stop_begun:
            return
        self._stop_begun = True
        self._spawn(self._stop_all())

    async def _stop_all(self) -> None:
        """Endpoints first, then the main containers together, then sidecars, last started first."""
        for name, task in self._starting.items():
            if self.records[name].state == "starting":
                task.cancel()  # it is pulling, or waiting for its turn to: nothing runs yet
                self._not_started(name, "ContainerCreating", "")
        options = self._context.options
        if options.before_stop is not None and not self._released:
            with suppress(TimeoutError):
                async with asyncio.timeout(options.before_stop_seconds):
                    await options.before_stop(self.pod)
        if self._deadline is None:
            self._deadline = self._context.clock.now() + self._grace()
        spec = self.pod["spec"]
        sidecars = [c["name"] for c in spec.get("initContainers") or () if is_sidecar(c)]
        first = [name for name in self.running if name not in sidecars]
        await asyncio.gather(*(self._stop_one(name, None) for name in first))
        for name in reversed(sidecars):
            if name in self.running:
                await self._stop_one(name, None)
        self.wake()

    async def _stop_one(self, name: str, grace: float | None, why: str = "") -> None:
        """preStop, SIGTERM, SIGKILL. ``grace`` is the container's own, None where only the pod's counts."""
        running = self.running.get(name)
        if running is None:
            return
        clock = self._context.clock
        self._event("Normal", "Killing", why or f"Stopping container {name}", name)
        own = None if grace is None else clock.now() + grace
        left = self._kill_at(own) - clock.now()
        hook = (self.container_spec(name).get("lifecycle") or {}).get("preStop")
        floor = 0.0
        if hook and left > 0:
            problem = await run_hook(self._context, hook, running, self.ip, self.container_spec(name), left)
            if problem:
                self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {problem}", name)
            floor = clock.now() + _TERM_SECONDS_MIN
        running.terminate()
        waiting = asyncio.ensure_future(running.wait())
        while not waiting.done():
            left = self._kill_at(own, floor) - clock.now()
            if left <= 0:
                running.kill()
                break
            self._deadline_moved.clear()
            moved = asyncio.ensure_future(self._deadline_moved.wait())
            timer = asyncio.ensure_future(clock.sleep(left))
            await asyncio.wait({waiting, moved, timer}, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
            timer.cancel()
        await waiting

    def _kill_at(self, own: float | None, floor: float = 0.0) -> float:
        """When a stopping container is killed: at its own time or the pod's, whichever is sooner, but not
        before ``floor``; at once where the pod is gone from the API."""
        times = [at for at in (own, self._deadline) if at is not None]
        if self._released or not times:
            return self._context.clock.now()
        return max(min(times), floor)

    def unhealthy(self, name: str, probe: str, grace: float | None) -> None:
        """A liveness or startup probe has given the container up: stop it, the plan restarts it."""
        record = self.records[name]
        if name not in self.running or self._leaving():
            return
        self.records[name] = replace(record, restart_now=True, ready=False)
        why = f"Container {name} failed {probe} probe, will be restarted"
        self._spawn(self._stop_one(name, self._grace() if grace is None else grace, why))
        self.wake()

    def probed(self, name: str, *, started: bool, ready: bool) -> None:
        """Probes changed their mind about a running container."""
        record = self.records[name]
        if record.running and (record.started, record.ready) != (started, ready):
            self.records[name] = replace(record, started=started, ready=ready)
            self.wake()

    # Telling

    async def _publish(self, step: Plan) -> None:
        """Write the status if it changed. A pod that is leaving with nothing running is then removed."""
        if self._released:
            return
        status = pod_status(
            self._context.clock.now(),
            {**self.pod, "status": self._writer.known(self.pod)},
            self.records,
            step,
            pod_ip=self.ip,
            host_ip=self._context.node.ip,
            start_time=self.start_time,
            override=self._override,
        )
        match await self._writer.write(status):
            case Written.GONE:
                self._released = True
                self.wake()
            case Written.FAILED:
                self._spawn(self._wake_later(_RETRY_SECONDS))
            case Written.DONE if step.finished and self._leaving():
                if not await self._writer.delete():
                    self._spawn(self._wake_later(_RETRY_SECONDS))

    async def _wake_later(self, seconds: float) -> None:
        await self._context.clock.sleep(seconds)
        self.wake()

    def _event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        field = ""
        if container:
            inits = {c["name"] for c in self.pod["spec"].get("initContainers") or ()}
            field = f"spec.{'initContainers' if container in inits else 'containers'}{{{container}}}"
        self._context.recorder.event(
            {**self.pod, "apiVersion": "v1", "kind": "Pod"}, kind, reason, message, field
        )

    def _note_back_off(self, name: str) -> None:
        record = self.records[name]
        if record.reason in ("CrashLoopBackOff", "RunContainerError", "CreateContainerError"):
            return
        self.records[name] = replace(record, reason="CrashLoopBackOff")
        pod = f"{self.name}_{self.namespace}({self.uid})"
        self._event("Warning", "BackOff", f"Back-off restarting failed container {name} in pod {pod}", name)

    def container_spec(self, name: str) -> Mapping[str, Any]:
        """The container of that name in the pod's spec."""
        spec = self.pod["spec"]
        every = [*spec["containers"], *(spec.get("initContainers") or ())]
        return next(c for c in every if c["name"] == name)

    # The end

    def kill(self) -> None:
        """End everything now; used when the kubelet itself ends."""
        self._released = True
        for running in self.running.values():
            running.kill()
        self.wake()

    async def _clean_up(self) -> None:
        for prober in self._probers.values():
            prober.stop()
        for running in list(self.running.values()):
            running.kill()
            await running.wait()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._context.cadvisor.forget(self)
        self._context.runtime.remove_pod(self.uid)
        self._context.addresses.release(self.ip)
        logs = self._context.options.run_directory / "logs" / f"{self.namespace}_{self.name}_{self.uid}"
        for directory in (self.directory, logs):
            shutil.rmtree(directory, ignore_errors=True)
        self._context.journal.record("pod.gone", pod=self.key, uid=self.uid)
