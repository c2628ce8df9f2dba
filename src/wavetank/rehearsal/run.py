"""``wavetank rehearse``: check, start, drive, judge, report, clean up.

The order is the promise: nothing is started before the input is right; nothing is judged before the last
second is scraped; whatever ends the run early, what happened so far is reported and nothing stays behind.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from wavetank.analysis.query import Query
from wavetank.clock import Clock, RealClock
from wavetank.errors import InternalError, WavetankError
from wavetank.journal import LineFile
from wavetank.load.endpoint import metrics_endpoint
from wavetank.load.generator import LoadGenerator, LoadOptions, LoadTarget
from wavetank.load.results import Second
from wavetank.process import python_argv
from wavetank.rehearsal.calibrating import measured_model
from wavetank.rehearsal.console_facts import ConsoleFacts, console_url
from wavetank.rehearsal.live import View, choose_view
from wavetank.rehearsal.outcome.build import build_report
from wavetank.rehearsal.outcome.dashboards import with_dashboards
from wavetank.rehearsal.outcome.environment import versions
from wavetank.rehearsal.outcome.load import load_row, load_summary
from wavetank.rehearsal.outcome.record import LOAD_FILE, RunRecord, write_record
from wavetank.rehearsal.plan import Plan, make_plan
from wavetank.rehearsal.registry import enter, leave
from wavetank.rehearsal.report import print_summary
from wavetank.rehearsal.report.model import Report
from wavetank.rehearsal.scrape import LOAD_EXPORTER_PORT, internal_targets, monitoring_config
from wavetank.rehearsal.standing import entry_of
from wavetank.rehearsal.tank import Tank, child_failed
from wavetank.rehearsal.watch import Watch
from wavetank.rehearsal.workload_wait import wait_for_workloads
from wavetank.rehearsal.write import write_reports

__all__ = ["Options", "run"]

SCRAPE_INTERVAL = "2s"
#: After the load: long enough for one more scrape of everything at the slowest interval here.
SETTLE_SECONDS = 5.5


@dataclass(frozen=True, slots=True)
class Options:
    """``files`` names single report files by format; the others go to ``out``."""

    directory: Path
    out: Path
    files: dict[str, Path] = field(default_factory=dict)
    seed: int = 0
    quiet: bool = False
    keep: bool = False
    check_only: bool = False
    emulate_kubernetes: str | None = None
    patches: tuple[Path, ...] = ()


class Interrupted(Exception):
    """Somebody asked the run to end: the reason, for the report."""


def run(options: Options) -> int:
    """Run to the end and return the exit code. Raises WavetankError where nothing could be reported."""
    clock = RealClock(options.seed)
    started_at = clock.now()
    plan = make_plan(options.directory, patches=options.patches)
    if options.emulate_kubernetes is not None:
        plan.spec.cluster.emulate_kubernetes = options.emulate_kubernetes
    console = Console(stderr=True)
    if options.check_only:
        for text in plan.findings:
            console.print(text, highlight=False, markup=False)
        seconds = plan.load_seconds
        console.print(
            f"{plan.name}: the input is right; the load would take {seconds:.0f} s", highlight=False
        )
        return 0
    view = choose_view(console, quiet=options.quiet)
    with view:
        running = _Run(options, plan, clock, view, started_at)
        report = asyncio.run(running.execute())
    print_summary(report, Console())
    if running.stopped_by is not None:
        return 128 + running.stopped_by
    return {"held": 0, "failed": 1, "incomplete": 3}[report.outcome]


class _Run:
    """One rehearsal, from first process to last."""

    def __init__(self, options: Options, plan: Plan, clock: Clock, view: View, started_at: float) -> None:
        self._options = options
        self._plan = plan
        self._clock = clock
        self._view = view
        self.stopped_by: signal.Signals | None = None
        self._tank: Tank | None = None
        self._generator: LoadGenerator | None = None
        self._resources = AsyncExitStack()
        self._load_metrics = ""
        self._record = RunRecord(
            name=plan.name,
            tank="",
            started_at=started_at,
            seed=options.seed,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            directory=str(plan.directory.resolve()),
            out=str(options.out.resolve()),
            formats=list(plan.spec.report.formats),
            versions=versions(),
            workloads=list(plan.workloads),
            nodes=[node.name for node in plan.spec.cluster.nodes],
            slos=list(plan.slos),
            files={kind: str(path.resolve()) for kind, path in options.files.items()},
        )

    async def execute(self) -> Report:
        """Raises WavetankError only where there is no run to report."""
        main = asyncio.current_task()
        assert main is not None
        self._on_signals(main)
        failure: BaseException | None = None
        try:
            await self._start()
            await self._drive()
            self._record.state = "ended"
        except asyncio.CancelledError:
            while main.uncancel():
                pass
            failure = Interrupted(f"stopped by {self.stopped_by.name if self.stopped_by else 'a signal'}")
        except WavetankError as error:
            failure = error
        try:
            return await self._finish(failure)
        finally:
            await self._clean_up()

    def _on_signals(self, main: asyncio.Task[Any]) -> None:
        """The first signal ends the run and reports it; a second one leaves the rest to the warden."""
        loop = asyncio.get_running_loop()

        def asked(number: signal.Signals) -> None:
            if self.stopped_by is not None:
                os._exit(128 + number)
            self.stopped_by = number
            main.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, asked, number)

    # --- the phases

    async def _start(self) -> None:
        plan, clock = self._plan, self._clock
        watch = Watch(self._view, clock, self._record.started_at)
        async with watch.phase("starting"):
            tank = self._tank = await Tank.open(clock, keep=self._options.keep)
            self._record.tank = tank.id
            self._record.monitoring_url = tank.monitoring_url
            self._record.dashboards = list(self._plan.spec.monitoring.dashboards)
            self._save()
            tank.salvage_with(python_argv("wavetank.rehearsal.salvage", str(tank.files.directory)))
            generator = self._generator = self._load_generator(tank)
            host = tank.addresses.load
            endpoint = metrics_endpoint(generator.snapshot, host, LOAD_EXPORTER_PORT)
            port = await self._resources.enter_async_context(endpoint)
            self._load_metrics = f"{host}:{port}"
            await tank.start_monitoring(self._console(tank))
            self._view.say(f"console: {console_url(tank.monitoring_url, tank.files.directory)}")
            checking = asyncio.create_task(generator.check())
            try:
                facts = await tank.start_control_plane(
                    plan.spec.cluster, plan.directory, plan.adapter, plan.spec.monitoring.adapter_url
                )
                self._record.enforcer, self._record.runtime = facts.enforcer, facts.runtime
                self._record.modelled = facts.modelled
                enter(entry_of(tank, kind="rehearsal", name=plan.name, started_at=clock.now(), ports=[]))
                await tank.apply(plan.manifests)
                await checking
                await self._pods_ready(tank)
                for text in plan.findings:
                    self._note(text)
            finally:
                if not checking.done():
                    checking.cancel()
                await asyncio.gather(checking, return_exceptions=True)
        async with watch.phase("loading kernels (they are compiled the first time)"):
            await self._tank.monitor(self._monitoring_config(self._tank))
            await generator.start()

    async def _pods_ready(self, tank: Tank) -> None:
        found = await wait_for_workloads(self._plan.workloads, await tank.client(), self._clock)
        for text in found.pending:
            self._note(text)

    async def _drive(self) -> None:
        assert self._tank is not None and self._generator is not None
        tank, generator = self._tank, self._generator
        self._record.state = "running"
        self._record.load_started_at = self._clock.now()
        self._save()
        rows = LineFile(tank.files.directory / LOAD_FILE)
        self._resources.callback(rows.close)
        generator.listeners.append(lambda second: self._on_second(rows.write, second))
        watch = Watch(self._view, self._clock, self._record.started_at)
        stages = self._or_failure(generator.run_stages(self._plan.stages))
        await watch.load(self._plan, tank, generator, stages)
        await generator.stop("all stages done")
        self._record.load_ended_at = self._clock.now()
        self._save()
        async with watch.phase("last scrapes"):
            await self._or_failure(self._clock.sleep(SETTLE_SECONDS))

    async def _finish(self, failure: BaseException | None) -> Report:
        """The report of what happened; re-raises a failure that came before there was anything to report."""
        if failure is not None and (self._tank is None or self._record.load_started_at is None):
            if isinstance(failure, Interrupted):
                raise InternalError(f"{failure} before the load began; nothing to report") from failure
            raise failure
        assert self._tank is not None
        tank, record = self._tank, self._record
        if self._generator is not None:
            await self._generator.stop("run ended early")
            begun = record.load_started_at or self._clock.now()
            ended = record.load_ended_at or self._clock.now()
            record.load = load_summary(self._generator.snapshot(), ended - begun)
        if failure is not None:
            record.state, record.reason = "interrupted", str(failure)
        record.load_ended_at = record.load_ended_at or self._clock.now()
        record.ended_at = self._clock.now()
        record.figures = await _figures(tank)
        self._save()
        query = tank.query if await tank.query.ready() else None
        if self._options.keep:
            record.files["kept"] = str(tank.files.directory)
        report = await build_report(tank.files.directory, query, record.ended_at)
        if query is not None:
            report = await with_dashboards(report, record)
        if failure is None:
            await self._write_model(report, query)
        return write_reports(report, record)

    async def _write_model(self, report: Report, query: Query | None) -> None:
        """What the run says about its pods, for ``wavetank simulate``; a run may say too little for that."""
        assert self._tank is not None
        directory, out = self._tank.files.directory, self._options.out
        with suppress(WavetankError):
            text = await measured_model(directory, report, self._plan.workloads, query, self._plan.directory)
            if text is not None:
                out.mkdir(parents=True, exist_ok=True)
                (out / "model.yaml").write_text(text)

    async def _clean_up(self) -> None:
        try:
            if self._generator is not None:
                await self._generator.stop("run ended early")
            await self._resources.aclose()
        finally:
            if self._tank is not None:
                leave(self._tank.id)
                await self._tank.close()

    # --- inside

    def _load_generator(self, tank: Tank) -> LoadGenerator:
        target, spec = self._plan.target, self._plan.spec.load
        url = target.url if target.port is None else tank.gateway_url(target.port)
        assert url is not None
        options = LoadOptions(
            locustfiles=(self._plan.locustfile,),
            directory=tank.files.load,
            target=LoadTarget(url, target.host),
            cwd=self._plan.directory,
            processes=spec.processes,
        )
        if spec.users_max is not None:
            options = replace(options, users_max=spec.users_max)
        return LoadGenerator(self._clock, tank.journal, options)

    def _console(self, tank: Tank) -> ConsoleFacts:
        """The console looks on; the load is this process's."""
        folders = [str(self._plan.directory / d) for d in self._plan.spec.monitoring.dashboards]
        url = tank.monitoring_url
        return ConsoleFacts(kind="rehearsal", name=self._plan.name, monitoring_url=url, dashboards=folders)

    def _monitoring_config(self, tank: Tank) -> str:
        nodes = self._plan.spec.cluster.fixed_nodes
        targets = internal_targets(tank.addresses, tank.metrics_address, nodes)
        targets["wavetank/load"] = ("http", "/metrics", [self._load_metrics])
        return monitoring_config(
            self._plan.directory, self._plan.spec.monitoring, targets, tank.files.account, SCRAPE_INTERVAL
        )

    def _on_second(self, write: Callable[[bytes], object], second: Second) -> None:
        if self._record.first_request_at is None and second.requests > second.failures:
            self._record.first_request_at = float(second.second)
        write(msgspec.json.encode(load_row(second)))

    async def _or_failure(self, work: Awaitable[None]) -> None:
        """Do the work, unless a process of the tank ends first: that ends the run."""
        assert self._tank is not None
        task = asyncio.ensure_future(work)
        failed = asyncio.ensure_future(self._tank.failed_child())
        try:
            await asyncio.wait({task, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done() and not task.done():
                raise child_failed(failed.result())
            await task
        finally:
            for one in (task, failed):
                one.cancel()
                with suppress(asyncio.CancelledError, WavetankError):
                    await one

    def _save(self) -> None:
        """Keep the record of the run where the salvage finds it, should this process die."""
        assert self._tank is not None
        try:
            write_record(self._tank.files.directory, self._record)
        except OSError as error:
            self._note(f"the run's record could not be written: {error}; a report needs this process alive")

    def _note(self, text: str) -> None:
        if text not in self._record.notes:
            self._record.notes.append(text)
            self._view.say(text)


async def _figures(tank: Tank) -> dict[str, float]:
    """Memory of the two processes that are ours, and how much the monitoring holds."""
    import psutil

    figures: dict[str, float] = {}
    for name, child in (("control_plane", tank.control_plane), ("monitoring", tank.monitoring)):
        with suppress(psutil.Error, AttributeError):
            process = psutil.Process(child.pid)  # type: ignore[union-attr]
            figures[f"{name}_rss_bytes"] = float(process.memory_info().rss)
            times = process.cpu_times()
            age = max(1.0, RealClock().now() - process.create_time())
            figures[f"{name}_cpu_cores"] = round((times.user + times.system) / age, 4)
    with suppress(WavetankError, KeyError, TypeError):
        stats = (await tank.query.get("status/tsdb"))["headStats"]
        figures["series"] = float(stats["numSeries"])
    return figures
