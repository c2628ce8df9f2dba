"""A real small HTTP server, locustfiles on disk, and generators that are always stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from load_target_server import Server

from wavetank.clock import RealClock
from wavetank.journal import MemoryJournal
from wavetank.load.generator import LoadGenerator, LoadOptions
from wavetank.load.target import LoadTarget


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    state = Server()
    state.gate.set()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(state.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
    state.port = listening.sockets[0].getsockname()[1]
    yield state
    listening.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await listening.wait_closed()


@pytest.fixture
def locustfile(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str, name: str = "locustfile.py") -> Path:
        path = tmp_path / name
        path.write_text(dedent(text))
        return path

    return write


Make = Callable[..., LoadGenerator]


@pytest.fixture
async def generator(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[LoadGenerator] = []

    def make(path: Path, target: LoadTarget | None = None, seed: int = 1, **more: Any) -> LoadGenerator:
        clock = RealClock(seed)
        options = LoadOptions((path,), tmp_path / "logs", target, **more)
        load = LoadGenerator(clock, MemoryJournal(clock), options)
        made.append(load)
        return load

    yield make
    for load in made:
        await load.stop("test over")
