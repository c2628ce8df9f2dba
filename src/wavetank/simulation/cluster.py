"""A cluster in virtual time: the parts of a tank's control plane, with modelled pods on its nodes.

The same composition as the control plane process of a rehearsal, without sockets: API server and clients in
process, kubelets with ``SimulatedRuntime``, metrics server, HPA, VPA. ``Proxy`` stands where Envoy stands:
it learns of endpoints ``propagation`` seconds after they changed and notes it in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from wavetank.autoscaling.adapter.custom import CustomMetricsApi
from wavetank.autoscaling.adapter.external import ExternalMetricsApi
from wavetank.autoscaling.adapter.naming import Mapper
from wavetank.autoscaling.adapter.rules import AdapterConfig, default_config
from wavetank.autoscaling.adapter.series import SeriesRegistry
from wavetank.autoscaling.hpa.admission import HpaAdmission
from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.hpa.options import HpaOptions
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.autoscaling.nodes.controller import NodeAutoscaler
from wavetank.autoscaling.nodes.elastic import ElasticNodes
from wavetank.autoscaling.nodes.model import NodesOptions
from wavetank.autoscaling.prometheus import Prometheus
from wavetank.autoscaling.vpa.admission import VpaAdmission
from wavetank.autoscaling.vpa.controller import VpaController
from wavetank.clock import VirtualClock
from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Object, Resource, WatchType
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.informer import Informer
from wavetank.kube.kubelet.images import ModelledPuller
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.server import LocalKubelets
from wavetank.kube.metrics_server.direct import DirectScraper
from wavetank.kube.metrics_server.server import MetricsServer, MetricsServerOptions
from wavetank.kube.resources import ENDPOINTSLICES
from wavetank.mesh.registration import register_mesh
from wavetank.simulation.flows import Endpoints, PodTraffic
from wavetank.simulation.model import Models, PodModel
from wavetank.simulation.runtime import SimulatedPuller, SimulatedRuntime

__all__ = ["ClusterOptions", "NodeBudget", "Proxy", "VirtualCluster"]

#: Half of what the node controller tolerates; node status is not rewritten, as nothing in it changes.
_LEASE_SECONDS = 20.0
_NEVER = 1e9


@dataclass(frozen=True, slots=True)
class NodeBudget:
    name: str
    cpu: str = "4"
    memory: str = "8Gi"
    pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The cluster's flags (seconds), and the declared model of image pulls. With an ``autoscaler`` nodes like
    ``template`` come and go."""

    nodes: Sequence[NodeBudget]
    hpa: HpaOptions = field(default_factory=HpaOptions)
    adapter: AdapterConfig = field(default_factory=default_config)
    metric_resolution: float = 15.0
    housekeeping: float = 10.0
    image_sizes: Mapping[str, int] = field(default_factory=dict)
    image_bandwidth: float = 0.0
    image_decompress: float = 0.0
    image_rtt: float = 0.0
    autoscaler: NodesOptions | None = None
    template: NodeBudget = NodeBudget("template")


