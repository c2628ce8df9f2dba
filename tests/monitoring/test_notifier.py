"""Alerts reach the Alertmanagers: payload, relabelling, queue, failures and draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from wavetank.clock import RealClock
from wavetank.model.labels import Labels
from wavetank.monitoring.config import Config, parse_config
from wavetank.monitoring.notifier import Notifier, payload
from wavetank.monitoring.rules.alert import ActiveAlert, AlertState


class Receiver:
    """A real HTTP server in the place of an Alertmanager."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.status = 200
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.batches.append(msgspec.json.decode(await request.read()))
        return web.Response(status=self.status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/prefix/api/v2/alerts", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def config(port: int, extra: str = "") -> Config:
    return parse_config(
        "global: {external_labels: {cluster: eu}}\n"
        f"alerting:\n{extra}  alertmanagers:\n  - path_prefix: /prefix\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
    )


def alert(name: str, **times: int) -> ActiveAlert:
    return ActiveAlert(
        Labels.of(alertname=name), {"text": "t", "none": ""}, 1.0, 1000, AlertState.FIRING, **times
    )


class Counted:
    def __init__(self) -> None:
        self.outcomes: list[tuple[str, int]] = []

    def __call__(self, outcome: str, url: str, alerts: int) -> None:
        self.outcomes.append((outcome, alerts))


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_payload() -> None:
    firing = alert("A", fired_at_ms=61_000, valid_until_ms=301_000)
    assert payload(firing, "up == 0", {"cluster": "eu"}, "http://x") == {
        "labels": {"alertname": "A", "cluster": "eu"},
        "annotations": {"text": "t"},
        "startsAt": "1970-01-01T00:01:01Z",
        "endsAt": "1970-01-01T00:05:01Z",
        "generatorURL": "http://x/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
    }
    resolved = alert("A", fired_at_ms=61_000, valid_until_ms=301_000, resolved_at_ms=120_000)
    assert payload(resolved, "x", {}, "")["endsAt"] == "1970-01-01T00:02:00Z"


async def test_alerts_arrive_relabelled(receiver: Receiver) -> None:
    rules = "  alert_relabel_configs: [{source_labels: [alertname], regex: Drop, action: drop}]\n"
    counted = Counted()
    notifier = Notifier(RealClock(), {}, "http://x", count=counted)
    await notifier.apply(config(receiver.port, rules))
    await until(lambda: any(notifier.active.values()))
    notifier.send([alert("A"), alert("Drop")], "up")
    await until(lambda: counted.outcomes)
    ((entry,),) = receiver.batches
    assert entry["labels"] == {"alertname": "A", "cluster": "eu"}
    assert counted.outcomes == [("sent", 1)]
    await notifier.close()


async def test_refused_alerts_are_counted(receiver: Receiver) -> None:
    receiver.status = 500
    counted = Counted()
    notifier = Notifier(RealClock(), {}, "http://x", count=counted)
    await notifier.apply(config(receiver.port))
    await until(lambda: any(notifier.active.values()))
    notifier.send([alert("A")], "up")
    await until(lambda: len(counted.outcomes) == 2)
    assert counted.outcomes == [("error", 1), ("dropped", 1)]
    await notifier.close()


async def test_full_queue_drops_the_oldest() -> None:
    counted = Counted()
    notifier = Notifier(RealClock(), {}, "", queue_capacity=2, count=counted)
    notifier.send([alert("A"), alert("B"), alert("C")], "up")
    assert (notifier.queued, counted.outcomes) == (2, [("dropped", 1)])
    await notifier.close()
