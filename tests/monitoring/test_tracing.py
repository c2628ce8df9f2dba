"""The server's own traces, as a collector on loopback receives them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from wavetank.clock import RealClock, VirtualClock
from wavetank.limits import TRACING_SPANS_WAITING_MAX
from wavetank.monitoring.tracing import Span, Tracer
from wavetank.monitoring.tracing.clients import NotTaken
from wavetank.monitoring.tracing.encode import encode
from wavetank.monitoring.tracing.export import Exporter
from wavetank.monitoring.tracing.span import SERVER, Parent, parent_of

Start = Callable[..., Any]
PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RULES = "groups: [{name: g, interval: 200ms, rules: [{record: one, expr: vector(1)}]}]\n"


class Collector:
    """What was received."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.address = ""
        self.fails = 0  # how many of the next requests are refused
        self.callers: dict[str, list[str]] = {}  # traceparent of the requests to other paths

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        self.requests.append(ExportTraceServiceRequest.FromString(body))
        self.headers.append(headers)

    @property
    def spans(self) -> list[SpanMessage]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[SpanMessage]:
        return [span for span in self.spans if span.name == name]

    async def post(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.fails:
            self.fails -= 1
            return web.Response(status=503)
        assert request.headers["Content-Type"] == "application/x-protobuf"
        packed = request.headers.get("Content-Encoding") == "gzip"
        self.take(
            gzip.decompress(body) if packed and body[:2] == b"\x1f\x8b" else body, dict(request.headers)
        )
        return web.Response()

    async def other(self, request: web.Request) -> web.Response:
        """A target, a receiver of remote write, and a server of remote read that fails."""
        await request.read()
        self.callers.setdefault(request.path, []).append(request.headers.get("traceparent", ""))
        return web.Response(text="m 1\n", status=500 if request.path == "/read" else 200)

    async def export(self, body: bytes, context: Any) -> bytes:
        self.take(body, {str(key): str(value) for key, value in context.invocation_metadata()})
        return b""


@pytest.fixture
async def over_http() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.post)
    app.router.add_route("*", "/{other}", collector.other)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


@pytest.fixture
async def over_grpc() -> AsyncIterator[Collector]:
    collector = Collector()
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(collector.export)
    service, name = PATH.strip("/").split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield collector
    await server.stop(None)


def section(collector: Collector, more: str) -> str:
    return (
        "global: {scrape_interval: 200ms}\nrule_files: [rules.yml]\n"
        f"tracing: {{endpoint: '{collector.address}', insecure: true, headers: {{X-Tenant: t1}}, {more}}}\n"
    )


def attributes(span: SpanMessage) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


@pytest.mark.slow
async def test_requests_queries_rules_and_scrapes_over_http(start: Start, over_http: Collector) -> None:
    text = section(over_http, "client_type: http, sampling_fraction: 1, compression: gzip, timeout: 5s")
    text += "scrape_configs: [{job_name: gone, static_configs: [{targets: ['127.0.0.1:1']}]}]\n"
    async with start(text, rules=RULES) as server:

        async def scraped() -> bool:
            for path in ("/api/v1/query?query=one", "/api/v1/query_range?query=one&start=0&end=9&step=3"):
                await server.get(path)
            health = (await server.get("/api/v1/targets"))["data"]["activeTargets"][0]["health"]
            return bool(health == "down" and await server.query("one"))

        await server.until(scraped)
        headers = {"traceparent": CALLER}
        async with server.session.get(f"{server.url}/api/v1/query?query=sum(one)", headers=headers) as answer:
            assert answer.status == 200
    (resource,) = over_http.requests[0].resource_spans
    assert "prometheus" in {a.value.string_value for a in resource.resource.attributes}
    assert (over_http.headers[0]["X-Tenant"], over_http.headers[0]["Content-Encoding"]) == ("t1", "gzip")
    by_id = {span.span_id: span for span in over_http.spans}

    def parents(name: str) -> set[str]:
        found = over_http.named(name)
        assert found
        return {by_id[s.parent_span_id].name if s.parent_span_id in by_id else "" for s in found}

    assert parents("GET /api/v1/query_range") == {""}
    assert parents("promqlRangeQuery") == {"GET /api/v1/query_range"}
    assert parents("promqlInnerEval") == {"promqlRangeQuery", "promqlInstantQuery"}
    assert parents("promqlExecQueue") == {"promqlRangeQuery", "promqlInstantQuery"}
    assert (parents("rule group"), parents("rule")) == ({""}, {"rule group"})
    assert (parents("scrape"), parents("scrapeRequest")) == ({""}, {"scrape"})
    assert "127.0.0.1:1" in attributes(over_http.named("scrapeRequest")[0])["url"]
    assert over_http.named("scrape")[0].status.message
    assert attributes(over_http.named("GET /api/v1/query")[0])["http.response.status_code"] == 200
    assert all(s.start_time_unix_nano <= s.end_time_unix_nano for s in over_http.spans)
    (own,) = [s for s in over_http.spans if s.trace_id.hex() == CALLER[3:35] and s.kind == SERVER]
    assert own.parent_span_id.hex() == CALLER[36:52]