class _Part(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class VirtualCluster:
    """``start`` brings up an empty cluster; ``apply`` creates objects as a client would."""

    def __init__(
        self,
        clock: VirtualClock,
        journal: Journal,
        options: ClusterOptions,
        models: Models,
        directory: Path,
        prometheus: Prometheus,
    ) -> None:
        self._prometheus = prometheus
        self.clock = clock
        self.journal = journal
        self.options = options
        self.plane = ControlPlane(clock, journal, ControlPlaneOptions(manage_fields=False))
        self.kubelets: list[Kubelet] = []
        self.traffic: dict[str, PodTraffic] = {}
        self.hpa: HpaController | None = None
        self._models = models
        self._directory = directory
        self._provider = LocalKubelets()
        self.plane.attach_kubelet(self._provider)
        self.plane.api.admissions = (
            *self.plane.api.admissions, HpaAdmission(options.hpa), VpaAdmission(),
        )  # fmt: skip
        register_mesh(self.plane.registry)
        self._client = self.plane.client("kubectl")
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        clock, journal, options, plane = self.clock, self.journal, self.options, self.plane
        await self._enter(plane)
        for index, node in enumerate(options.nodes):
            kubelet = self._kubelet(node, index)
            self.kubelets.append(kubelet)
            self._provider.add(kubelet)
            await self._enter(kubelet)
        resolution = options.metric_resolution
        metrics = MetricsServer(
            plane.client("metrics-server"), DirectScraper(self._provider.get), clock, journal,
            MetricsServerOptions(resolution, min(10.0, 0.8 * resolution)),
        )  # fmt: skip
        plane.add_extension(metrics)
        await self._enter(metrics)
        self._serve_adapter()
        client = plane.client("horizontal-pod-autoscaler")
        self.hpa = HpaController(client, ApiMetricsClient(client), clock, journal, options.hpa)
        await self._enter(self.hpa)
        await self._enter(VpaController(plane.client("vpa"), clock, journal))
        if options.autoscaler is not None:
            await self._enter_node_autoscaler(options.autoscaler)

    async def _enter_node_autoscaler(self, options: NodesOptions) -> None:
        """The control loop of a rehearsal; a node is a kubelet more, ``boot_delay`` after its order."""
        client, template = self.plane.client("cluster-autoscaler"), self.options.template

        def make(name: str, labels: Mapping[str, str], index: int) -> tuple[Kubelet, None]:
            every = {**template.labels, **labels}
            return self._kubelet(replace(template, name=name, labels=every), index), None

        taken = len(self.options.nodes)
        places = range(taken, taken + options.maximum)
        nodes = ElasticNodes(client, make, places, self._provider, self.kubelets)
        await self._enter(nodes)
        await self._enter(NodeAutoscaler(client, nodes, self.clock, self.journal, options))

    def _serve_adapter(self) -> None:
        """The custom and external metrics APIs, asked of the simulation's own TSDB."""
        config, prometheus = self.options.adapter, self._prometheus
        client = self.plane.client("prometheus-adapter")
        mapper = Mapper(self.plane.registry.resources)
        registry = SeriesRegistry(
            prometheus, mapper, self.clock, self.journal, config.rules, config.external_rules
        )
        for version in ("v1beta2", "v1beta1"):
            self.plane.add_extension(CustomMetricsApi(registry, client, version))
        self.plane.add_extension(ExternalMetricsApi(registry))

    async def stop(self) -> None:
        await self._stack.aclose()

    async def _enter(self, part: _Part) -> None:
        self._stack.push_async_callback(part.stop)
        await part.start()

    async def follow(self, proxy: Proxy) -> None:
        await self._enter(proxy)

    async def apply(self, resource: Resource, obj: Object, namespace: str | None) -> None:
        """Create an object. Raises ApiError, but for a namespace that is there already."""
        try:
            await self._client.create(resource, obj, namespace)
        except ApiError as error:
            if error.reason != "AlreadyExists" or resource.kind != "Namespace":
                raise

    def _kubelet(self, node: NodeBudget, index: int) -> Kubelet:
        options = self.options
        config = NodeConfig(
            name=node.name,
            capacity={"cpu": node.cpu, "memory": node.memory, "pods": str(node.pods)},
            pod_cidr=f"10.{128 + index // 256}.{index % 256}.0/24",
            ip=f"10.64.{index // 250}.{index % 250 + 1}",
            labels=node.labels,
        )
        puller = ModelledPuller(
            self.clock, options.image_sizes, options.image_bandwidth, options.image_decompress,
            options.image_rtt,
        )  # fmt: skip
        flags = KubeletOptions(
            run_directory=self._directory / "pods" / node.name,
            working_directory=self._directory,
            housekeeping_interval=options.housekeeping,
            lease_interval=_LEASE_SECONDS,
            status_interval=_NEVER,
            puller=SimulatedPuller(puller),
        )
        runtime = SimulatedRuntime(self.clock, self.find)
        client = self.plane.client(f"kubelet/{node.name}")
        return Kubelet(client, config, runtime, self.clock, self.journal, flags)

    def find(self, pod: str) -> tuple[PodModel, PodTraffic | None]:
        """The model and the traffic of a pod, by its workload: the longest workload name its name starts
        with."""
        name = pod.partition("/")[2]
        owners = [w for w in {*self._models.services, *self.traffic} if name.startswith(f"{w}-")]
        workload = max(owners, key=len, default="")
        return self._models.of(workload), self.traffic.get(workload)


class Proxy:
    """Keeps the endpoints of Services programmed: ``services`` maps "namespace/name" to their traffic."""

    def __init__(
        self,
        cluster: VirtualCluster,
        services: Mapping[str, Endpoints],
        propagation: float,
        told: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._cluster = cluster
        self._services = services
        self._delay = propagation
        self._slices = Informer(cluster.plane.client("istiod"), ENDPOINTSLICES, clock=cluster.clock)
        self._known: dict[str, dict[str, str]] = {}
        self._waiting: dict[str, str] = {}
        self._told = told

    async def start(self) -> None:
        self._slices.add_handler(self._changed)
        await self._slices.start()

    async def stop(self) -> None:
        await self._slices.stop()

    def _changed(self, kind: WatchType, before: Object | None, obj: Object) -> None:
        name = (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
        service = f"{obj['metadata'].get('namespace', 'default')}/{name}"
        if service in self._services:
            clock = self._cluster.clock
            clock.call_at(clock.now() + self._delay, lambda: self._program(service))

    def _endpoints(self, service: str) -> dict[str, str]:
        """uid -> namespace/name of the ready pods, in the order of the slices."""
        namespace, _, name = service.partition("/")
        found: dict[str, str] = {}
        for (where, _), obj in sorted(self._slices.cache.items()):
            labels = obj["metadata"].get("labels") or {}
            if where != namespace or labels.get("kubernetes.io/service-name") != name:
                continue
            for endpoint in obj.get("endpoints") or ():
                target = endpoint.get("targetRef") or {}
                if (endpoint.get("conditions") or {}).get("ready") and target.get("uid"):
                    found[target["uid"]] = f"{target.get('namespace', namespace)}/{target['name']}"
        return found

    def _program(self, service: str) -> None:
        traffic = self._services[service]
        before, now = self._known.get(service, {}), self._endpoints(service)
        if before == now:
            return
        self._known[service] = now
        self._note_first()
        traffic.set_ready(list(now))
        record = self._cluster.journal.record
        for action, pods in (("added", now.keys() - before.keys()), ("removed", before.keys() - now.keys())):
            for uid in sorted(pods):
                pod = now.get(uid) or before[uid]
                record("endpoint.programmed", pod=pod, uid=uid, service=service, action=action)
                if action == "added":
                    self._waiting[uid] = f"{service} {pod}"
                    self._told(uid)

    def note(self) -> None:
        """Note which pods have had their first request since the last look."""
        for traffic in self._services.values():
            traffic.advance()
        self._note_first()

    def _note_first(self) -> None:
        for uid, named in list(self._waiting.items()):
            service, _, pod = named.partition(" ")
            at = self._services[service].first_request(uid)
            if at is not None:
                del self._waiting[uid]
                self._cluster.journal.record(
                    "endpoint.first_request", at=at, pod=pod, uid=uid, service=service
                )
