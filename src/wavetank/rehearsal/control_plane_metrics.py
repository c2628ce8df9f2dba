"""The control plane's metrics over plain HTTP on the tank's own address, for the tank's own monitoring.

``/metrics`` holds what API server, kubelets, metrics server and HPA controller count, under the names that
their upstreams use; ``/gateway/metrics`` is Envoy's exposition with Istio's names, ``/kube-state/metrics``
the state of the API's objects under kube-state-metrics' names.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.vpa.kinds import VPAS
from wavetank.clock import Clock
from wavetank.exporters.kube_state import KINDS, families
from wavetank.exposition.render import render_text
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.kubelet.kubelet import Kubelet
from wavetank.kube.metrics_server.server import MetricsServer
from wavetank.kube.resources import BUILT_IN
from wavetank.mesh.admin import AdminError
from wavetank.mesh.births import CounterBirths
from wavetank.mesh.controller import MeshController
from wavetank.mesh.stats import envoy_metrics

__all__ = ["metrics_app"]

_STATE_KINDS = {resource.kind: resource for resource in (*BUILT_IN, VPAS) if resource.kind in KINDS}
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_app(
    plane: ControlPlane,
    kubelets: Sequence[Kubelet],
    metrics_server: MetricsServer,
    hpa: HpaController,
    mesh: MeshController,
    clock: Clock,
) -> Starlette:
    async def own(request: Request) -> Response:
        parts = [plane.server.metrics.exposition().encode()]
        for kubelet in kubelets:
            kubelet.count()
            parts.append(kubelet.metrics.own.text())
        parts += [metrics_server.metrics.text(), hpa.monitor.registry.text()]
        return Response(b"".join(parts), media_type=_CONTENT_TYPE)

    births = CounterBirths(int(clock.now() * 1000))

    async def gateway(request: Request) -> Response:
        try:
            text = await envoy_metrics(mesh.envoy.admin)
            return Response(births.annotate(text, int(clock.now() * 1000)), media_type=_CONTENT_TYPE)
        except AdminError as error:
            return PlainTextResponse(f"{error}\n", 503)

    async def kube_state(request: Request) -> Response:
        objects = {kind: plane.api.bucket(resource).objects() for kind, resource in _STATE_KINDS.items()}
        return Response(render_text(families(objects)), media_type=_CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/metrics", own),
            Route("/gateway/metrics", gateway),
            Route("/kube-state/metrics", kube_state),
        ]
    )