@pytest.mark.slow
async def test_servers_that_are_asked_hear_of_the_trace(start: Start, over_http: Collector) -> None:
    text = section(over_http, "client_type: http, sampling_fraction: 1")
    text += (
        f"scrape_configs: [{{job_name: j, static_configs: [{{targets: ['{over_http.address}']}}]}}]\n"
        f"remote_write: [{{url: 'http://{over_http.address}/write', name: w,"
        " queue_config: {batch_send_deadline: 100ms}}]\n"
        f"remote_read: [{{url: 'http://{over_http.address}/read', read_recent: true}}]\n"
    )
    async with start(text, rules=RULES) as server:

        async def asked() -> bool:
            await server.get("/api/v1/query?query=m")
            return over_http.callers.keys() >= {"/metrics", "/write", "/read"}

        await server.until(asked)
    by_id = {span.span_id.hex(): span for span in over_http.spans}

    def told(path: str) -> set[str]:
        return {by_id[caller[36:52]].name for caller in over_http.callers[path] if caller[36:52] in by_id}

    assert told("/metrics") == {"scrapeRequest"}
    assert told("/write") == {"Remote Store"}
    assert told("/read") == {"Remote Read"}
    batch = over_http.named("Remote Send Batch")[0]
    assert (attributes(batch)["remote_name"], attributes(batch)["try"]) == ("w", 0)
    assert {by_id[s.parent_span_id.hex()].name for s in over_http.named("Remote Store")} <= {
        "Remote Send Batch",
        "Remote Metadata Send Batch",
    }
    assert "promqlInstantQuery" in {
        by_id[s.parent_span_id.hex()].name for s in over_http.named("Remote Read")
    }


async def test_only_what_callers_sampled_over_grpc(start: Start, over_grpc: Collector) -> None:
    async with start(section(over_grpc, "compression: gzip"), rules=RULES) as server:
        await server.get("/api/v1/query?query=1")
        headers = {"traceparent": CALLER}
        async with server.session.get(f"{server.url}/api/v1/query?query=1", headers=headers) as answer:
            assert answer.status == 200
    assert [span.name for span in over_grpc.spans if not span.name.startswith("promqlE")] == [
        "promqlInnerEval",
        "promqlInstantQuery",
        "GET /api/v1/query",
    ]
    assert {span.trace_id.hex() for span in over_grpc.spans} == {CALLER[3:35]}
    assert over_grpc.headers[0]["x-tenant"] == "t1"


async def test_a_reload_ends_and_begins_traces(start: Start, over_http: Collector, tmp_path: Path) -> None:
    on = section(over_http, "client_type: http, sampling_fraction: 1")
    async with start("rule_files: [rules.yml]\n", rules=RULES) as server:
        source = server.server._source
        off = source.read_text()
        await server.get("/api/v1/labels")
        source.write_text(on)
        await server.server.reload()
        await server.get("/api/v1/query?query=1")
        source.write_text(off)
        await server.server.reload()
        await server.get("/api/v1/labels")
        metrics = await server.get("/metrics")
    assert over_http.named("GET /api/v1/query")
    assert not over_http.named("GET /api/v1/labels")
    assert f'wavetank_tracing_spans_total{{outcome="sent"}} {len(over_http.spans)}' in metrics


