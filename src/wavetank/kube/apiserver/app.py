"""The ASGI application: from a path to what answers it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from wavetank.kube.api import Api
from wavetank.kube.apiserver import discovery, pods
from wavetank.kube.apiserver.auth import (
    Guard,
    User,
    access_review,
    authorize,
    rules_review,
    self_review,
)  # fmt: skip
from wavetank.kube.apiserver.metrics import ServerMetrics
from wavetank.kube.apiserver.negotiation import discovery_version
from wavetank.kube.apiserver.openapi import EMPTY_V2, V2_MEDIA, OpenApi
from wavetank.kube.apiserver.request import (
    Target,
    answer,
    decode_body,
    error_response,
    flag,
    media_type,
    parse_target,
    read_body,
)  # fmt: skip
from wavetank.kube.apiserver.resources import Verbs
from wavetank.kube.apiserver.spdy_upgrade import SpdyConnection
from wavetank.kube.apiserver.watches import Watches
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.providers import ApiExtension, KubeletProvider
from wavetank.kube.resources import NODES, PODS
from wavetank.kube.status import bad_request, method_not_allowed
from wavetank.kube.tables.table import Columns

__all__ = ["ApiServer", "ServerOptions", "version_info"]

_AUTHORIZATION: Final = "authorization.k8s.io"
_REVIEWS: Final[Mapping[str, tuple[Resource, Callable[[User, Object], Object]]]] = {
    resource.plural: (resource, answer_of)
    for resource, answer_of in (
        (
            Resource(_AUTHORIZATION, "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False),
            access_review,
        ),
        (
            Resource(_AUTHORIZATION, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", False),
            rules_review,
        ),
        (
            Resource("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", False),
            self_review,
        ),
    )
}
_HEALTH: Final = frozenset({"/healthz", "/livez", "/readyz"})


@dataclass(slots=True)
class ServerOptions:
    """``address`` is host:port as clients reach it; ``version`` the Kubernetes version shown."""

    guard: Guard
    address: str = "127.0.0.1"
    version: str = "v1.33.1"
    kubelet: KubeletProvider | None = None
    extensions: list[ApiExtension] = field(default_factory=list)
    custom_columns: Callable[[Resource], Columns | None] = lambda resource: None
    ready: Callable[[], bool] = lambda: True


def version_info(version: str) -> dict[str, str]:
    """``/version``: clients insist on every field."""
    major, minor = version.removeprefix("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{version}+wavetank",
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "cpython",
        "platform": "linux/amd64",
    }


class ApiServer:
    """Extensions and the kubelet may be added while it runs."""

    def __init__(self, api: Api, options: ServerOptions) -> None:
        self.api = api
        self.options = options
        self.verbs = Verbs(api, options.custom_columns)
        self.watches = Watches(self.verbs)
        self.openapi = OpenApi(api.type_of)
        self.metrics = ServerMetrics(api, self.watches)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application. Paths are taken apart by ``parse_target``, so there is no router."""
        if scope["type"] == "websocket":
            await self._stream(WebSocket(scope, receive, send))
            return
        if scope["type"] == "spdy":
            await self._spdy({**scope, "type": "http"})
            return
        request = Request(scope, receive)
        response = await self._endpoint(request)
        await response(scope, receive, send)

    async def _stream(self, socket: WebSocket) -> None:
        """Exec, attach and port-forward. What is refused is answered over HTTP, before the upgrade."""
        path = socket.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        try:
            user = self.options.guard.check("GET", path, socket.headers)
            target = parse_target(self.api.registry, path)
            if target is None or target.resource != PODS or target.subresource not in pods.STREAMS:
                raise bad_request(f"{path} is not served over websockets")
            authorize(user, "GET", path, target)
            await pods.stream(self.api, self._kubelet(), socket, target)
        except ApiError as error:
            await socket.send_denial_response(error_response(error))
        except WebSocketDisconnect:
            pass  # the client left while it was being answered
        except Exception as error:  # a fault of ours ends one connection, not the server
            traceback.print_exception(error)
            raise

    async def _spdy(self, scope: Scope) -> None:
        """Exec, attach and port-forward of clients that upgrade to SPDY/3.1."""
        connection: SpdyConnection = scope["connection"]
        request = Request(scope)
        path = scope["raw_path"].decode("ascii", "replace")
        try:
            user = self.options.guard.check(request.method, path, request.headers)
            target = parse_target(self.api.registry, path)
            if target is None or target.resource != PODS or target.subresource not in pods.STREAMS:
                raise bad_request(f"{path} is not served over SPDY")
            authorize(user, request.method, path, target)
            await pods.spdy_stream(self.api, self._kubelet(), request, target)
        except ApiError as error:
            response = error_response(error)
            connection.refuse(response.status_code, response.raw_headers, bytes(response.body))
        except Exception as error:  # a fault of ours ends one connection, not the server
            traceback.print_exception(error)

    async def _endpoint(self, request: Request) -> Response:
        started = self.api.clock.monotonic()
        # The path as sent: a decoded slash in a name must not split it.
        path = request.scope["raw_path"].decode("ascii", "replace")
        path = path.partition("?")[0].rstrip("/") or "/"  # some clients ask for /version/
        target: Target | None = None
        try:
            user = self.options.guard.check(request.method, path, request.headers)
            target = parse_target(self.api.registry, path)
            authorize(user, request.method, path, target)
            response = await self._dispatch(request, path, target, user)
        except ApiError as error:
            response = error_response(error)
        except Exception as error:  # a fault of ours fails one request, not the connection
            traceback.print_exception(error)
            text = f"Internal error occurred: {type(error).__name__}: {error}"
            response = error_response(ApiError(500, "InternalError", text))
        seconds = self.api.clock.monotonic() - started
        self.metrics.count(request.method, target, response.status_code, seconds)
        return response

    async def _dispatch(self, request: Request, path: str, target: Target | None, user: User) -> Response:
        if target is not None:
            return await self._resource(request, target)
        if path.startswith("/apis/") and (extended := await self._extension(request, path)) is not None:
            return extended
        if path.startswith(("/apis/authorization.k8s.io/v1/", "/apis/authentication.k8s.io/v1/")):
            return await self._review(request, path, user)
        if request.method not in ("GET", "HEAD"):
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return await self._document(request, path)

    async def _resource(self, request: Request, target: Target) -> Response:
        if target.resource == PODS and target.subresource in pods.STREAMS:
            return pods.refuse_request(self.api, request, target)
        match request.method:
            case "GET" | "HEAD":
                if target.resource == PODS and target.subresource == "log":
                    return await pods.log(self.api, self._kubelet(), request.query_params, target)
                if target.subresource == "proxy" and target.resource == NODES:
                    return await self._node_proxy(request, target)
                if flag(request.query_params, "watch"):
                    return self.watches.response(request, target)
                if target.name:
                    return await self.verbs.get(request, target)
                return await self.verbs.listing(request, target)
            case "POST":
                return await self.verbs.create(request, target)
            case "PUT":
                return await self.verbs.update(request, target)
            case "PATCH":
                return await self.verbs.patch(request, target)
            case "DELETE" if not target.subresource:
                return await self.verbs.delete(request, target)
        raise method_not_allowed()

    # Documents

    def resources(self) -> Sequence[Resource]:
        """All that discovery lists: the registry's, the extensions' and the reviews."""
        extended = [r for extension in self.options.extensions for r in extension.resources]
        return (*self.api.registry.resources(), *(review for review, _ in _REVIEWS.values()), *extended)

    def _read_only(self) -> frozenset[str]:
        return frozenset(extension.group for extension in self.options.extensions)

    async def _document(self, request: Request, path: str) -> Response:
        accept = request.headers.get("accept", "")
        if path in ("/api", "/apis"):
            return self._groups(path == "/api", discovery_version(accept))
        if path == "/version":
            return answer(version_info(self.options.version))
        if path in _HEALTH or path.split("/", 2)[1] in ("livez", "readyz", "healthz"):
            ready = path != "/readyz" or self.options.ready()
            return PlainTextResponse("ok" if ready else "not ready", 200 if ready else 500)
        if path == "/metrics":
            text = self.metrics.exposition()
            return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")
        if path.startswith("/openapi/v3"):
            return self._openapi(path)
        if path == "/openapi/v2":
            return Response(EMPTY_V2, media_type=V2_MEDIA)
        if path == "/":
            return answer({"paths": ["/api", "/apis", "/healthz", "/metrics", "/openapi/v3", "/version"]})
        found = self._versions(path)
        if found is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return answer(found)

    def _groups(self, core: bool, version: str) -> Response:
        resources = self.resources()
        if version:
            listed = discovery.aggregated(resources, version, core=core, read_only=self._read_only())
            media = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            return answer(listed, 200, {"Vary": "Accept"}, media)
        if core:
            return answer(discovery.legacy_versions(self.options.address))
        return answer(discovery.group_list(resources))

    def _versions(self, path: str) -> Any:
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) == 2:
            return discovery.resource_list(self.resources(), "", parts[1], False)
        if parts[0] == "apis" and len(parts) == 2:
            return discovery.group_document(self.resources(), parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            read_only = parts[1] in self._read_only()
            return discovery.resource_list(self.resources(), parts[1], parts[2], read_only)
        return None

    def _openapi(self, path: str) -> Response:
        resources, generation = self.resources(), self.api.registry.generation + len(self.options.extensions)
        parts = path.strip("/").split("/")[2:]
        if not parts:
            return answer(self.openapi.index(resources, generation))
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[-1])
        data = self.openapi.document(resources, group, version, generation) if len(parts) > 1 else None
        if data is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return Response(data, media_type="application/json")

    # What others answer

    async def _extension(self, request: Request, path: str) -> Response | None:
        for extension in self.options.extensions:
            root = f"/apis/{extension.group}/{extension.version}/"
            if path.startswith(root):
                if request.method not in ("GET", "HEAD"):
                    raise method_not_allowed()
                return answer(await extension.handle(path.removeprefix(root), request.query_params))
        return None

    async def _review(self, request: Request, path: str, user: User) -> Response:
        review = _REVIEWS.get(path.rpartition("/")[2])
        if review is None or request.method != "POST":
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        body = decode_body(await read_body(request), media_type(request.headers.get("content-type")))
        if not isinstance(body, dict):
            raise bad_request("the body must be an object")
        return answer(review[1](user, body), 201)

    def _kubelet(self) -> KubeletProvider:
        if self.options.kubelet is None:
            raise ApiError(503, "ServiceUnavailable", "no kubelet is attached to this control plane")
        return self.options.kubelet

    async def _node_proxy(self, request: Request, target: Target) -> Response:
        self.api.stored(NODES, None, target.name)
        query = request.url.query
        path = f"/{target.rest}" + (f"?{query}" if query else "")
        code, media, body = await self._kubelet().node_proxy(target.name, path)
        return Response(body, code, media_type=media)

    async def raw(self, path: str) -> bytes:
        """GET without a network, for ``LocalClient.get_raw``. Raises ApiError."""
        url, _, query = path.partition("?")
        received: list[Mapping[str, Any]] = []
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": url,
            "raw_path": url.encode(),
            "query_string": query.encode(),
            "headers": [],
            "server": ("127.0.0.1", 0),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            received.append(message)

        request = Request(scope, receive)
        response = await self._dispatch(request, url, parse_target(self.api.registry, url), _LOCAL)
        await response(scope, receive, send)
        body = b"".join(m.get("body", b"") for m in received if m["type"] == "http.response.body")
        if response.status_code >= 400:
            raise ApiError(response.status_code, "Unknown", body.decode("utf-8", "replace"))
        return body


_LOCAL: Final = User("system:wavetank", ("system:masters",), True)
