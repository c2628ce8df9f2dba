"""Clients people have: prometheus-client scraped by us, prometheus-api-client asking us, Debian's federating."""

from __future__ import annotations

import asyncio
import datetime
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

pytestmark = pytest.mark.slow
PEER = shutil.which("prometheus")


async def test_an_application_of_prometheus_client(start: Callable[..., Any]) -> None:
    registry = CollectorRegistry()
    orders = Counter("orders", "Orders.", ["shop"], registry=registry)
    orders.labels("a").inc(3, exemplar={"trace_id": "abc"})
    Gauge("queue_length", "Waiting.", registry=registry).set(7)
    Histogram("latency_seconds", "Latency.", buckets=(0.1, 1), registry=registry).observe(0.5)
    httpd, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    config = (
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        "scrape_configs: [{job_name: app, static_configs: "
        f"[{{targets: ['127.0.0.1:{httpd.server_port}'], labels: {{instance: one}}}}]}}]\n"
    )
    own = {"instance": "one", "job": "app"}
    try:
        async with start(config) as server:

            async def scraped() -> bool:
                return bool(await server.query("orders_total"))

            await server.until(scraped)
            assert await server.query("orders_total") == [
                ({"__name__": "orders_total", "shop": "a", **own}, "3")
            ]
            assert await server.query("queue_length") == [({"__name__": "queue_length", **own}, "7")]
            assert await server.query('latency_seconds_bucket{le="1.0"}') == [
                ({"__name__": "latency_seconds_bucket", "le": "1.0", **own}, "1")
            ]
            found = await server.get("/api/v1/query_exemplars", query="orders_total", start=0, end=2e10)
            assert found["data"][0]["exemplars"][0]["labels"] == {"trace_id": "abc"}
            metadata = (await server.get("/api/v1/metadata"))["data"]
            assert metadata["latency_seconds"] == [{"type": "histogram", "help": "Latency.", "unit": ""}]
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


async def test_questions_of_prometheus_api_client(start: Callable[..., Any]) -> None:
    async with start(
        "global: {scrape_interval: 1s, scrape_timeout: 1s, external_labels: {site: x}}\n"
        "scrape_configs: [{job_name: gone, static_configs: [{targets: ['127.0.0.1:1']}]}]\n"
    ) as server:

        async def scraped() -> bool:
            return bool(await server.query("count_over_time(up[1m]) > 1"))

        await server.until(scraped)
        await asyncio.to_thread(ask, server.url)


def ask(url: str) -> None:
    """Every call of the client that has to do with a server."""
    client = PrometheusConnect(url=url, disable_ssl=True)
    try:
        assert client.check_prometheus_connection()
        assert "up" in client.all_metrics()
        assert {"instance", "job"} <= set(client.get_label_names())
        assert client.get_label_values("job") == ["gone"]
        labels = {"__name__": "up", "instance": "127.0.0.1:1", "job": "gone"}
        (now,) = client.get_current_metric_value("up", {"job": "gone"})
        assert (now["metric"], now["value"][1]) == (labels, "0")
        begin = datetime.datetime.now() - datetime.timedelta(minutes=2)
        (past,) = client.get_metric_range_data("up", start_time=begin, end_time=datetime.datetime.now())
        assert {value for _, value in past["values"]} == {"0"}
        (series,) = client.custom_query_range("up", begin, datetime.datetime.now(), "1s")
        assert series["metric"] == labels
        assert client.custom_query("up + 1")[0]["value"][1] == "1"
        assert client.get_metric_aggregation("up", ["max", "average"]) == {"max": 0.0, "average": 0.0}
        assert client.get_targets()["activeTargets"][0]["labels"]["job"] == "gone"
        assert client.get_series(begin, datetime.datetime.now(), {"match[]": "up"}) == [labels]
        assert client.get_scrape_pools() == ["gone"]
        assert client.get_metric_metadata("up") == []
        assert client.get_target_metadata({"job": "gone"}) == []
        with pytest.raises(PrometheusApiClientException):
            client.custom_query("up{")
    finally:
        client.close()


@pytest.mark.peer
@pytest.mark.skipif(PEER is None, reason="prometheus is not installed")
async def test_debians_prometheus_federates_from_us(start: Callable[..., Any], tmp_path: Path) -> None:
    async with start(
        "global: {scrape_interval: 1s, scrape_timeout: 1s, external_labels: {site: x}}\n"
        "scrape_configs: [{job_name: gone, static_configs: [{targets: ['127.0.0.1:1']}]}]\n"
    ) as server:
        (tmp_path / "peer.yml").write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: federate
  honor_labels: true
  metrics_path: /federate
  params: {{"match[]": ['{{job="gone"}}', 'nothing']}}
  static_configs: [{{targets: ["{server.url.removeprefix("http://")}"]}}]
""")
        port = free_port()
        peer = await asyncio.create_subprocess_exec(
            str(PEER),
            f"--config.file={tmp_path}/peer.yml",
            f"--storage.tsdb.path={tmp_path}/peer-data",
            f"--web.listen-address=127.0.0.1:{port}",
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with aiohttp.ClientSession() as session:

                async def federated() -> bool:
                    found = await result(session, f"http://127.0.0.1:{port}", 'up{job="gone"}')
                    return found == [
                        {"__name__": "up", "instance": "127.0.0.1:1", "job": "gone", "site": "x"}
                    ]

                await server.until(federated)
        finally:
            peer.terminate()
            await peer.wait()


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


async def result(session: aiohttp.ClientSession, url: str, query: str) -> list[dict[str, str]]:
    """The labels that a query gives now; nothing while the server is not there yet."""
    try:
        async with session.get(f"{url}/api/v1/query", params={"query": query}) as response:
            if response.status != 200:
                return []
            return [entry["metric"] for entry in (await response.json())["data"]["result"]]
    except aiohttp.ClientError:
        return []