class Slow:
    """A client whose requests fail as told, and otherwise wait until let go."""

    def __init__(self, *fails: bool) -> None:
        self.fails = list(fails)  # whether each may be tried again
        self.sent: list[int] = []
        self.attempts = 0
        self.open = asyncio.Event()

    async def send(self, request: bytes) -> None:
        self.attempts += 1
        if self.fails:
            raise NotTaken("no", again=self.fails.pop(0))
        await self.open.wait()
        self.sent.append(
            len(ExportTraceServiceRequest.FromString(request).resource_spans[0].scope_spans[0].spans)
        )

    async def close(self) -> None:
        pass


def counting() -> tuple[dict[str, int], Callable[[str, int], None]]:
    counts: dict[str, int] = {}

    def count(outcome: str, n: int) -> None:
        counts[outcome] = counts.get(outcome, 0) + n

    return counts, count


def a_span() -> Span:
    return Span("s", 1, 1, 2, 0, 5, 6)


async def test_a_slow_collector_drops_spans_and_holds_nothing_up() -> None:
    clock, client = VirtualClock(), Slow()
    counts, count = counting()
    exporter = Exporter(client, clock, "1", count)
    for _ in range(TRACING_SPANS_WAITING_MAX + 100):
        exporter.take(a_span())
    assert counts == {"dropped": 100}
    client.open.set()
    await exporter.close()
    assert counts == {"dropped": 100, "sent": TRACING_SPANS_WAITING_MAX}
    assert client.sent == [512] * 4


@pytest.mark.parametrize(
    ("fails", "outcome", "attempts"),
    [((True, True), "sent", 3), ((False,), "failed", 1), ((True,) * 5, "failed", 5)],
)
async def test_what_may_go_well_later_is_tried_again(
    fails: tuple[bool, ...], outcome: str, attempts: int
) -> None:
    clock, client = VirtualClock(), Slow(*fails)
    client.open.set()
    counts, count = counting()
    exporter = Exporter(client, clock, "1", count)
    exporter.take(a_span())
    for _ in range(60):
        await clock.advance(1)
    assert (counts, client.attempts) == ({outcome: 1}, attempts)
    await exporter.close()


def traced(fraction: float) -> tuple[Tracer, list[Span]]:
    tracer, found = Tracer(VirtualClock()), list[Span]()
    tracer.turn_on(found.append, fraction)
    return tracer, found


def test_a_fraction_of_traces_is_sampled_whole() -> None:
    tracer, found = traced(0.25)
    for _ in range(2000):
        with tracer.span("out", root=True), tracer.span("in"):
            pass
    assert 350 < len(found) / 2 < 650
    assert len({span.trace_id for span in found}) == len(found) / 2


def test_the_same_seed_and_time_draw_the_same_ids() -> None:
    ids = []
    for _ in range(2):
        tracer, found = traced(1)
        with tracer.span("a", root=True):
            pass
        ids.append((found[0].trace_id, found[0].span_id))
    assert ids[0] == ids[1]


def test_a_root_leaves_the_span_that_started_its_task() -> None:
    tracer, found = traced(1)
    with tracer.span("reload"), tracer.span("scrape", root=True):
        pass
    assert [(span.name, span.parent_id) for span in found] == [("scrape", 0), ("reload", 0)]
    assert found[0].trace_id != found[1].trace_id


def test_what_is_raised_is_the_error() -> None:
    tracer, found = traced(1)
    with pytest.raises(ValueError), tracer.span("a", {"query": "\ud800" + "x" * 10_000}):
        raise ValueError("boom")
    assert (found[0].error, found[0].attributes["query"]) == ("boom", "?" + "x" * 4095)
    assert ExportTraceServiceRequest.FromString(encode(found, "1"))


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (CALLER, Parent(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True)),
        (CALLER[:-2] + "00", Parent(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, False)),
        ("cc" + CALLER[2:] + "-more", Parent(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True)),
        (CALLER + "-more", None),
        ("ff" + CALLER[2:], None),
        (CALLER.upper(), None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", None),
    ],
)
def test_the_caller_by_traceparent(header: str, parent: Parent | None) -> None:
    assert parent_of(header) == parent


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
def test_any_header_is_read(header: str) -> None:
    parent_of(header)


def test_while_it_is_off_nothing_is_made() -> None:
    with Tracer(RealClock()).span("x") as span:
        assert span is None
