"""The VPA's loops: the recommender reads usage and writes recommendations, the updater evicts or resizes.

Both run every minute, as upstream's two programs do. The third, admission, is ``VpaAdmission``: it belongs
into the API server's chain of admissions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from wavetank.autoscaling.hpa.controller import scale_resource
from wavetank.autoscaling.vpa.admit import admit, new_resources
from wavetank.autoscaling.vpa.checkpoint import from_checkpoint, to_checkpoint
from wavetank.autoscaling.vpa.estimator import EstimatorOptions, confidence
from wavetank.autoscaling.vpa.recommend import policy_of, read_amounts, recommend, vpa_status
from wavetank.autoscaling.vpa.update import UpdateOptions, evictable, update_mode, wants_update
from wavetank.autoscaling.vpa.usage import ContainerUsage, Usage, UsageOptions
from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.kube.api import Api
from wavetank.kube.client import ApiError, Client, Object, Resource
from wavetank.kube.events import EventRecorder
from wavetank.kube.informer import Informer
from wavetank.kube.kubelet.background import background
from wavetank.kube.resources import PODS
from wavetank.kube.selectors import from_object
from wavetank.kube.times import parse_time

__all__ = ["VPAS", "VPA_CHECKPOINTS", "VpaAdmission", "VpaController", "VpaOptions"]

VPAS: Final = Resource(
    "autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "verticalpodautoscalers", True,
    "verticalpodautoscaler", ("vpa",), (), ("status",),
)  # fmt: skip
VPA_CHECKPOINTS: Final = Resource(
    "autoscaling.k8s.io", "v1", "VerticalPodAutoscalerCheckpoint", "verticalpodautoscalercheckpoints", True,
    "verticalpodautoscalercheckpoint", ("vpacheckpoint",), (), ("status",),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VpaOptions:
    """``recommender_interval`` and ``updater_interval`` in seconds; the rest by part."""

    recommender_interval: float = 60.0
    updater_interval: float = 60.0
    usage: UsageOptions = field(default_factory=UsageOptions)
    estimator: EstimatorOptions = field(default_factory=EstimatorOptions)
    update: UpdateOptions = field(default_factory=UpdateOptions)


class VpaController:
    """``start`` follows all VPAs. ``recommend_once`` and ``update_once`` are the loops' bodies."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        options: VpaOptions = VpaOptions(),
    ) -> None:
        self._client = client
        self._clock = clock
        self._options = options
        self._vpas = Informer(client, VPAS, clock=clock)
        self._recorder = EventRecorder(client, clock, "vpa-updater")
        self._usages: dict[tuple[str, str], Usage] = {}
        self._running: dict[tuple[str, str, str], ContainerUsage] = {}
        self._ooms: set[tuple[str, str, float]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._vpas.start()
        await self._load_checkpoints()
        options = self._options
        self._tasks = [
            background(self._every(options.recommender_interval, self.recommend_once), "vpa recommender"),
            background(self._every(options.updater_interval, self.update_once), "vpa updater"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._vpas.stop()
        await self._recorder.flush()

    async def _every(self, seconds: float, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await body()
            await self._clock.sleep(seconds)

    # The recommender

    async def recommend_once(self) -> None:
        """Take samples for every VPA and write its recommendation."""
        for vpa in list(self._vpas.objects()):
            try:
                await self._recommend(vpa)
            except ApiError as error:
                if error.code not in (404, 409):
                    raise

    async def _recommend(self, vpa: Object) -> None:
        key, now = _key(vpa), self._clock.now()
        _, pods = await self._target(vpa)
        await self._sample(vpa, pods)
        usages = {
            container: usage
            for (owner, container), usage in self._usages.items()
            if owner == key and not usage.cpu.empty
        }
        found = recommend(vpa, usages, self._options.estimator)
        trusted = all(confidence(usage) >= 1 for usage in usages.values())
        status = vpa_status(now, vpa, found, pods_matched=bool(pods), trusted=trusted)
        if status != vpa.get("status"):
            await self._client.update(VPAS, {**vpa, "status": status}, subresource="status")
        for container, usage in usages.items():
            await self._save(vpa, container, usage)

    async def _sample(self, vpa: Object, pods: list[Object]) -> None:
        namespace = vpa["metadata"].get("namespace", "default")
        by_name = {pod["metadata"]["name"]: pod for pod in pods}
        for item in await self._pod_metrics(namespace):
            pod = by_name.get(item["metadata"]["name"])
            at = parse_time(item.get("timestamp"))
            if pod is None or at is None:
                continue
            for container in item.get("containers") or ():
                usage = self._of(vpa, pod, container["name"])
                amounts = read_amounts(container.get("usage"))
                if "cpu" in amounts:
                    usage.add_cpu(amounts["cpu"] / 1000, at)
                if "memory" in amounts:
                    usage.add_memory(amounts["memory"], at)
        for pod in pods:
            self._note_ooms(vpa, pod)

    def _note_ooms(self, vpa: Object, pod: Object) -> None:
        """Count each kill for want of memory once, at the request the container had."""
        requests = {c["name"]: (c.get("resources") or {}).get("requests") for c in pod["spec"]["containers"]}
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (status.get("lastState") or {}).get("terminated") or {}
            at = parse_time(ended.get("finishedAt"))
            if ended.get("reason") != "OOMKilled" or at is None:
                continue
            mark = (pod["metadata"]["uid"], status["name"], at)
            if mark not in self._ooms:
                self._ooms.add(mark)
                memory = read_amounts(requests.get(status["name"])).get("memory", 0)
                self._of(vpa, pod, status["name"]).record_oom(memory, at)

    def _of(self, vpa: Object, pod: Object, container: str) -> ContainerUsage:
        key, uid = _key(vpa), pod["metadata"]["uid"]
        usage = self._usages.setdefault((key, container), Usage(self._options.usage))
        return self._running.setdefault((key, uid, container), ContainerUsage(usage))

    async def _pod_metrics(self, namespace: str) -> list[Object]:
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{quote(namespace)}/pods?{urlencode({'limit': 500})}"
        try:
            items = msgspec.json.decode(await self._client.get_raw(path)).get("items")
        except (ApiError, msgspec.DecodeError, AttributeError):
            return []  # no metrics now: the next loop tries again
        return [item for item in items or () if isinstance(item, dict)]

    async def _target(self, vpa: Object) -> tuple[int, list[Object]]:
        """The target's replica count and pods; nothing where the target is not there."""
        namespace = vpa["metadata"].get("namespace", "default")
        reference = vpa["spec"].get("targetRef") or {}
        try:
            resource = scale_resource(dict(reference))
            scale = await self._client.get_subresource(
                resource, str(reference.get("name", "")), "scale", namespace
            )
        except (LookupError, ApiError):
            return 0, []
        selector = str((scale.get("status") or {}).get("selector") or "")
        pods = (await self._client.list(PODS, namespace, label_selector=selector)).items if selector else []
        return int((scale.get("spec") or {}).get("replicas") or 0), pods

    async def _save(self, vpa: Object, container: str, usage: Usage) -> None:
        key = _key(vpa)
        running = [u for (owner, _, name), u in self._running.items() if (owner, name) == (key, container)]
        body = to_checkpoint(self._clock.now(), vpa, container, usage, running)
        meta = body["metadata"]
        try:
            patch = {"spec": body["spec"], "status": body["status"]}
            await self._client.patch(
                VPA_CHECKPOINTS, meta["name"], patch, meta["namespace"], subresource="status"
            )
        except ApiError as error:
            if error.code != 404:
                raise
            await self._client.create(VPA_CHECKPOINTS, body, meta["namespace"])
            await self._client.patch(
                VPA_CHECKPOINTS,
                meta["name"],
                {"status": body["status"]},
                meta["namespace"],
                subresource="status",
            )

    async def _load_checkpoints(self) -> None:
        for checkpoint in (await self._client.list(VPA_CHECKPOINTS)).items:
            spec = checkpoint.get("spec") or {}
            namespace = checkpoint["metadata"].get("namespace", "default")
            try:
                usage = from_checkpoint(checkpoint, self._options.usage)
            except InputError:
                continue  # as upstream: a checkpoint that does not load is as good as none
            self._usages[(f"{namespace}/{spec.get('vpaObjectName')}", str(spec.get("containerName")))] = usage

    # The updater

    async def update_once(self) -> None:
        """Change the pods that are furthest from their recommendation, as many as may be missed."""
        for vpa in list(self._vpas.objects()):
            mode = update_mode(vpa)
            if mode not in ("Recreate", "InPlaceOrRecreate", "InPlace"):
                continue
            configured, pods = await self._target(vpa)
            ranked = sorted(
                (
                    (found.rank, pod)
                    for pod in pods
                    if (found := wants_update(self._clock.now(), pod, vpa, self._options.update)) is not None
                ),
                key=lambda entry: entry[0],
                reverse=True,
            )
            minimum = (vpa["spec"].get("updatePolicy") or {}).get("minReplicas")
            allowed = evictable(pods, configured, self._options.update, minimum)
            for _, pod in ranked[:allowed]:
                resized = mode != "Recreate" and await self._resize(vpa, pod)
                if not resized and mode != "InPlace":
                    await self._evict(pod)

    async def _evict(self, pod: Object) -> None:
        meta = pod["metadata"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        }
        try:
            await self._client.create_subresource(PODS, meta["name"], "eviction", body, meta["namespace"])
        except ApiError as error:
            self._recorder.event(_typed(pod), "Warning", "FailedEviction", error.message)
            return
        text = "Pod was evicted by VPA Updater to apply resource recommendation."
        self._recorder.event(_typed(pod), "Normal", "EvictedByVPA", text)

    async def _resize(self, vpa: Object, pod: Object) -> bool:
        """Change the running pod's resources; whether the API took it."""
        status = vpa.get("status") or {}
        found = {
            r["containerName"]: r.get("target") or {}
            for r in (status.get("recommendation") or {}).get("containerRecommendations") or ()
        }
        containers = [
            {
                "name": c["name"],
                "resources": new_resources(c.get("resources") or {}, target, policy_of(vpa, c["name"])),
            }
            for c in pod["spec"]["containers"]
            if (target := found.get(c["name"]))
        ]
        meta = pod["metadata"]
        try:
            await self._client.patch(
                PODS,
                meta["name"],
                {"spec": {"containers": containers}},
                meta["namespace"],
                subresource="resize",
                content_type="application/strategic-merge-patch+json",
            )
        except ApiError:
            return False
        text = "Pod was resized in place by VPA Updater."
        self._recorder.event(_typed(pod), "Normal", "InPlaceResizedByVPA", text)
        return True


class VpaAdmission:
    """An admission of the API server: pods of a VPA's target get the recommended resources when made."""

    def __call__(self, api: Api, resource: Resource, new: Object, old: Object | None) -> None:
        if resource.plural != "pods" or resource.group or old is not None:
            return
        vpa = self._matching(api, new)
        if vpa is not None:
            new.update(admit(new, vpa))

    def _matching(self, api: Api, pod: Object) -> Object | None:
        namespace, labels = pod["metadata"].get("namespace"), pod["metadata"].get("labels")
        for vpa in api.list(api.select(VPAS, namespace)).items:
            reference = vpa["spec"].get("targetRef") or {}
            if update_mode(vpa) == "Off":
                continue
            try:
                target = api.stored(
                    scale_resource(dict(reference)), namespace, str(reference.get("name", ""))
                )
            except (LookupError, ApiError):
                continue
            if from_object((target.get("spec") or {}).get("selector")).matches(labels):
                return vpa
        return None


def _key(vpa: Object) -> str:
    return f"{vpa['metadata'].get('namespace', 'default')}/{vpa['metadata']['name']}"


def _typed(pod: Object) -> Object:
    return {**pod, "apiVersion": "v1", "kind": "Pod"}
