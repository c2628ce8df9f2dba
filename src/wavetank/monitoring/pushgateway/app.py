"""All routes of a Pushgateway, and the writing of its file. Mirrors main.go, handler/* and api/v1."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import cramjam
import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from wavetank import __version__
from wavetank.clock import Clock
from wavetank.exposition.process import process_families
from wavetank.exposition.registry import Registry
from wavetank.exposition.render import CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_TEXT
from wavetank.limits import PUSH_BODY_BYTES_MAX
from wavetank.model.quoting import format_float_g
from wavetank.monitoring.pushgateway.page import get_file, get_page
from wavetank.monitoring.pushgateway.push import Family, PushError, families_of, grouping_key
from wavetank.monitoring.pushgateway.store import Group, Groups, Inconsistent, TooManyGroups
from wavetank.monitoring.rfc3339 import format_time

__all__ = ["Pushgateway", "PushgatewayOptions"]

_LOG = logging.getLogger(__name__)
_CORS = {
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type, Origin",
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Expose-Headers": "Date",
    "Cache-Control": "no-cache, no-store, must-revalidate",
}
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class PushgatewayOptions:
    """Upstream's flags; durations in seconds. ``flags`` is what the status shows."""

    telemetry_path: str = "/metrics"
    persistence_seconds: float = 300.0
    lifecycle: bool = False
    admin_api: bool = False
    unchecked: bool = False
    utf8_names: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)


class _TooLarge(Exception):
    pass


