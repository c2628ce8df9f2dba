"""Beside Debian's Prometheus on the same configuration and targets: the same series, the same answers."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

PEER = shutil.which("prometheus")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(PEER is None, reason="prometheus is not installed"),
]

BODY = """# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{code="200",job="own"} 5
requests_total{code="500",instance="x"} 1
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.5"} 1
latency_seconds_bucket{le="+Inf"} 2
latency_seconds_sum 1.5
latency_seconds_count 2
# TYPE temperature gauge
temperature{room="a b",exported_job="e",job="j"} -1.5e3
dropped_series 1
"""
CONFIG = """
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s, external_labels: {cluster: eu}}
rule_files: [rules.yml]
scrape_configs:
- job_name: app
  params: {module: [a, b]}
  static_configs:
  - {targets: ["127.0.0.1:PORT"], labels: {team: web, __meta_zone: z1, tier: Gold}}
  - {targets: ["127.0.0.1:1"], labels: {team: gone}}
  relabel_configs:
  - {source_labels: [team, __meta_zone], separator: "-", target_label: place}
  - {source_labels: [__meta_zone], regex: "z(.)", target_label: zone, replacement: "number-${1}"}
  - {action: labelmap, regex: "__meta_(.*)", replacement: "from_$1"}
  - {action: lowercase, source_labels: [tier], target_label: tier}
  - {action: hashmod, source_labels: [__address__], modulus: 7, target_label: shard}
  - {action: labeldrop, regex: "team"}
  metric_relabel_configs:
  - {action: drop, source_labels: [__name__], regex: "dropped_.*"}
  - {action: replace, source_labels: [code], regex: "(.)..", target_label: class, replacement: "${1}xx"}
"""
RULES = """
groups:
- name: g
  rules:
  - {record: "class:requests:sum", expr: "sum by (class) (requests_total)", labels: {from: rule}}
  - {alert: Down, expr: up == 0, for: 0s, labels: {severity: page},
     annotations: {text: "{{ $labels.instance }} at {{ $value }} is {{ humanize 1234567 }}"}}
"""


@pytest.fixture
async def exporter() -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=BODY)

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def fetch(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return json.loads(error.read())


async def series(url: str) -> dict[str, str]:
    """Every series there is now, with its value."""
    path = "/api/v1/query?query=%7B__name__%21%3D%22%22%7D"
    answer = await asyncio.to_thread(fetch, url + path)
    return {
        json.dumps(entry["metric"], sort_keys=True): entry["value"][1]
        for entry in answer["data"]["result"]
        if not entry["metric"]["__name__"].startswith(
            ("scrape_duration", "ALERTS_FOR_STATE", "scrape_series_added")
        )
    }


def shape(value: Any) -> Any:
    """The keys of an answer, and the kinds of its values; lists by their first entry."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


def missing(theirs: Any, ours: Any, path: str = "") -> list[str]:
    """What is in their answer and not, or differently, in ours."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            found
            for key, entry in theirs.items()
            for found in (missing(entry, ours[key], f"{path}.{key}") if key in ours else [f"{path}.{key}"])
        ]
    if isinstance(theirs, list) and isinstance(ours, list):
        return missing(theirs[0], ours[0], path + "[]") if theirs and ours else []
    return [] if theirs == ours else [f"{path}: {theirs} is {ours}"]


async def targets(url: str) -> list[tuple[dict[str, str], str, str]]:
    """Labels, URL and health of each target."""
    found = (await asyncio.to_thread(fetch, f"{url}/api/v1/targets"))["data"]["activeTargets"]
    return sorted(((t["labels"], t["scrapeUrl"], t["health"]) for t in found), key=lambda entry: str(entry))


ENDPOINTS = [
    "targets",
    "rules",
    "alerts",
    "metadata?metric=requests_total",
    "targets/metadata?metric=requests_total",
    "labels",
    "label/class/values",
    "series?match[]=requests_total",
    "query?query=sum(requests_total)",
    "query?query=1%2B1",
    "query?query=requests_total{",
    "query?query=requests_total%2Bon()latency_seconds_bucket",
    "query_range?query=up&start=10&end=5&step=1",
    "query_range?query=up&start=0&end=100000&step=1",
    "series",
    "query?query=up&time=x",
    "alertmanagers",
    "format_query?query=sum(up)by(job)",
    "scrape_pools",
    "status/buildinfo",
    "status/runtimeinfo",
]
# Texts that 3.x words in another way than 2.42
WORDED_ANEW = (
    "query?query=requests_total{",
    "query?query=requests_total%2Bon()latency_seconds_bucket",
    "query?query=up&time=x",
)


async def test_same_series_and_answers(start: Callable[..., Any], exporter: int, tmp_path: Path) -> None:
    config = CONFIG.replace("PORT", str(exporter))
    directory = tmp_path / "peer"
    directory.mkdir()
    (directory / "prometheus.yml").write_text(config)
    (directory / "rules.yml").write_text(RULES)
    port = free_port()
    peer = await asyncio.create_subprocess_exec(
        str(PEER),
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    theirs_url = f"http://127.0.0.1:{port}"
    try:
        async with start(config, rules=RULES) as server:

            async def settled() -> bool:
                try:
                    theirs, ours = await asyncio.gather(series(theirs_url), series(server.url))
                except (OSError, json.JSONDecodeError):  # not up, or not ready yet
                    return False
                return theirs == ours and any("severity" in name for name in ours) and "class:" in str(ours)

            try:
                await server.until(settled)
            except TimeoutError:
                assert await series(server.url) == await series(theirs_url)
            for endpoint in ENDPOINTS:
                theirs, ours = await asyncio.gather(
                    asyncio.to_thread(fetch, f"{theirs_url}/api/v1/{endpoint}"),
                    asyncio.to_thread(fetch, f"{server.url}/api/v1/{endpoint}"),
                )
                assert missing(shape(theirs), shape(ours)) == [], endpoint
                if theirs["status"] == "error" and endpoint not in WORDED_ANEW:
                    assert (theirs["errorType"], theirs["error"]) == (ours["errorType"], ours["error"])
            assert await targets(server.url) == await targets(theirs_url)
    finally:
        peer.terminate()
        await peer.wait()
