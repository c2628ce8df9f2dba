"""The HPA controller: one loop for each HorizontalPodAutoscaler, every sync period.

Mirrors ``HorizontalController``: a fixed delay between the end of one sync and the next, so the period
creeps by what a sync takes; changes of an HPA do not hurry it. The phase is drawn for each HPA from its own
random stream, since in a cluster it depends on when the HPA was made, and a lag measured at one phase says
nothing about others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from wavetank.autoscaling.hpa.explain import DecisionInputs
from wavetank.autoscaling.hpa.index import PodIndex, SelectorIndex
from wavetank.autoscaling.hpa.model import Hpa, MetricSpec, Scale, parse_hpa, parse_scale
from wavetank.autoscaling.hpa.monitor import HpaMonitor
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.hpa.readings import read_metric, scale_resource
from wavetank.autoscaling.hpa.reconcile import (
    Conclusion,
    Decision,
    HpaState,
    conclude,
    decide,
    fail_scale,
    needs_metrics,
)
from wavetank.autoscaling.metrics import MetricsClient, Reading
from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Client, Object, Resource, WatchType
from wavetank.kube.events import EventRecorder
from wavetank.kube.informer import Informer
from wavetank.kube.kubelet.background import background
from wavetank.kube.resources import HORIZONTALPODAUTOSCALERS, PODS
from wavetank.kube.selectors import LabelSelector, parse_labels
from wavetank.limits import HPA_DECISIONS_KEPT

__all__ = ["HpaController", "scale_resource"]

Problem = tuple[str, str, str]
CLOCK_STEP_SECONDS = 1.0  # a smaller drift of the wall clock is left alone


class HpaController:
    """``start`` follows all HPAs; ``stop`` forgets what was recommended, as a restart does upstream.

    ``scalable`` adds kinds with a scale subresource, such as custom resources.
    """

    def __init__(
        self,
        client: Client,
        metrics_client: MetricsClient,
        clock: Clock,
        journal: Journal,
        options: HpaOptions = HpaOptions(),  # noqa: B008 - frozen
        *,
        scalable: Sequence[Resource] = (),
    ) -> None:
        self.options = options
        self.monitor = HpaMonitor()
        self.decisions: dict[str, deque[DecisionInputs]] = {}
        """The last decisions of each HPA (namespace/name), oldest first; ``explain`` puts them into words."""
        self._client = client
        self._metrics = metrics_client
        self._clock = clock
        self._journal = journal
        self._scalable = scalable
        self._hpas = Informer(client, HORIZONTALPODAUTOSCALERS, clock=clock)
        self._pods = Informer(client, PODS, clock=clock)
        self._recorder = EventRecorder(client, clock, "horizontal-pod-autoscaler")
        self._states: dict[str, HpaState] = {}
        self._selectors = SelectorIndex()
        self._index = PodIndex()
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._epoch = clock.now() - clock.monotonic()
        self._slots = asyncio.Semaphore(options.concurrent_syncs)

    async def start(self) -> None:
        self._pods.add_handler(self._on_pod)
        await self._pods.start()
        self._hpas.add_handler(self._on_hpa)
        await self._hpas.start()

    async def stop(self) -> None:
        await self._hpas.stop()
        await self._pods.stop()
        loops = list(self._loops.values())
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self._recorder.flush()

    def _on_pod(self, kind: WatchType, before: Object | None, pod: Object) -> None:
        if kind is WatchType.DELETED:
            self._index.remove(pod)
        else:
            self._index.put(pod)

    def _on_hpa(self, kind: WatchType, before: Object | None, hpa: Object) -> None:
        key = _key(hpa)
        if kind is WatchType.DELETED:
            loop = self._loops.pop(key, None)
            if loop is not None:
                loop.cancel()
            self._states.pop(key, None)
            self.decisions.pop(key, None)
            self._selectors.remove(key)
        elif key not in self._loops:
            self._loops[key] = background(self._loop(key), f"hpa {key}")

    async def _loop(self, key: str) -> None:
        phase = self._clock.random("hpa-phase").random()
        await self._clock.sleep(self.options.sync_period * phase)
        while True:
            async with self._slots:
                await self.sync(key)
            await self._clock.sleep(self.options.sync_period)

    async def sync(self, key: str) -> None:
        """One reconciliation of the HPA ``namespace/name``."""
        namespace, _, name = key.partition("/")
        obj = self._hpas.get(name, namespace)
        if obj is None:
            return
        begun = self._clock.monotonic()
        self._follow_clock()
        try:
            hpa = parse_hpa(obj)
        except (InputError, AttributeError, KeyError, TypeError, ValueError) as error:
            self._recorder.event(
                _typed(obj), "Warning", "FailedComputeMetricsReplicas", f"invalid HPA: {error}"
            )
            return
        state = self._states.get(key, HpaState())
        try:
            resource = scale_resource(dict(hpa.target), self._scalable)
            scale_obj = await self._client.get_subresource(
                resource, str(hpa.target.get("name", "")), "scale", namespace
            )
        except (LookupError, ApiError) as error:
            text = error.message if isinstance(error, ApiError) else str(error.args[0])
            conclusion = fail_scale(self._clock.now(), hpa, state, text, self.options)
        else:
            conclusion = await self._follow(hpa, resource, scale_obj, state)
        self._states[key] = conclusion.state
        self.monitor.reconciled(conclusion.action, conclusion.error_label, self._clock.monotonic() - begun)
        for event in conclusion.events:
            self._recorder.event(_typed(obj), event.kind, event.reason, event.message)
        await self._store(obj, conclusion)

    def _follow_clock(self) -> None:
        """Where the wall clock was set, move what is remembered with it: upstream's times carry a monotonic
        reading, so a step of the clock neither ends nor prolongs a window there."""
        epoch = self._clock.now() - self._clock.monotonic()
        step = epoch - self._epoch
        if abs(step) > CLOCK_STEP_SECONDS:
            self._states = {key: state.shifted(step) for key, state in self._states.items()}
            self._epoch = epoch

    async def _follow(self, hpa: Hpa, resource: Resource, scale_obj: Object, state: HpaState) -> Conclusion:
        """Decide, and write the scale."""
        scale = parse_scale(scale_obj)
        problem: Problem | None = None
        readings: list[Reading] = []
        took: list[float] = []
        pods: list[Object] = []
        if needs_metrics(hpa, scale, self.options):
            selector, problem = self._selector(hpa, scale)
            if selector is not None:
                pods = self._index.matching(hpa.namespace, selector)
                for metric in hpa.metrics:
                    reading, seconds = await self._read(hpa, metric, scale)
                    readings.append(reading)
                    took.append(seconds)
        now = self._clock.now()
        views = [self._index.view(pod) for pod in pods]
        decision = decide(now, hpa, scale, views, readings, state, self.options, selector_problem=problem)
        error: str | None = None
        if decision.rescale:
            body = {**scale_obj, "spec": {**(scale_obj.get("spec") or {}), "replicas": decision.desired}}
            try:
                await self._client.update(resource, body, subresource="scale")
            except ApiError as failure:
                error = failure.message
        inputs = DecisionInputs(now, hpa, scale, views, readings, state, decision)
        self.decisions.setdefault(hpa.key, deque(maxlen=HPA_DECISIONS_KEPT)).append(inputs)
        self._note(hpa, decision, readings, rescaled=decision.rescale and error is None)
        self._count(decision, took)
        return conclude(now, hpa, decision, self.options, error)

    async def _read(self, hpa: Hpa, metric: MetricSpec, scale: Scale) -> tuple[Reading, float]:
        """The reading, and the seconds it took."""
        begun = self._clock.monotonic()
        reading = await read_metric(self._metrics, hpa, metric, scale)
        return reading, self._clock.monotonic() - begun

    def _selector(self, hpa: Hpa, scale: Scale) -> tuple[LabelSelector | None, Problem | None]:
        """The pods' selector, or why it cannot be used."""
        if not scale.selector:
            return None, ("InvalidSelector", "SelectorRequired", "selector is required")
        try:
            selector = parse_labels(scale.selector)
        except InputError as error:
            text = f"couldn't convert selector into a corresponding internal selector object: {error.message}"
            return None, ("InvalidSelector", "InvalidSelector", text)
        self._selectors.put(hpa.key, hpa.namespace, selector)
        pods = self._index.matching(hpa.namespace, selector)
        controlling = sorted(self._selectors.controlling(hpa.namespace, pods))
        if len(controlling) > 1:
            shown = " ".join(controlling)
            text = f"pods by selector {scale.selector} are controlled by multiple HPAs: [{shown}]"
            return None, ("AmbiguousSelector", "AmbiguousSelector", text)
        return selector, None

    async def _store(self, obj: Object, conclusion: Conclusion) -> None:
        """Write the status if it differs from the stored one."""
        status = {key: value for key, value in conclusion.status.items() if value is not None}
        if status == (obj.get("status") or {}):
            return
        try:
            await self._client.update(
                HORIZONTALPODAUTOSCALERS, {**obj, "status": status}, subresource="status"
            )
        except ApiError as error:
            if error.code == 409:
                return  # the HPA changed meanwhile: the next sync sees it
            if error.code != 404:
                self._recorder.event(_typed(obj), "Warning", "FailedUpdateStatus", error.message)

    def _note(self, hpa: Hpa, decision: Decision, readings: Sequence[Reading], *, rescaled: bool) -> None:
        timestamps = {
            f"{hpa.namespace}/{name}": sample.timestamp if sample.exact is None else sample.exact
            for reading in readings
            for name, sample in reading.pods.items()
        }
        metrics = [
            {
                "name": result.label or result.kind,
                "value": result.value,
                "target": result.target,
                "ratio": result.proposal.ratio,
            }
            for result in decision.results
            if result.proposal is not None
        ]
        self._journal.record(
            "hpa.sync",
            hpa=hpa.key,
            target=f"{hpa.target.get('kind', '')}/{hpa.target.get('name', '')}",
            current=decision.current,
            proposed=decision.proposed,
            desired=decision.desired,
            rescaled=rescaled,
            reason=decision.why or decision.error,
            limited=decision.limited,
            metrics=metrics,
            timestamps=timestamps,
        )

    def _count(self, decision: Decision, took: Sequence[float]) -> None:
        for result, seconds in zip(decision.results, took, strict=False):
            proposed = result.proposal.replicas if result.proposal is not None else decision.current
            self.monitor.computed(result.kind, proposed - decision.current, result.error_label, seconds)


def _key(hpa: Object) -> str:
    return f"{hpa['metadata'].get('namespace', 'default')}/{hpa['metadata']['name']}"


def _typed(hpa: Object) -> Object:
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": hpa["metadata"]}
