"""The node autoscaler's loop: sees the cluster through the API, acts through a ``NodeProvider``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from wavetank.autoscaling.nodes.model import GROUP_LABEL, TAINT, NodesOptions, NodesState, NodesView
from wavetank.autoscaling.nodes.step import step
from wavetank.clock import Clock
from wavetank.errors import WavetankError
from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.events import EventRecorder
from wavetank.kube.kubelet.background import background
from wavetank.kube.objects import controller_of, labels_of
from wavetank.kube.resources import NODES, PODDISRUPTIONBUDGETS, PODS
from wavetank.kube.scheduler.nodes import NodeInfo
from wavetank.kube.selectors import from_object

__all__ = ["NodeAutoscaler", "NodeProvider"]


class NodeProvider(Protocol):
    """Who makes nodes: in a cloud the machines' API."""

    async def start_node(self, name: str, labels: Mapping[str, str]) -> None:
        """Bring up a node of the template; it registers itself."""
        ...

    async def stop_node(self, name: str) -> None:
        """End it and remove its Node object."""
        ...


class NodeAutoscaler:
    """``start`` scans until ``stop``. ``scan`` is one pass, and answers when the next is due."""

    def __init__(
        self, client: Client, provider: NodeProvider, clock: Clock, journal: Journal, options: NodesOptions
    ) -> None:
        self.state = NodesState()
        self._client = client
        self._provider = provider
        self._clock = clock
        self._journal = journal
        self._options = options
        self._recorder = EventRecorder(client, clock, "cluster-autoscaler")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = background(self._run(), "node autoscaler")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._recorder.flush()

    async def _run(self) -> None:
        while True:
            due = await self.scan()
            await self._clock.sleep(max(0.1, due - self._clock.now()))

    async def scan(self) -> float:
        """Look, decide, act. What fails is tried again at the next scan."""
        now = self._clock.now()
        try:
            view = await self._view()
        except ApiError as error:
            self._journal.record("nodes.failed", error=error.message)
            return now + self._options.scan_interval
        plan, self.state = step(now, view, self.state, self._options)
        for event in plan.events:
            self._recorder.event(event.object, event.kind, event.reason, event.message)
        if plan.order:
            self._journal.record("nodes.ordered", nodes=list(plan.order), ready_in=self._options.boot_delay)
        for name in plan.start:
            await self._start_node(name)
        for name in plan.drain:
            await self._drain(name, view)
        for name in plan.delete:
            await self._provider.stop_node(name)
            self._journal.record("nodes.removed", node=name)
        return plan.due

    async def _start_node(self, name: str) -> None:
        """A node that does not come up is tried again at the next scan."""
        try:
            await self._provider.start_node(name, {GROUP_LABEL: self._options.group})
        except (WavetankError, OSError) as error:
            self._journal.record("nodes.failed", node=name, error=str(error))
            again = self._clock.now() + self._options.scan_interval
            self.state = replace(self.state, booting={**self.state.booting, name: again})
        else:
            self._journal.record("nodes.started", node=name)

    async def _view(self) -> NodesView:
        infos = {
            node["metadata"]["name"]: NodeInfo.of(node) for node in (await self._client.list(NODES)).items
        }
        pending: list[Object] = []
        pods = (await self._client.list(PODS)).items
        for pod in pods:
            info = infos.get(pod["spec"].get("nodeName") or "")
            if info is not None:
                info.add(pod)
            elif not pod["spec"].get("nodeName"):
                pending.append({"apiVersion": "v1", "kind": "Pod", **pod})
        budgets, of = await self._budgets(pods)
        return NodesView(list(infos.values()), pending, budgets, of)

    async def _budgets(self, pods: Sequence[Object]) -> tuple[dict[str, int], dict[str, list[str]]]:
        allowed: dict[str, int] = {}
        of: dict[str, list[str]] = {}
        for budget in (await self._client.list(PODDISRUPTIONBUDGETS)).items:
            meta = budget["metadata"]
            key = f"{meta.get('namespace')}/{meta['name']}"
            allowed[key] = int((budget.get("status") or {}).get("disruptionsAllowed") or 0)
            selector = from_object((budget.get("spec") or {}).get("selector"))
            for pod in pods:
                same = pod["metadata"].get("namespace") == meta.get("namespace")
                if same and selector.matches(labels_of(pod)):
                    of.setdefault(pod["metadata"]["uid"], []).append(key)
        return allowed, of

    async def _drain(self, name: str, view: NodesView) -> None:
        """Keep new pods away and evict those there; the ones that refuse are asked again by nobody, but go
        with the node when the drain's time is over."""
        taint = {"key": TAINT, "value": str(int(self._clock.now())), "effect": "NoSchedule"}
        info = next((each for each in view.nodes if each.name == name), None)
        if info is None:
            return
        taints = [*((info.node.get("spec") or {}).get("taints") or ()), taint]
        spec = {"taints": taints, "unschedulable": True}
        try:
            await self._client.patch(NODES, name, {"spec": spec})
        except ApiError as error:
            self._journal.record("nodes.failed", node=name, error=error.message)
            return
        self._journal.record("nodes.draining", node=name, pods=len(info.pods))
        node = {**info.node, "apiVersion": "v1", "kind": "Node"}
        self._recorder.event(node, "Normal", "ScaleDown", "marked the node as toBeDeleted/unschedulable")
        for pod in info.pods.values():
            if (controller_of(pod) or {}).get("kind") != "DaemonSet":
                await self._evict(pod)

    async def _evict(self, pod: Object) -> None:
        meta = pod["metadata"]
        where = {"name": meta["name"], "namespace": meta["namespace"]}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": where}
        typed = {**pod, "apiVersion": "v1", "kind": "Pod"}
        try:
            await self._client.create_subresource(PODS, meta["name"], "eviction", body, meta["namespace"])
        except ApiError as error:
            self._recorder.event(
                typed, "Warning", "ScaleDownFailed", f"failed to delete pod: {error.message}"
            )
            return
        self._recorder.event(typed, "Normal", "ScaleDown", "deleting pod for node scale down")
