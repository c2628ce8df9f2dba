"""Debian's Alertmanager and ours, on one configuration and the same alerts."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from alerting_rig import Sink, Start, until

CONFIG = """
route:
  receiver: hook
  group_by: [alertname, cluster]
  group_wait: 100ms
  group_interval: 200ms
  routes:
  - {{matchers: ['severity="page"'], receiver: page, continue: true, group_by: ['...']}}
  - {{match_re: {{severity: 'page|warn'}}, receiver: slack}}
inhibit_rules:
- {{source_matchers: ['alertname="Source"'], target_matchers: ['severity="info"'], equal: [cluster]}}
receivers:
- {{name: hook, webhook_configs: [{{url: '{url}/{who}/hook'}}]}}
- {{name: page, pagerduty_configs: [{{routing_key: k, url: '{url}/{who}/page'}}]}}
- {{name: slack, slack_configs: [{{api_url: '{url}/{who}/slack', channel: c, send_resolved: true}}]}}
"""
ALERTS = [
    {"labels": {"alertname": "Source", "cluster": "a"}, "annotations": {"summary": "é & <b>"}},
    {"labels": {"alertname": "Low", "cluster": "a", "severity": "info"}},
    {
        "labels": {"alertname": "Low", "cluster": "b", "severity": "info"},
        "generatorURL": "http://p/g?x=1&y=2",
    },
    {"labels": {"alertname": "High", "instance": "1", "job": "z", "severity": "page"}},
    {"labels": {"alertname": "High", "instance": "2", "job": "y", "severity": "page"}},
]
# Present only here, or different by nature: our version is newer, and each has its own address and clock.
_OWN = {
    "notification_reason",
    "routeLabels",
    "externalURL",
    "startsAt",
    "endsAt",
    "updatedAt",
    "client_url",
    "title_link",
}
_OWN |= {"fallback", "custom_details", "mutedBy", "generatorURL", "source"}


def bare(value: Any) -> Any:
    """Without what may differ."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if k not in _OWN}
    return [bare(v) for v in value] if isinstance(value, list) else value


async def feed(url: str) -> tuple[Any, Any]:
    async with aiohttp.ClientSession() as http:
        async with http.post(url + "/api/v2/alerts", json=ALERTS) as response:
            assert response.status == 200
        await asyncio.sleep(0)
        found = []
        for path in ("/api/v2/alerts", "/api/v2/alerts/groups"):
            async with http.get(url + path) as response:
                found.append(bare(await response.json()))
        return found[0], found[1]


@pytest.mark.peer
@pytest.mark.skipif(
    shutil.which("prometheus-alertmanager") is None, reason="prometheus-alertmanager is not installed"
)
async def test_same_groups_same_notifications(start: Start, sink: Sink, tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (tmp_path / "am.yml").write_text(CONFIG.format(url=sink.url, who="theirs"))
    process = await asyncio.create_subprocess_exec(
        "prometheus-alertmanager", f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/peer",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    ours = await start(CONFIG.format(url=sink.url, who="ours"))
    theirs = f"http://127.0.0.1:{port}"
    try:
        await _up(theirs)
        mine, other = await feed(ours.url), await feed(theirs)
        assert {a["fingerprint"]: a["labels"] for a in mine[0]} == {
            a["fingerprint"]: a["labels"] for a in other[0]
        }
        assert [g["labels"] for g in mine[1]] == [g["labels"] for g in other[1]]
        assert [g["receiver"] for g in mine[1]] == [g["receiver"] for g in other[1]]
        for receiver, count in (("hook", 2), ("page", 2), ("slack", 1)):
            await until(
                lambda r=receiver, n=count: all(
                    len(sink.bodies(f"/{w}/{r}")) >= n for w in ("ours", "theirs")
                )
            )
            told = [_sorted(sink.bodies(f"/{who}/{receiver}")[:count]) for who in ("ours", "theirs")]
            assert told[0] == told[1]
    finally:
        process.terminate()
        await process.wait()


def _sorted(bodies: list[Any]) -> list[Any]:
    return sorted((bare(body) for body in bodies), key=str)


async def _up(url: str) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError, aiohttp.ClientError):
                async with http.get(url + "/-/ready") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
