"""``/api/wavetank`` for a tank: the run so far, the cluster, its traffic, its load. Read by signed-in
browsers only; what changes something also needs the page's own origin (``web.session``)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wavetank.autoscaling.hpa.decisions_api import HPA_DECISIONS
from wavetank.autoscaling.vpa.kinds import VPAS
from wavetank.errors import InputError
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.resources import (
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    EVENTS,
    HORIZONTALPODAUTOSCALERS,
    NODES,
    PODS,
    SERVICES,
    STATEFULSETS,
)
from wavetank.mesh.resources import ALL_RESOURCES, HTTP_ROUTES, VIRTUAL_SERVICES
from wavetank.monitoring.api.answer import ApiFailure, answer, bad_data, endpoint, not_found, raw_answer
from wavetank.monitoring.api.params import read_body, read_params
from wavetank.web.cluster import cluster_view
from wavetank.web.session import Sessions
from wavetank.web.tank import LoadWish, Tank
from wavetank.web.traffic import Shift, explained, routes_view, weights_patch

__all__ = ["routes"]

T = TypeVar("T")
POD_METRICS: Final = Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", True, "pod")
_KINDS: Final = {
    "nodes": (NODES,),
    "pods": (PODS,),
    "workloads": (DEPLOYMENTS, STATEFULSETS, DAEMONSETS),
    "hpas": (HORIZONTALPODAUTOSCALERS,),
    "vpas": (VPAS,),
    "events": (EVENTS,),
    "pod_metrics": (POD_METRICS,),
    "hpa_decisions": (HPA_DECISIONS,),
}
_WINDOW_SECONDS_MAX: Final = 6 * 3600.0
#: Kinds whose content is secret, whatever the reader's rights.
_NEVER: Final = ("secrets", "token")


def routes(tank: Tank, sessions: Sessions) -> list[BaseRoute]:
    """The endpoints, below ``/api/wavetank``."""

    def reading(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            sessions.require(request)
            return await _as_api(handle(request))

        return endpoint(guarded)

    def acting(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            sessions.require_action(request)
            return await _as_api(handle(request))

        return endpoint(guarded)

    async def rehearsal(request: Request) -> Response:
        params = await read_params(request)
        window = params.duration_ms("window", 600_000) / 1000
        return raw_answer(await tank.report(min(max(window, 30.0), _WINDOW_SECONDS_MAX)))

    async def cluster(request: Request) -> Response:
        found = dict(
            zip(_KINDS, await asyncio.gather(*(_all(tank, k) for k in _KINDS.values())), strict=True)
        )
        return answer(cluster_view(found, tank.records()))

    async def traffic(request: Request) -> Response:
        virtual, http = await asyncio.gather(tank.objects(VIRTUAL_SERVICES), tank.objects(HTTP_ROUTES))
        return answer({"routes": routes_view(virtual, http)})

    async def explaining(request: Request) -> Response:
        params = await read_params(request)
        headers = dict(text.split(":", 1) for text in params.all("header") if ":" in text)
        kinds = (SERVICES, ENDPOINTSLICES, PODS, *ALL_RESOURCES)
        objects = await _all(tank, kinds)
        stripped = {name.strip(): value.strip() for name, value in headers.items()}
        return answer(explained(objects, params.text("url"), params.text("method", "GET"), stripped))

    async def kube(request: Request) -> Response:
        path = request.path_params["path"]
        if any(part in _NEVER for part in path.split("/")) or ".." in path:
            raise ApiFailure("forbidden", "not shown here: use kubectl")
        query = f"?{request.url.query}" if request.url.query else ""
        return Response(await tank.read(f"/{path}{query}"), media_type="text/plain; charset=utf-8")

    async def weights(request: Request) -> Response:
        shift = await _body(request, Shift)
        resource = {"VirtualService": VIRTUAL_SERVICES, "HTTPRoute": HTTP_ROUTES}.get(shift.kind)
        found = [o for o in await tank.objects(resource) if _named(o, shift)] if resource else []
        if not found or resource is None:
            raise not_found(f"no {shift.kind} {shift.namespace}/{shift.name}")
        await tank.patch(resource, shift.namespace, shift.name, weights_patch(found[0], shift))
        return answer({})

    async def load(request: Request) -> Response:
        return answer(tank.load.state() if tank.load is not None else {"state": "absent"})

    async def start(request: Request) -> Response:
        await _load(tank).start(await _body(request, LoadWish))
        return answer({})

    async def change(request: Request) -> Response:
        await _load(tank).change(await _body(request, LoadWish))
        return answer({})

    async def stop(request: Request) -> Response:
        await _load(tank).stop()
        return answer({})

    return [
        Route("/rehearsal", reading(rehearsal)),
        Route("/cluster", reading(cluster)),
        Route("/traffic", reading(traffic)),
        Route("/explain", reading(explaining)),
        Route("/kube/{path:path}", reading(kube)),
        Route("/load", reading(load)),
        Route("/load/start", acting(start), methods=["POST"]),
        Route("/load/change", acting(change), methods=["POST"]),
        Route("/load/stop", acting(stop), methods=["POST"]),
        Route("/weights", acting(weights), methods=["POST"]),
    ]


async def _as_api(work: Awaitable[T]) -> T:
    """Failures of the cluster and refused input in the form of the Prometheus API."""
    try:
        return await work
    except ApiError as error:
        raise ApiFailure("not_found" if error.code == 404 else "unavailable", error.message) from None
    except InputError as error:
        raise bad_data(str(error)) from None


async def _all(tank: Tank, kinds: Sequence[Resource]) -> list[Object]:
    return [o for found in await asyncio.gather(*(tank.objects(kind) for kind in kinds)) for o in found]


async def _body(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await read_body(request), type=kind)
    except msgspec.DecodeError as error:
        raise bad_data(str(error)) from None


def _named(obj: Object, shift: Shift) -> bool:
    metadata = obj["metadata"]
    return bool(
        metadata["name"] == shift.name and (metadata.get("namespace") or "default") == shift.namespace
    )


def _load(tank: Tank) -> Any:
    if tank.load is None:
        raise ApiFailure("unavailable", "this load is not the console's to change")
    return tank.load
