"""HTTP routes: ours for the browser, and Grafana's for its clients.

Mirrors the part of Grafana's HTTP API that clients use to push, find and read dashboards: search, folders,
dashboards by uid, data sources, health, and ``/apis/dashboard.grafana.app``. There is one organisation and
one user; nothing is asked for a password, so the server that mounts these routes decides who may reach them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank import __version__
from wavetank.clock import Clock
from wavetank.dashboards.annotations import Marks
from wavetank.dashboards.api_grafana import Grafana
from wavetank.dashboards.load import read_json
from wavetank.dashboards.service import Service
from wavetank.dashboards.source import Source
from wavetank.dashboards.store import Store
from wavetank.errors import InputError, WavetankError
from wavetank.limits import DASHBOARD_BYTES_MAX

__all__ = ["json_answer", "routes"]

Work = Callable[[Request, bytes], Any]

_ENCODER: Final = msgspec.json.Encoder()
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".pdf": "application/pdf",
}


def routes(
    store: Store, source: Source, clock: Clock | None = None, marks: Marks | None = None
) -> list[Route]:
    """Routes with whole paths, to be mounted at the root before any catch-all."""
    service = Service(store, source, clock, marks)
    return [*_ours(service), *_grafana(Grafana(store, source, __version__))]


def json_answer(body: Any, status: int = 200) -> Response:
    return Response(_ENCODER.encode(body), status, media_type="application/json")


def _endpoint(work: Work) -> Callable[[Request], Awaitable[Response]]:
    """Runs blocking work in a thread; what the user got wrong is 400 or 404 with Grafana's ``message``."""

    async def answer(request: Request) -> Response:
        if _from_elsewhere(request):
            return json_answer({"message": "dashboards are not written from another site's page"}, 403)
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > DASHBOARD_BYTES_MAX:
            return json_answer({"message": f"body larger than {DASHBOARD_BYTES_MAX} bytes"}, 413)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > DASHBOARD_BYTES_MAX:
                return json_answer({"message": f"body larger than {DASHBOARD_BYTES_MAX} bytes"}, 413)
        try:
            found = await asyncio.to_thread(work, request, bytes(body))
        except WavetankError as error:
            missing = error.message.startswith("no ")
            return json_answer({"message": str(error)}, 404 if missing else 400)
        if isinstance(found, Response):
            return found
        return json_answer(found[1], found[0]) if isinstance(found, tuple) else json_answer(found)

    return answer


def _from_elsewhere(request: Request) -> bool:
    """Whether a browser sends something that changes dashboards on behalf of a page that is not ours."""
    origin = request.headers.get("origin")
    if request.method in ("GET", "HEAD") or origin is None:
        return False
    return urlsplit(origin).netloc != request.headers.get("host")


def _given(request: Request) -> tuple[str, str, dict[str, list[str]]]:
    """From, to and the variables of a dashboard's address."""
    params = request.query_params
    given: dict[str, list[str]] = {}
    for key, value in params.multi_items():
        if key.startswith("var-"):
            given.setdefault(key[4:], []).append(value)
    return params.get("from", ""), params.get("to", ""), given


def _ours(service: Service) -> list[Route]:
    def resolved(request: Request, body: bytes) -> Any:
        return service.resolved(request.path_params["uid"], *_given(request))

    def export(request: Request, body: bytes) -> Any:
        uid, suffix = request.path_params["uid"], f".{request.path_params['format']}"
        data = service.exported(uid, suffix, *_given(request))
        name = {"content-disposition": f'attachment; filename="{quote(uid, safe="")}{suffix}"'}
        return Response(data, media_type=_MEDIA_TYPES[suffix], headers=name)

    def frames(request: Request, body: bytes) -> Any:
        return service.frames(request.path_params["uid"], read_json(body or b"{}"))

    def source(request: Request, body: bytes) -> Any:
        return Response(service.stored(request.path_params["uid"]).data, media_type="application/json")

    def save(request: Request, body: bytes) -> Any:
        stored = service.store.save(body, uid=request.path_params["uid"])
        where = str(stored.path) if stored.path else "memory"
        return {"uid": stored.uid, "version": stored.version, "saved": where}

    def listed(request: Request, body: bytes) -> Any:
        boards = service.store.all()
        broken = [{"file": p.name, "error": why} for p, why in service.store.broken.items()]
        return {
            "dashboards": [
                {
                    "uid": s.uid,
                    "title": s.dashboard.title,
                    "tags": s.dashboard.tags,
                    "folder": s.folder.title if s.folder else "",
                    "can_save": s.writable,
                }
                for s in boards
            ],
            "broken": broken,
        }

    at = "/api/wavetank/dashboards"
    return [
        Route(at, _endpoint(listed)),
        Route(f"{at}/{{uid}}", _endpoint(resolved)),
        Route(f"{at}/{{uid}}/frames", _endpoint(frames), methods=["POST"]),
        Route(f"{at}/{{uid}}/export/{{format}}", _endpoint(export)),
        Route(f"{at}/{{uid}}/json", _endpoint(source)),
        Route(f"{at}/{{uid}}/json", _endpoint(save), methods=["PUT"]),
    ]


