"""The recommender: samples of usage in, ``status.recommendation`` and checkpoints out.

Mirrors ``pkg/recommender``. One pass a minute: read metrics.k8s.io, feed the histograms, write the status of
every VPA, then its checkpoints; checkpoints of VPAs that are gone are removed every ten minutes. With a
Prometheus server the history comes from there instead of from checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec

from wavetank.autoscaling.prometheus import Prometheus
from wavetank.autoscaling.vpa.checkpoint import from_checkpoint, to_checkpoint
from wavetank.autoscaling.vpa.estimator import EstimatorOptions, confidence
from wavetank.autoscaling.vpa.history import HistoryOptions, load_history, replay
from wavetank.autoscaling.vpa.kinds import VPA_CHECKPOINTS, VPAS, vpa_key
from wavetank.autoscaling.vpa.recommend import read_amounts, recommend, vpa_status
from wavetank.autoscaling.vpa.target import find_target
from wavetank.autoscaling.vpa.usage import ContainerUsage, Usage, UsageOptions
from wavetank.clock import Clock
from wavetank.errors import InputError, WavetankError
from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.metrics_server.index import LabelIndex
from wavetank.kube.times import parse_time

__all__ = ["Recommender", "RecommenderOptions"]

CHECKPOINT_GC_SECONDS = 600.0
_GONE = (404, 409)  # deleted, or changed meanwhile: the next pass sees it


@dataclass(frozen=True, slots=True)
class RecommenderOptions:
    usage: UsageOptions = field(default_factory=UsageOptions)
    estimator: EstimatorOptions = field(default_factory=EstimatorOptions)
    history: HistoryOptions = field(default_factory=HistoryOptions)


class Recommender:
    """``once`` is one pass over the VPAs given; ``load_checkpoints`` comes first."""

    def __init__(
        self,
        client: Client,
        pods: LabelIndex,
        clock: Clock,
        journal: Journal,
        options: RecommenderOptions,
        prometheus: Prometheus | None = None,
    ) -> None:
        self._client = client
        self._pods = pods
        self._clock = clock
        self._journal = journal
        self._options = options
        self._prometheus = prometheus
        self._usages: dict[tuple[str, str], Usage] = {}
        self._running: dict[tuple[str, str, str], ContainerUsage] = {}
        self._ooms: set[tuple[str, str, float]] = set()
        self._with_history: set[str] = set()
        self._measured: dict[str, Mapping[str, Object]] = {}
        """Of the present pass: PodMetrics by namespace and pod."""
        self._collected_at = clock.monotonic()

    async def load_checkpoints(self) -> None:
        if self._prometheus is not None:
            return  # as upstream: one source of history or the other
        for checkpoint in (await self._client.list(VPA_CHECKPOINTS)).items:
            spec = checkpoint.get("spec") or {}
            namespace = checkpoint["metadata"].get("namespace", "default")
            try:
                usage = from_checkpoint(checkpoint, self._options.usage)
            except InputError:
                continue  # as upstream: a checkpoint that does not load is as good as none
            self._usages[(f"{namespace}/{spec.get('vpaObjectName')}", str(spec.get("containerName")))] = usage

    async def once(self, vpas: Sequence[Object]) -> None:
        """Take samples for every VPA and write its recommendation; none that fails stops the others."""
        known = {vpa_key(vpa) for vpa in vpas}
        self._forget(known)
        self._measured.clear()
        for vpa in vpas:
            try:
                await self._recommend(vpa)
            except (ApiError, KeyError, TypeError, AttributeError) as error:
                if not (isinstance(error, ApiError) and error.code in _GONE):
                    self._journal.record("vpa.failed", vpa=vpa_key(vpa), error=str(error))
            await self._clock.sleep(0)  # others in the event loop need not wait for the whole pass
        if self._clock.monotonic() - self._collected_at >= CHECKPOINT_GC_SECONDS:
            self._collected_at = self._clock.monotonic()
            await self._collect(known)

    def _forget(self, known: set[str]) -> None:
        """Drop what was measured for VPAs that are no more."""
        self._usages = {key: usage for key, usage in self._usages.items() if key[0] in known}
        self._running = {key: usage for key, usage in self._running.items() if key[0] in known}
        self._with_history &= known

    async def _recommend(self, vpa: Object) -> None:
        key, now = vpa_key(vpa), self._clock.now()
        target = await find_target(self._client, self._pods, vpa)
        pods = target.pods
        if self._prometheus is not None and key not in self._with_history and pods:
            await self._read_history(self._prometheus, vpa, pods)
        await self._sample(vpa, pods)
        usages = {
            container: usage
            for (owner, container), usage in self._usages.items()
            if owner == key and not usage.cpu.empty
        }
        found = recommend(vpa, usages, self._options.estimator)
        trusted = all(confidence(usage) >= 1 for usage in usages.values())
        status = vpa_status(now, vpa, found, pods_matched=bool(pods), trusted=trusted, problem=target.problem)
        if status != vpa.get("status"):
            await self._client.update(VPAS, {**vpa, "status": status}, subresource="status")
        self._note(key, found)
        for container, usage in usages.items():
            await self._save(vpa, container, usage)

    def _note(self, key: str, found: list[dict[str, object]]) -> None:
        targets = {str(each["containerName"]): each["target"] for each in found}
        self._journal.record("vpa.recommendation", vpa=key, targets=targets)

    async def _read_history(self, prometheus: Prometheus, vpa: Object, pods: Sequence[Object]) -> None:
        key, namespace = vpa_key(vpa), vpa["metadata"].get("namespace", "default")
        now = self._clock.now()
        try:
            found = await load_history(prometheus, namespace, pods, now, self._options.history)
        except WavetankError as error:
            self._journal.record("vpa.failed", vpa=key, error=f"history: {error}")
            return  # tried again at the next pass
        self._with_history.add(key)
        for container, rows in found.items():
            replay(self._usages.setdefault((key, container), Usage(self._options.usage)), rows)

    async def _sample(self, vpa: Object, pods: Sequence[Object]) -> None:
        namespace = vpa["metadata"].get("namespace", "default")
        measured = await self._pod_metrics(namespace) if pods else {}
        for pod in pods:
            item = measured.get(pod["metadata"]["name"])
            at = parse_time(item.get("timestamp")) if item is not None else None
            if item is None or at is None:
                continue
            for container in item.get("containers") or ():
                usage = self._of(vpa, pod, str(container.get("name")))
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
            for state in ("state", "lastState"):
                ended = (status.get(state) or {}).get("terminated") or {}
                at = parse_time(ended.get("finishedAt"))
                if ended.get("reason") != "OOMKilled" or at is None:
                    continue
                mark = (pod["metadata"]["uid"], status["name"], at)
                if mark not in self._ooms:
                    self._ooms.add(mark)
                    memory = read_amounts(requests.get(status["name"])).get("memory", 0)
                    self._of(vpa, pod, status["name"]).record_oom(memory, at)

    def _of(self, vpa: Object, pod: Object, container: str) -> ContainerUsage:
        key, uid = vpa_key(vpa), pod["metadata"]["uid"]
        usage = self._usages.setdefault((key, container), Usage(self._options.usage))
        return self._running.setdefault((key, uid, container), ContainerUsage(usage))

    async def _pod_metrics(self, namespace: str) -> Mapping[str, Object]:
        """By pod; asked for once a pass and namespace."""
        found = self._measured.get(namespace)
        if found is None:
            items = await self._list_metrics(namespace)
            found = {str((item.get("metadata") or {}).get("name")): item for item in items}
            self._measured[namespace] = found
        return found

    async def _list_metrics(self, namespace: str) -> list[Object]:
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{quote(namespace)}/pods"
        try:
            items = msgspec.json.decode(await self._client.get_raw(path)).get("items")
        except (ApiError, msgspec.DecodeError, AttributeError):
            return []  # no metrics now: the next loop tries again
        return [item for item in items or () if isinstance(item, dict)]

    # Checkpoints

    async def _save(self, vpa: Object, container: str, usage: Usage) -> None:
        key = vpa_key(vpa)
        running = [u for (owner, _, name), u in self._running.items() if (owner, name) == (key, container)]
        body = to_checkpoint(self._clock.now(), vpa, container, usage, running)
        meta = body["metadata"]
        name, namespace, status = meta["name"], meta["namespace"], {"status": body["status"]}
        try:
            await self._client.patch(VPA_CHECKPOINTS, name, status, namespace, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise
            await self._client.create(VPA_CHECKPOINTS, body, namespace)
            await self._client.patch(VPA_CHECKPOINTS, name, status, namespace, subresource="status")

    async def _collect(self, known: set[str]) -> None:
        """Remove checkpoints that belong to no VPA."""
        for checkpoint in (await self._client.list(VPA_CHECKPOINTS)).items:
            meta = checkpoint["metadata"]
            namespace = meta.get("namespace", "default")
            if f"{namespace}/{(checkpoint.get('spec') or {}).get('vpaObjectName')}" in known:
                continue
            try:
                await self._client.delete(VPA_CHECKPOINTS, meta["name"], namespace)
            except ApiError as error:
                if error.code not in _GONE:
                    raise
