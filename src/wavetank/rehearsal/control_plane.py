"""The control plane process of a tank: all that a cluster's control plane and nodes do, in one event loop.

API server, controllers, scheduler, kubelets, metrics server, HPA and the mesh, wired together; each is a
room of its own and knows the others only through the API. Run as
``python -m wavetank.rehearsal.control_plane SETTINGS``: writes its facts when it is ready, ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import msgspec

from wavetank.autoscaling.adapter.custom import CustomMetricsApi
from wavetank.autoscaling.adapter.external import ExternalMetricsApi
from wavetank.autoscaling.adapter.naming import Mapper
from wavetank.autoscaling.adapter.resource import ResourceMetricsApi
from wavetank.autoscaling.adapter.rules import default_config, load_config
from wavetank.autoscaling.adapter.series import SeriesRegistry
from wavetank.autoscaling.advice import advise
from wavetank.autoscaling.hpa.admission import HpaAdmission
from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.hpa.decisions_api import HpaDecisionsApi
from wavetank.autoscaling.hpa.options import HpaOptions, parse_release
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.autoscaling.nodes.controller import NodeAutoscaler
from wavetank.autoscaling.nodes.elastic import ElasticNodes
from wavetank.autoscaling.vpa.admission import VpaAdmission
from wavetank.autoscaling.vpa.controller import VpaController, VpaOptions
from wavetank.autoscaling.vpa.history import HistoryOptions
from wavetank.clock import Clock, RealClock
from wavetank.errors import WavetankError
from wavetank.journal import FileJournal, Journal
from wavetank.kube.apiserver.serve import Listener
from wavetank.kube.client import Object
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.kubelet.images import ModelledPuller
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.process_runtime import ProcessRuntime
from wavetank.kube.kubelet.server import KubeletServer, LocalKubelets
from wavetank.kube.metrics_server.scrapers import LocalScraper
from wavetank.kube.metrics_server.server import MetricsServer, MetricsServerOptions
from wavetank.load.stages import parse_duration
from wavetank.mesh.controller import MeshController, MeshOptions
from wavetank.mesh.registration import register_mesh
from wavetank.mesh.translate import Placement
from wavetank.model import duration
from wavetank.process import TANK_VARIABLE
from wavetank.rehearsal.addresses import API_PORT, METRICS_PORT
from wavetank.rehearsal.control_plane_metrics import metrics_app
from wavetank.rehearsal.elastic_nodes import nodes_options
from wavetank.rehearsal.image_model import ImageModel, image_model
from wavetank.rehearsal.metrics_client import PrometheusQuery
from wavetank.rehearsal.scrape import MONITORING_PORT
from wavetank.rehearsal.settings import ControlPlaneFacts, ControlPlaneSettings, read_settings
from wavetank.rehearsal.spec import Node, NodeAutoscaling

__all__ = ["CompositeControlPlane"]

#: After Envoy acknowledged that a pod is gone, requests that were already on their way may still come.
DRAIN_SECONDS = 0.1
GATEWAY_PORTS = range(1, 1024)
DEFAULT_RELEASE = "1.33"


class _Part(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class CompositeControlPlane:
    """``start`` brings the parts up in the order of their needs; ``stop`` ends them in reverse."""

    def __init__(self, settings: ControlPlaneSettings, clock: Clock, journal: Journal) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._stack = AsyncExitStack()
        self._images = image_model(settings.image_pull)
        self._kubelets = LocalKubelets()
        self._adapter = load_config(Path(settings.adapter)) if settings.adapter else default_config()
        addresses = settings.addresses
        self.plane = ControlPlane(
            clock,
            journal,
            ControlPlaneOptions(
                state=settings.files.state,
                host=addresses.api_server,
                port=API_PORT,
                kubeconfig=settings.files.kubeconfig,
                service_cidr=addresses.service_cidr,
                certificate_addresses=settings.certificate_addresses[1:],
                version=_version(settings.kubernetes),
            ),
        )
        self.plane.attach_kubelet(self._kubelets)
        own = (HpaAdmission(self._hpa_options()), VpaAdmission())
        self.plane.api.admissions = (*self.plane.api.admissions, *own)
        self.plane.api.advisors = (*self.plane.api.advisors, advise)
        register_mesh(self.plane.registry)

    async def start(self) -> ControlPlaneFacts:
        settings, plane = self._settings, self.plane
        await self._enter(plane)
        self._write_account()
        mesh = self._mesh()
        await self._enter(mesh)
        kubelets = [self._kubelet(node, i, mesh) for i, node in enumerate(settings.nodes)]
        for kubelet in kubelets:
            self._kubelets.add(kubelet)
            await self._enter(kubelet)
            await self._enter(self._kubelet_server(kubelet))
        metrics = self._metrics_server()
        if not self._adapter.resource_rules:
            plane.add_extension(metrics)
        self._serve_adapter()
        await self._enter(metrics)
        hpa = self._hpa()
        await self._enter(hpa)
        plane.add_extension(HpaDecisionsApi(hpa))
        await self._enter(self._vpa())
        if settings.autoscaler is not None:
            await self._enter_autoscaler(settings.autoscaler, kubelets, mesh)
        host = settings.addresses.api_server
        listener = Listener(
            metrics_app(plane, kubelets, metrics, hpa, mesh, self._clock), host, METRICS_PORT, None
        )
        await self._enter(listener)
        return ControlPlaneFacts(
            pid=os.getpid(),
            api_url=plane.url,
            enforcer=kubelets[0].enforcer if kubelets else "none: there is no node",
            runtime="process",
            modelled=[("image pull", self._images.shown), *_node_notes(settings)],
        )

    async def stop(self) -> None:
        await self._stack.aclose()

    async def _enter(self, part: _Part) -> None:
        self._stack.push_async_callback(part.stop)
        await part.start()

    # --- the parts

    def _write_account(self) -> None:
        """The service account's files, where the monitoring and pods look for them."""
        account = self._settings.files.account
        account.mkdir(mode=0o700, exist_ok=True)
        credentials = self.plane.credentials
        assert credentials is not None
        (account / "ca.crt").write_bytes(credentials.ca)
        (account / "namespace").write_text("default")
        token = account / "token"
        token.touch(mode=0o600)
        token.write_text(credentials.tokens.reader)

    def _mesh(self) -> MeshController:
        addresses = self._settings.addresses
        ports = {port: (addresses.gateway, addresses.gateway_port(port)) for port in GATEWAY_PORTS}
        placement = Placement(port_map=ports, gateway_address=addresses.gateway, service_listeners=True)
        options = MeshOptions(self._settings.files.envoy, placement, env={TANK_VARIABLE: self._settings.tank})
        return MeshController(self.plane.client("istiod"), self._clock, self._journal, options)

    def _kubelet(self, node: Node, index: int, mesh: MeshController) -> Kubelet:
        settings = self._settings
        addresses = settings.addresses
        config = NodeConfig(
            name=node.name,
            capacity={"cpu": str(node.cpu), "memory": str(node.memory), "pods": str(node.pods)},
            pod_cidr=_pod_block(addresses.pod_cidr, index),
            ip=addresses.node(index),
            labels=node.labels,
        )

        async def leave_the_mesh(pod: Object) -> None:
            await mesh.left(pod)
            await self._clock.sleep(DRAIN_SECONDS)

        options = KubeletOptions(
            run_directory=settings.files.pods / node.name,
            working_directory=Path(settings.working_directory) if settings.working_directory else None,
            housekeeping_interval=settings.housekeeping_seconds,
            puller=_puller(self._images, self._clock),
            before_stop=leave_the_mesh,
        )
        runtime = ProcessRuntime(settings.tank, self._clock)
        client = self.plane.client(f"kubelet/{node.name}")
        return Kubelet(client, config, runtime, self._clock, self._journal, options)

    async def _enter_autoscaler(
        self, given: NodeAutoscaling, kubelets: list[Kubelet], mesh: MeshController
    ) -> None:
        template = given.template

        def make(name: str, labels: Mapping[str, str], index: int) -> tuple[Kubelet, KubeletServer]:
            every = {**template.labels, **labels}
            node = Node(name, template.cpu, template.memory, template.pods, every)
            kubelet = self._kubelet(node, index, mesh)
            return kubelet, self._kubelet_server(kubelet)

        client = self.plane.client("cluster-autoscaler")
        taken = len(self._settings.nodes)
        places = range(taken, taken + given.max)
        nodes = ElasticNodes(client, make, places, self._kubelets, kubelets)
        await self._enter(nodes)
        await self._enter(NodeAutoscaler(client, nodes, self._clock, self._journal, nodes_options(given)))

    def _kubelet_server(self, kubelet: Kubelet) -> KubeletServer:
        credentials = self.plane.credentials
        assert credentials is not None
        return KubeletServer(
            kubelet, token=credentials.tokens.reader, certificate=credentials.certificate, key=credentials.key
        )

    def _metrics_server(self) -> MetricsServer:
        resolution = self._settings.metric_resolution_seconds
        options = MetricsServerOptions(resolution, kubelet_timeout=min(10.0, 0.8 * resolution))
        scraper = LocalScraper(self._kubelets)
        return MetricsServer(
            self.plane.client("metrics-server"), scraper, self._clock, self._journal, options
        )

    def _serve_adapter(self) -> None:
        """The custom and external metrics APIs, asked of the tank's monitoring."""
        own = f"http://{self._settings.addresses.monitoring}:{MONITORING_PORT}"
        prometheus = PrometheusQuery(self._settings.adapter_url or own)
        self._stack.push_async_callback(prometheus.close)
        client, clock, config = self.plane.client("prometheus-adapter"), self._clock, self._adapter
        mapper = Mapper(self.plane.registry.resources)
        registry = SeriesRegistry(
            prometheus, mapper, clock, self._journal, config.rules, config.external_rules
        )
        for version in ("v1beta2", "v1beta1"):
            self.plane.add_extension(CustomMetricsApi(registry, client, version))
        self.plane.add_extension(ExternalMetricsApi(registry))
        if config.resource_rules:
            self.plane.add_extension(ResourceMetricsApi(config, prometheus, mapper, client, clock))

    def _hpa(self) -> HpaController:
        client = self.plane.client("horizontal-pod-autoscaler")
        metrics = ApiMetricsClient(client)
        return HpaController(client, metrics, self._clock, self._journal, self._hpa_options())

    def _hpa_options(self) -> HpaOptions:
        """As the release has them that is emulated."""
        settings = self._settings
        options = HpaOptions(sync_period=settings.hpa_sync_seconds)
        if settings.kubernetes is None and not settings.feature_gates:
            return options
        return options.emulate(parse_release(settings.kubernetes or DEFAULT_RELEASE), settings.feature_gates)

    def _vpa(self) -> VpaController:
        given = self._settings.vpa
        interval = parse_duration(given.interval)
        options = VpaOptions(
            recommender_interval=interval,
            updater_interval=interval,
            history=HistoryOptions(
                duration.parse_duration(given.history_length) / 1000,
                duration.parse_duration(given.history_resolution) / 1000,
            ),
        )
        history: PrometheusQuery | None = None
        if given.prometheus is not None:
            history = PrometheusQuery(given.prometheus)
            self._stack.push_async_callback(history.close)
        client = self.plane.client("vpa")
        return VpaController(client, self._clock, self._journal, options, prometheus=history)


