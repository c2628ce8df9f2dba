"""Remote write: what ten outages and restarts of either side lose, and what receiving costs.

Usage: python bench/monitoring_remote.py [outages samples_each]

The sender follows a real log; the receiver is a storage of ours behind HTTP that refuses connections or
answers 503 during outages, and is closed and opened again. Prints samples written, received, lost and sent
twice; then CPU per sample of receiving 1.0 and 2.0 requests of 2,000 samples.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from aiohttp import web

from wavetank.clock import RealClock
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.monitoring.config import parse_config
from wavetank.monitoring.remote.codec import pack
from wavetank.monitoring.remote.known_series import KnownSeries
from wavetank.monitoring.remote.payload import Item, request_v1, request_v2
from wavetank.monitoring.remote.receive import V1, V2, message_of, store_body
from wavetank.monitoring.remote.sender import Sender
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

SERIES = 50
EVERY = [Matcher(MatchType.EQUAL, METRIC_NAME, "m")]


class Receiver:
    """A storage behind HTTP, which can be away."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.db = DB.open(directory, Options(), RealClock())
        self.away = False
        self.taken = 0
        self.known = KnownSeries()

    def restart(self) -> None:
        self.db.close()
        self.db = DB.open(self.directory, Options(), RealClock())
        self.known.forget()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.away:
            return web.Response(status=503)
        message = message_of(request.headers["Content-Type"]) or V1
        self.taken += store_body(self.db, body, message, self.known).samples
        return web.Response(status=204)


async def outages(count: int, samples: int, directory: Path) -> None:
    receiver = Receiver(directory / "receiver")
    app = web.Application()
    app.router.add_post("/write", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/write"
    queue = "queue_config: {batch_send_deadline: 50ms, max_backoff: 100ms}"
    (config,) = parse_config(f"remote_write: [{{url: '{url}', {queue}}}]").remote_write
    db = DB.open(directory / "sender", Options(), RealClock())

    def sender() -> Sender:
        made = Sender(config, {}, db.path, RealClock(), dict)
        made.start()
        return made

    sending = sender()
    written = 0
    for i in range(2 * count):
        appender = db.appender()
        for s in range(SERIES):
            ref = db.series_ref(Labels.of(__name__="m", s=str(s)))
            for k in range(samples // SERIES):
                appender.append(ref, None, i * 1_000_000 + k, float(k))
                written += 1
        appender.commit()
        receiver.away = i % 2 == 0
        await asyncio.sleep(0.15)
        if i % 4 == 1:
            await sending.close(0.0)
            sending = sender()
        if i % 4 == 3:
            receiver.restart()
    receiver.away = False
    deadline = time.monotonic() + 60
    stored = 0
    while stored < written and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        stored = len(receiver.db.select(EVERY, 0, 1 << 50).timestamps_ms)
    await sending.close(1.0)
    print(
        f"{count} outages, {count // 2} restarts of each side: {written} samples written, {stored} stored,"
        f" {written - stored} lost, {receiver.taken - stored} sent twice"
    )
    db.close()
    await runner.cleanup()
    receiver.db.close()


def receiving(directory: Path) -> None:
    for message in (V1, V2):
        db = DB.open(directory / message, Options(), RealClock())
        labels = [
            Labels.of(__name__="m", job="a", instance=f"10.0.0.{i % 200}:9100", path=f"/v1/{i}", code="200")
            for i in range(2000)
        ]
        seconds = []
        known = KnownSeries()
        for turn in range(30):
            items = [Item(entry, [(turn * 15_000, float(turn))]) for entry in labels]
            data = request_v1(items) if message == V1 else request_v2(items, lambda name: None)
            body = pack(data)
            began = time.process_time()
            store_body(db, body, message, known)
            seconds.append(time.process_time() - began)
        each = statistics.median(seconds[5:]) / 2000
        print(
            f"receiving {message}: {each * 1e6:.2f} us a sample, {1 / each / 1000:.0f} K samples a CPU second"
        )
        db.close()


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    count, samples = [*given, *(10, 5000)[len(given) :]]
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(outages(count, samples, Path(name)))
        receiving(Path(name))
