"""Load that a console starts in a standing tank: the rehearsal's own locustfile, by stages or by hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from wavetank.clock import Clock
from wavetank.errors import InputError, WavetankError
from wavetank.journal import FileJournal
from wavetank.load.endpoint import metrics_endpoint
from wavetank.load.generator import LoadGenerator, LoadOptions, LoadTarget
from wavetank.load.results import Results, Second, Snapshot
from wavetank.rehearsal.console_facts import ConsoleFacts
from wavetank.rehearsal.outcome.load import load_row, load_summary
from wavetank.rehearsal.outcome.record import LOAD_FILE, read_record, write_record
from wavetank.rehearsal.plan import Plan, make_plan
from wavetank.rehearsal.settings import RunFiles
from wavetank.web.tank import LoadWish

__all__ = ["ConsoleLoad"]


class ConsoleLoad:
    """One load at a time. ``open`` serves its metrics, whether load runs or not; close it."""

    def __init__(self, directory: Path, facts: ConsoleFacts, clock: Clock) -> None:
        assert facts.plan is not None
        self._directory = directory
        self._facts = facts
        self._clock = clock
        self._plan_directory = Path(facts.plan)
        self._journal: FileJournal | None = None
        self._generator: LoadGenerator | None = None
        self._running: asyncio.Task[None] | None = None
        self._state = "idle"
        self._wish = LoadWish("stages")
        self._error = ""
        self._ui_port: int | None = None
        self._began_at = 0.0
        self._idle = Results()
        self._resources = AsyncExitStack()

    async def open(self) -> None:
        endpoint = metrics_endpoint(self._snapshot, self._facts.load_host, self._facts.load_port)
        await self._resources.enter_async_context(endpoint)
        self._journal = FileJournal(RunFiles(self._directory).journal("load"), self._clock)

    async def close(self) -> None:
        await self.stop()
        await self._resources.aclose()
        if self._journal is not None:
            self._journal.close()

    def _snapshot(self) -> Snapshot:
        return self._generator.snapshot() if self._generator else self._idle.snapshot(self._clock.now())

    def state(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "state": self._state,
            "mode": self._wish.mode,
            "rps": self._wish.rps,
            "users": self._wish.users,
            "error": self._error,
            "locustfile": str(self._plan_directory),
        }
        if self._generator is not None:
            now = self._generator.snapshot()
            shown["now"] = {
                "users": now.users, "rps": now.rps, "failure_ratio": now.failure_ratio,
                "workers": now.workers, "task_exceptions": now.task_exceptions,
                "warnings": list(now.warnings),
            }  # fmt: skip
            running = self._state in ("running", "stopping")
            shown["locust_ui"] = f"http://127.0.0.1:{self._ui_port}/" if running and self._ui_port else ""
            shown["totals"] = load_summary(now, max(1.0, self._clock.now() - self._began_at))
        return shown

    async def start(self, wish: LoadWish) -> None:
        """Returns when requests begin. Raises InputError where load runs already or cannot run."""
        _check(wish)
        if self._state != "idle":
            raise InputError("load runs already", fix="stop it first, or change it")
        self._state, self._wish, self._error = "starting", wish, ""
        try:
            plan = await asyncio.to_thread(make_plan, self._plan_directory)
            self._ui_port = _free_port() if wish.locust_ui else None
            self._generator = generator = self._make(plan)
            await generator.start()
        except WavetankError as error:
            self._state, self._error = "idle", str(error)
            raise
        self._began_at = self._clock.now()
        record = read_record(self._directory)
        record.load_started_at, record.load_ended_at = self._began_at, None
        write_record(self._directory, record)
        self._state = "running"
        self._running = asyncio.create_task(self._run(generator, plan, wish))

    async def change(self, wish: LoadWish) -> None:
        """A new rate or number of users for load that runs by hand."""
        _check(wish)
        if self._state != "running" or self._generator is None:
            raise InputError("no load runs", fix="start it")
        if wish.mode == "stages" or self._wish.mode == "stages":
            raise InputError("stages play to their end", fix="stop the load, then start it by rate or users")
        await self._apply(self._generator, wish)
        self._wish = wish

    async def stop(self) -> None:
        """End the load and wait until its processes are gone."""
        if self._generator is None or self._state not in ("running", "stopping"):
            return
        self._state = "stopping"
        await self._generator.stop("stopped in the console")
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    # --- inside

    def _make(self, plan: Plan) -> LoadGenerator:
        url = plan.target.url if plan.target.port is None else self._facts.gateway_url
        assert url is not None
        options = LoadOptions(
            locustfiles=(plan.locustfile,),
            directory=RunFiles(self._directory).load,
            target=LoadTarget(url, plan.target.host),
            cwd=plan.directory,
            processes=plan.spec.load.processes,
            web_port=self._ui_port,
        )
        if plan.spec.load.users_max is not None:
            options = replace(options, users_max=plan.spec.load.users_max)
        return LoadGenerator(self._clock, self._journal, options)

    async def _run(self, generator: LoadGenerator, plan: Plan, wish: LoadWish) -> None:
        with (self._directory / LOAD_FILE).open("ab", buffering=0) as rows:
            generator.listeners.append(lambda second: _write(rows.write, second))
            try:
                if wish.mode == "stages":
                    await generator.run_stages(plan.stages)
                    await generator.stop("all stages done")
                else:
                    await self._apply(generator, wish)
                    while self._state == "running" and generator.exit_code is None:
                        await self._clock.sleep(0.5)
            except WavetankError as error:
                self._error = str(error)
            await generator.stop("finished")
        record = read_record(self._directory)
        record.load_ended_at = self._clock.now()
        write_record(self._directory, record)
        self._state = "idle"

    async def _apply(self, generator: LoadGenerator, wish: LoadWish) -> None:
        if wish.mode == "rps":
            await generator.set_rate(wish.rps)
        else:
            await generator.set_users(wish.users)


def _write(write: Callable[[bytes], object], second: Second) -> None:
    write(msgspec.json.encode(load_row(second)) + b"\n")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _check(wish: LoadWish) -> None:
    if wish.mode == "rps" and not 0 < wish.rps <= 100_000:
        raise InputError(f"{wish.rps:g} requests/s is not a rate", fix="between 0 and 100,000")
    if wish.mode == "users" and not 0 < wish.users <= 100_000:
        raise InputError(f"{wish.users} is no number of users", fix="between 1 and 100,000")