def _version(release: str | None) -> str:
    """What the API server says it is: clients go by it."""
    default = ControlPlaneOptions().version
    return default if release is None else f"v1.{parse_release(release)}.0"


def _pod_block(cidr: str, index: int) -> str:
    """A /24 of the tank's pod range for each node."""
    network = ipaddress.ip_network(cidr)
    blocks = list(network.subnets(new_prefix=24))
    return str(blocks[index % len(blocks)])


def _puller(model: ImageModel, clock: Clock) -> ModelledPuller:
    return ModelledPuller(
        clock, sizes=model.sizes or {}, bandwidth=model.bandwidth, decompress=model.decompress, rtt=model.rtt
    )


def _node_notes(settings: ControlPlaneSettings) -> list[tuple[str, str]]:
    names = ", ".join(f"{n.name} ({n.cpu} CPU, {n.memory})" for n in settings.nodes)
    return [("nodes", f"budgets for the scheduler, all on this machine: {names}")]


async def _run(settings: ControlPlaneSettings, clock: Clock) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    journal = FileJournal(settings.files.journal("control-plane"), clock)
    plane = CompositeControlPlane(settings, clock, journal)
    try:
        facts = await plane.start()
        new = settings.files.facts.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(facts))
        new.replace(settings.files.facts)
        await stop.wait()
    finally:
        await plane.stop()
        journal.close()


def main(path: str) -> int:
    settings = read_settings(Path(path))
    try:
        asyncio.run(_run(settings, RealClock(settings.seed)))
    except WavetankError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
