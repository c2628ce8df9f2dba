"""Every endpoint's answer has the shape that upstream publishes; and the endpoints beyond it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from wavetank.clock import RealClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.api.openapi.document import document
from wavetank.monitoring.remote.codec import pack
from wavetank.monitoring.remote.payload import Item, request_v1
from wavetank.monitoring.server import ServerOptions

#: The schemas of responses, from web/api/v1/testdata/openapi_3.1_golden.yaml without its examples.
SPEC = json.loads((Path(__file__).parent / "data" / "openapi_responses.json").read_text())
CONFIG = """
global: {scrape_interval: 100ms, external_labels: {region: eu}}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:1"]}]}]}
scrape_configs:
- job_name: self
  static_configs: [{targets: ["127.0.0.1:PORT", "127.0.0.1:1"]}, {targets: ["dropped:1"], labels: {drop: "y"}}]
  relabel_configs: [{source_labels: [drop], regex: "y", action: drop}]
"""
RULES = """
groups:
- name: g
  interval: 100ms
  rules:
  - {record: "r", expr: up}
  - {alert: A, expr: up == 1, keep_firing_for: 1m, labels: {severity: page}, annotations: {text: hello}}
  - {alert: Broken, expr: "label_replace(up, 'a', '$1', 'b', '(')"}
"""
ASKED = [
    ("/query", {"query": "up"}),
    ("/query", {"query": "h"}),
    ("/query", {"query": "1"}),
    # A string's answer is left out: the schema wants its time as a text, and upstream itself sends a number.
    ("/query", {"query": "up[1m]", "stats": "all"}),
    ("/query_range", {"query": "up", "start": "NOW-10", "end": "NOW", "step": "1"}),
    ("/query_range", {"query": "h", "start": "NOW-10", "end": "NOW", "step": "1", "stats": "all"}),
    ("/query_exemplars", {"query": "m", "start": "NOW-100", "end": "NOW"}),
    ("/format_query", {"query": "sum(up)by(job)"}),
    ("/parse_query", {"query": "sum by (job) (rate(m[5m] offset 1m)) > bool 2"}),
    ("/labels", {}),
    ("/label/{name}/values", {"name": "job"}),
    ("/series", {"match[]": "up"}),
    ("/metadata", {}),
    ("/scrape_pools", {}),
    ("/scrape_pools/config", {"scrapePool": "self"}),
    ("/targets", {}),
    ("/targets/metadata", {"limit": "3"}),
    ("/targets/relabel_steps", {"scrapePool": "self", "labels": '{"__address__":"a:1","drop":"y"}'}),
    ("/rules", {}),
    ("/rules", {"type": "alert", "exclude_alerts": "true"}),
    ("/alerts", {}),
    ("/alertmanagers", {}),
    ("/status/config", {}),
    ("/status/runtimeinfo", {}),
    ("/status/buildinfo", {}),
    ("/status/flags", {}),
    ("/status/tsdb", {}),
    ("/status/tsdb/blocks", {}),
    ("/status/walreplay", {}),
    ("/status/self_metrics", {"metric_name_pattern": "prometheus_.*"}),
    ("/notifications", {}),
    ("/features", {}),
]
#: Paths, operations and parameters of web/api/v1/testdata/openapi_3.2_golden.yaml.
UPSTREAM = json.loads((Path(__file__).parent / "data" / "openapi_operations.json").read_text())
OURS_ALONE = {"/queries", "/queries/{id}/cancel"}
NOT_GET = {"/admin/tsdb/delete_series", "/admin/tsdb/clean_tombstones", "/admin/tsdb/snapshot"}
NOT_BUILT_IN = {"/search/metric_names", "/search/label_names", "/search/label_values"}


OURS = document("3.2.0", url="/api/v1", api_version="1")


def check(path: str, answer: Any) -> list[str]:
    """What is wrong with an answer by upstream's schema and by ours, in short."""
    name = SPEC["paths"][path]
    return check_against(SPEC["components"], name, answer) + check_against(OURS["components"], name, answer)


def check_against(components: Any, name: str, answer: Any) -> list[str]:
    schema = {"$ref": f"#/components/schemas/{name}", "components": components}
    found = jsonschema.Draft202012Validator(schema).iter_errors(answer)
    best = (jsonschema.exceptions.best_match([error]) or error for error in found)
    return [f"{error.message[:200]} at {list(error.absolute_path)}" for error in best]