class Pushgateway:
    """The application of one store. ``keep`` writes its file while it runs."""

    def __init__(
        self, groups: Groups, clock: Clock, options: PushgatewayOptions, quit: Callable[[], None]
    ) -> None:
        self._groups = groups
        self._clock = clock
        self._options = options
        self._quit = quit
        self._started = clock.now()
        self._registry = Registry()
        build = self._registry.gauge(
            "pushgateway_build_info", "A metric with a constant '1' value.", ("version", "revision")
        )
        build.set(1, __version__, "wavetank")
        self._requests = self._registry.counter(
            "pushgateway_http_requests_total", "HTTP requests.", ("handler", "method", "code")
        )
        self._push_seconds = self._registry.histogram(
            "pushgateway_http_push_duration_seconds", "Time that pushes took.", ("method",)
        )
        self._registry.collector(process_families)
        groups.own = {family.name: family.type for family in self._registry.gather()}
        self.app: ASGIApp = Starlette(routes=self._routes(), exception_handlers={Exception: _fault})

    def _routes(self) -> list[Route]:
        changing = ["PUT", "POST", "DELETE"]
        options = self._options
        routes = [
            Route("/-/healthy", self._ok),
            Route("/-/ready", self._ok),
            Route("/-/quit", self._leave, methods=["PUT", "POST"]),
            Route(options.telemetry_path, self._metrics, methods=["GET"]),
        ]
        for suffix, encoded in (("", False), ("@base64", True)):
            for rest in ("", "/{labels:path}"):
                path = f"/metrics/job{suffix}/{{job}}{rest}"
                routes.append(Route(path, self._counted("push", self._changer(encoded)), methods=changing))
        routes += [
            Route("/api/v1/status", self._counted("api/v1/status", self._status), methods=["GET", "OPTIONS"]),
            Route("/api/v1/metrics", self._counted("api/v1/metrics", self._all), methods=["GET", "OPTIONS"]),
            Route("/status", get_page),
            Route("/", get_page),
            Route("/ui/{name}", get_file),
        ]
        if options.admin_api:
            routes.append(Route("/api/v1/admin/wipe", self._counted("wipe", self._wipe), methods=["PUT"]))
        return routes

    def _counted(self, name: str, handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            response = await handler(request)
            self._requests.inc(1, name, request.method.lower(), response.status_code)
            return response

        return handle

    def _changer(self, encoded: bool) -> Handler:
        async def change(request: Request) -> Response:
            start = self._clock.monotonic()
            try:
                parts = request.path_params
                labels = grouping_key(
                    parts["job"], encoded, parts.get("labels", ""), utf8=self._options.utf8_names
                )
                if request.method == "DELETE":
                    self._groups.delete(labels)
                    return Response(status_code=202)
                return await self._push(request, labels)
            except PushError as error:
                return PlainTextResponse(f"{error}\n", 400)
            except TooManyGroups as error:
                return PlainTextResponse(f"{error}\n", 429)
            except _TooLarge:
                return PlainTextResponse(f"the body is larger than {PUSH_BODY_BYTES_MAX} bytes\n", 413)
            finally:
                self._push_seconds.observe(self._clock.monotonic() - start, request.method.lower())

        return change

    async def _push(self, request: Request, labels: dict[str, str]) -> Response:
        body = await _body(request)
        now = self._clock.now()
        kind = request.headers.get("content-type", "")
        check = not self._options.unchecked
        try:
            families = families_of(body, kind, labels, now, utf8=self._options.utf8_names)
        except PushError as error:
            if "must not have timestamps" in str(error):
                self._groups.failed(labels, now)
            raise
        try:
            self._groups.push(labels, families, now, replace=request.method == "PUT", check=check)
        except Inconsistent as error:
            text = f"pushed metrics are invalid or inconsistent with existing metrics: {error}"
            _LOG.error("%s", text)
            return PlainTextResponse(f"{text}\n", 400)
        return Response(status_code=200 if check else 202)

    async def _ok(self, request: Request) -> Response:
        return PlainTextResponse("OK")

    async def _leave(self, request: Request) -> Response:
        if not self._options.lifecycle:
            return PlainTextResponse("Lifecycle API is not enabled.\n", 403)
        self._quit()
        return PlainTextResponse("Requesting termination... Goodbye!")

    async def _wipe(self, request: Request) -> Response:
        self._groups.wipe()
        return Response(status_code=202)

    async def _metrics(self, request: Request) -> Response:
        from wavetank.exposition.render import render_openmetrics, render_text

        families = [*self._groups.families(), *self._registry.gather()]
        if "application/openmetrics-text" in request.headers.get("accept", ""):
            return Response(render_openmetrics(families), media_type=CONTENT_TYPE_OPENMETRICS)
        return Response(render_text(families), media_type=CONTENT_TYPE_TEXT)

    async def _status(self, request: Request) -> Response:
        return _answer(
            {
                "flags": dict(self._options.flags),
                "start_time": format_time(self._started),
                "build_information": {"version": __version__, "revision": "wavetank"},
            }
        )

    async def _all(self, request: Request) -> Response:
        return _answer([_group_json(group) for group in self._groups.all()])

    async def keep(self) -> None:
        """Write the file when something has changed, at most every ``persistence_seconds``."""
        while True:
            await self._clock.sleep(self._options.persistence_seconds)
            if self._groups.unsaved:
                self.save()

    def save(self) -> None:
        """Write the file; a disk that refuses is reported."""
        try:
            self._groups.save()
        except OSError as error:
            _LOG.error("error persisting metrics: %s", error.strerror or error)

    async def __aenter__(self) -> Pushgateway:
        self._keeping = asyncio.create_task(self.keep())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        self.save()


async def _fault(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return PlainTextResponse(f"{type(error).__name__}: {error}\n", 500)


async def _body(request: Request) -> bytes:
    """The body without its compression. Raises PushError, _TooLarge."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > PUSH_BODY_BYTES_MAX:
            raise _TooLarge
        chunks.append(chunk)
    body = b"".join(chunks)
    match request.headers.get("content-encoding", "").lower():
        case "gzip":
            return _gunzip(body)
        case "snappy":
            return _unsnap(body)
        case _:
            return body


def _gunzip(body: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    try:
        plain = reader.decompress(body, PUSH_BODY_BYTES_MAX)
    except zlib.error as error:
        raise PushError(f"gzip: invalid body: {error}") from None
    if reader.unconsumed_tail:
        raise _TooLarge
    if not reader.eof:
        raise PushError("gzip: unexpected EOF")
    return plain


def _unsnap(body: bytes) -> bytes:
    """The framed format. A frame unpacks to 64 KiB at most, at about a twentieth of that."""
    if len(body) > PUSH_BODY_BYTES_MAX // 20:
        raise _TooLarge
    try:
        return bytes(cramjam.snappy.decompress(body))
    except cramjam.DecompressionError as error:
        raise PushError(f"snappy: corrupt input: {error}") from None


def _answer(data: object) -> Response:
    body = msgspec.json.encode({"status": "success", "data": data})
    return Response(body, media_type="application/json", headers=_CORS)


def _group_json(group: Group) -> dict[str, object]:
    shown: dict[str, object] = {
        "labels": group.labels,
        "last_push_successful": group.last_push_successful,
    }
    for name, family in group.families.items():
        shown[name] = {
            "time_stamp": format_time(family.timestamp),
            "type": family.type.upper(),
            "help": family.help,
            "metrics": _metrics_json(family),
        }
    return shown


def _metrics_json(family: Family) -> list[dict[str, object]]:
    """One entry a set of labels; buckets, quantiles, sum and count of one set belong together."""
    found: dict[tuple[tuple[str, str], ...], dict[str, object]] = {}
    inner = {"histogram": ("le", "buckets"), "summary": ("quantile", "quantiles")}.get(family.type)
    for sample in family.samples:
        value = format_float_g(sample.value)
        if inner is None:
            found[tuple(sample.labels.items())] = {"labels": sample.labels, "value": value}
            continue
        label, plural = inner
        own = {name: text for name, text in sample.labels.items() if name != label}
        entry = found.setdefault(tuple(own.items()), {"labels": own, plural: {}})
        if label in sample.labels:
            parts = entry[plural]
            assert isinstance(parts, dict)
            parts[sample.labels[label]] = value
        else:
            entry[sample.name.removeprefix(family.name).lstrip("_")] = value
    return list(found.values())