def _grafana(grafana: Grafana) -> list[Route]:
    def path(name: str) -> Callable[[Request], str]:
        return lambda request: str(request.path_params[name])

    uid, name = path("uid"), path("name")

    def body_of(body: bytes) -> Mapping[str, Any]:
        if not body:
            raise InputError("the request has no body")
        return read_json(body)

    def params(request: Request) -> list[tuple[str, str]]:
        return list(request.query_params.multi_items())

    table: list[tuple[str, str, Work]] = [
        ("GET", "/api/health", lambda r, b: grafana.health()),
        ("GET", "/api/org", lambda r, b: grafana.org()),
        ("GET", "/api/orgs", lambda r, b: [grafana.org()]),
        ("GET", "/api/user", lambda r, b: grafana.user()),
        ("GET", "/api/frontend/settings", lambda r, b: grafana.settings()),
        ("GET", "/api/search", lambda r, b: grafana.search(params(r))),
        ("GET", "/api/folders", lambda r, b: grafana.folders()),
        ("POST", "/api/folders", lambda r, b: grafana.add_folder(body_of(b))),
        ("GET", "/api/folders/{uid}", lambda r, b: grafana.folder(uid(r))),
        ("PUT", "/api/folders/{uid}", lambda r, b: grafana.rename_folder(uid(r), body_of(b))),
        ("DELETE", "/api/folders/{uid}", lambda r, b: grafana.remove_folder(uid(r))),
        ("POST", "/api/dashboards/db", lambda r, b: grafana.save(body_of(b))),
        ("POST", "/api/dashboards/import", lambda r, b: grafana.save(body_of(b))),
        ("GET", "/api/dashboards/home", lambda r, b: grafana.home()),
        ("GET", "/api/dashboards/tags", lambda r, b: grafana.tags()),
        ("GET", "/api/dashboards/uid/{uid}", lambda r, b: grafana.dashboard(uid(r))),
        ("DELETE", "/api/dashboards/uid/{uid}", lambda r, b: grafana.remove(uid(r))),
        ("GET", "/api/dashboards/uid/{uid}/versions", lambda r, b: grafana.versions(uid(r))),
        ("GET", "/api/datasources", lambda r, b: grafana.sources()),
        ("GET", "/api/datasources/uid/{uid}", lambda r, b: grafana.source_by(uid(r))),
        ("GET", "/api/datasources/uid/{uid}/health", lambda r, b: grafana.source_health()),
        ("GET", "/api/datasources/name/{name}", lambda r, b: grafana.source_by(name(r))),
        ("GET", "/api/datasources/id/{name}", lambda r, b: grafana.source_id()),
        ("GET", "/api/datasources/{uid}", lambda r, b: grafana.source_by(uid(r))),
        ("GET", "/api/annotations", lambda r, b: []),
        ("POST", "/api/ds/query", lambda r, b: grafana.query(body_of(b))),
    ]
    for version in ("v1", "v1beta1", "v0alpha1", "v2", "v2beta1", "v2alpha1"):
        at = f"/apis/dashboard.grafana.app/{version}/namespaces/{{namespace}}/dashboards"
        table += _resource_routes(grafana, at, version, uid, body_of)
    return [Route(where, _endpoint(work), methods=[method]) for method, where, work in table]


def _resource_routes(
    grafana: Grafana,
    at: str,
    version: str,
    uid: Callable[[Request], str],
    body_of: Callable[[bytes], Mapping[str, Any]],
) -> list[tuple[str, str, Work]]:
    """One version of ``dashboard.grafana.app``; v2 is written, and read back as v1."""
    read = "v1" if version.startswith("v2") else version
    return [
        ("GET", at, lambda r, b: grafana.resources(read)),
        ("POST", at, lambda r, b: grafana.put_resource(version, "", body_of(b))),
        ("GET", f"{at}/{{uid}}", lambda r, b: grafana.resource(read, uid(r))),
        ("PUT", f"{at}/{{uid}}", lambda r, b: grafana.put_resource(version, uid(r), body_of(b))),
        ("DELETE", f"{at}/{{uid}}", lambda r, b: grafana.remove(uid(r))),
    ]