def operations(paths: Any) -> dict[str, Any]:
    """What clients are made from."""
    found: dict[str, Any] = {}
    for path, methods in paths.items():
        for method, said in methods.items():
            names = [entry["name"] for entry in said.get("parameters", ())]
            for body in said.get("requestBody", {}).get("content", {}).values():
                schema = OURS["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
                names = list(schema["properties"])
            found.setdefault(path, {})[method] = {
                "operation": said["operationId"],
                "tag": said["tags"][0],
                "parameters": sorted(set(names) - {"advice"}),
            }
    return found


def test_our_document_has_upstreams_operations() -> None:
    found = operations(OURS["paths"])
    assert {path: said for path, said in found.items() if path not in OURS_ALONE} == UPSTREAM
    older = document("3.1.0", url="/api/v1", api_version="1")
    assert set(OURS["paths"]) - set(older["paths"]) == {"/notifications/live"}
    for schema in OURS["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert set(re.findall(r"#/components/schemas/(\w+)", json.dumps(OURS))) <= set(
        OURS["components"]["schemas"]
    )


async def test_our_document_is_of_our_routes(start: Callable[..., Any]) -> None:
    async with start("{}", ServerOptions(search_limit_max=7)) as server:
        served = yaml.safe_load(await server.get("/api/v1/openapi.yaml"))
        assert served["openapi"] == "3.1.0"
        assert served["servers"][0]["url"].endswith("/api/v1")
        newest = yaml.safe_load(await server.get("/api/v1/openapi.yaml", openapi_version="3.2"))
        limits = newest["paths"]["/search/label_names"]["get"]["parameters"]
        assert [entry["schema"]["default"] for entry in limits if entry["name"] == "limit"] == [7]
        api = next(r for r in app_of(server) if isinstance(r, Mount) and r.path == "/api/v1")
        routed = {
            route.path_format: (route.methods or set()) - {"HEAD"}
            for route in api.routes or ()
            if isinstance(route, Route) and route.path not in ("/{path:path}", "/openapi.yaml")
        }
    said = {path: {method.upper() for method in methods} for path, methods in newest["paths"].items()}
    assert routed == said


def app_of(server: Any) -> Any:
    """The routes of a running server."""
    app = server.server._parts.app.asgi
    while not isinstance(app, Starlette):
        app = app._app
    return app.routes


def test_every_path_of_the_specification_is_asked() -> None:
    assert set(SPEC["paths"]) - {path for path, _ in ASKED} - NOT_GET - NOT_BUILT_IN == set()


@pytest.mark.slow
async def test_answers_have_the_published_shape(start: Callable[..., Any]) -> None:
    options = ServerOptions(enable_admin_api=True, enable_remote_write_receiver=True)
    async with start("rule_files: [rules.yml]\n", options, rules=RULES) as server:
        port = server.url.rpartition(":")[2]
        server.server._source.write_text(CONFIG.replace("PORT", port))
        await server.server.reload()
        now = RealClock().now()
        labels = Labels.of(__name__="h")
        histogram = FloatHistogram(0, 3.0, 4.5, 0.001, 1.0, ((0, 2),), (1.0, 1.0))
        now_ms = round(now * 1000)
        items = [
            Item(labels, [], [(now_ms - 1000, histogram)]),
            Item(Labels.of(__name__="m"), [(now_ms, 1.0)], [], [(Labels.of(trace="a"), 1.0, now_ms)]),
        ]
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        await server.post("/api/v1/write", status=204, data=pack(request_v1(items)), headers=headers)

        async def firing() -> bool:
            return bool(await server.query('ALERTS{alertstate="firing"}'))

        await server.until(firing)
        now = RealClock().now()
        problems: list[str] = []
        for path, params in ASKED:
            sent = {
                key: value.replace("NOW-100", str(now - 100))
                .replace("NOW-10", str(now - 10))
                .replace("NOW", str(now))
                for key, value in params.items()
            }
            url = "/api/v1" + path.replace("{name}", sent.pop("name", ""))
            answer = await server.get(url, **sent)
            assert answer["status"] == "success"
            problems += [f"{path}: {problem}" for problem in check(path, answer)]
        assert problems == []
        assert check("/admin/tsdb/snapshot", await server.post("/api/v1/admin/tsdb/snapshot")) == []
        await beyond(server)


async def beyond(server: Any) -> None:
    """Live notifications, and ending a query."""
    url = server.url + "/api/v1/notifications/live"
    async with server.session.get(url) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert await stream.content.readline() == b": connected\n"
        good = server.server._source.read_text()
        server.server._source.write_text("bad: 1")
        with pytest.raises(Exception, match="bad"):
            await server.server.reload()
        await stream.content.readline()
        event = json.loads((await stream.content.readline()).removeprefix(b"data: "))
        assert (event["text"], event["active"]) == ("Configuration reload has failed.", True)
        assert len((await server.get("/api/v1/notifications"))["data"]) == 1
        server.server._source.write_text(good)
        await server.server.reload()
        await stream.content.readline()
        assert json.loads((await stream.content.readline()).removeprefix(b"data: "))["active"] is False
    held = threading.Event()
    queries = server.server._parts._queries
    for _ in range(2):  # as many as there are threads: the query waits for its turn
        queries.executor.submit(held.wait)
    asking = asyncio.create_task(server.get("/api/v1/query", status=499, query="rate(up[5m])"))

    async def listed() -> bool:
        return bool((await server.get("/api/v1/queries"))["data"])

    try:
        await server.until(listed)
        entry = (await server.get("/api/v1/queries"))["data"][0]
        assert entry["query"] == "rate(up[5m])"
        await server.post(f"/api/v1/queries/{entry['id']}/cancel")
    finally:
        held.set()
    assert (await asking)["errorType"] == "canceled"
    await server.post("/api/v1/queries/99999/cancel", status=404)
