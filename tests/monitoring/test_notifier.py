"""Alerts reach the Alertmanagers: payload, relabelling, queue, failures and draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
        self.answers = asyncio.Event()
        self.answers.set()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self.answers.wait()
        self.batches.append(msgspec.json.decode(body))
        return web.Response(status=self.status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/prefix/api/v2/alerts", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    made.answers.set()
    await runner.cleanup()


def config(*ports: int, extra: str = "") -> Config:
    targets = [f"127.0.0.1:{port}" for port in ports]
    return parse_config(
        "global: {external_labels: {cluster: eu}}\n"
        f"alerting:\n{extra}  alertmanagers:\n  - path_prefix: /prefix\n"
        f"    static_configs: [{{targets: {targets}}}]\n"
    )


def alert(name: str, **times: int) -> ActiveAlert:
    return ActiveAlert(
        Labels.of(alertname=name), {"text": "t", "none": ""}, 1.0, 1000, AlertState.FIRING, **times
    )


class Counted:
    def __init__(self) -> None:
        self.outcomes: list[tuple[str, int]] = []

    def __call__(self, outcome: str, url: str, alerts: int, seconds: float) -> None:
        if alerts:
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
    await notifier.apply(config(receiver.port, extra=rules))
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


def names(receiver: Receiver) -> list[str]:
    return [entry["labels"]["alertname"] for batch in receiver.batches for entry in batch]


async def test_nobody_to_hear_drops_alerts() -> None:
    counted = Counted()
    notifier = Notifier(RealClock(), {}, "", count=counted)
    notifier.send([alert("A"), alert("B")], "up")
    assert (notifier.queued, counted.outcomes) == ({}, [("dropped", 2)])
    await notifier.close()


async def test_one_that_hangs_holds_up_nobody_else_and_its_full_queue_drops_the_oldest() -> None:
    counted = Counted()
    async with receiving() as hanging, receiving() as well:
        hanging.answers.clear()
        notifier = Notifier(RealClock(), {}, "", queue_capacity=2, batch_size=1, count=counted)
        await notifier.apply(config(hanging.port, well.port))
        await until(lambda: len(notifier.queued) == 2)
        for i, name in enumerate("ABCDE"):
            notifier.send([alert(name)], "up")
            await until(lambda count=i + 1: len(well.batches) == count)
        assert names(well) == list("ABCDE")
        queued = {url.split(":")[2].split("/")[0]: count for url, count in notifier.queued.items()}
        assert queued == {str(hanging.port): 2, str(well.port): 0}
        hanging.answers.set()
        await until(lambda: len(hanging.batches) == 3)
        assert names(hanging) == ["A", "D", "E"]
        assert counted.outcomes.count(("dropped", 1)) == 2
        await notifier.close()


async def test_what_is_queued_outlives_a_reload(receiver: Receiver) -> None:
    receiver.answers.clear()
    notifier = Notifier(RealClock(), {}, "", batch_size=1)
    await notifier.apply(config(receiver.port))
    await until(lambda: notifier.queued)
    notifier.send([alert("A"), alert("B")], "up")
    await until(lambda: list(notifier.queued.values()) == [1])  # A is on its way
    await notifier.apply(config(receiver.port))
    receiver.answers.set()
    await until(lambda: {"A", "B"} <= set(names(receiver)))
    await notifier.close()


async def test_one_that_is_gone_hears_what_was_queued(receiver: Receiver) -> None:
    notifier = Notifier(RealClock(), {}, "")
    await notifier.apply(config(receiver.port))
    await until(lambda: notifier.queued)
    notifier.send([alert("A")], "up")
    notifier._on_groups("config-0", [])
    assert notifier.queued == {}
    await until(lambda: names(receiver) == ["A"])
    await notifier.close()


@pytest.mark.parametrize("drain", [True, False])
async def test_draining_at_the_end(receiver: Receiver, drain: bool) -> None:
    notifier = Notifier(RealClock(), {}, "", batch_size=1)
    await notifier.apply(config(receiver.port))
    await until(lambda: notifier.queued)
    notifier.send([alert(name) for name in "ABCDE"], "up")
    await notifier.close(drain=drain)
    assert (set(names(receiver)) == set("ABCDE")) is drain
