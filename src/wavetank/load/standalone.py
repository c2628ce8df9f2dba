"""``wavetank load``: one load run by itself, with a live view and a summary.

Progress goes to stderr, figures to stdout. Ctrl-C and SIGTERM end the load early and still give the summary
of what happened.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from wavetank.clock import Clock, RealClock
from wavetank.errors import InputError
from wavetank.load.endpoint import metrics_endpoint
from wavetank.load.generator import LoadGenerator, LoadOptions, UserClasses
from wavetank.load.stages import (
    STAGE_SECONDS_MAX,
    Stage,
    UserStage,
    parse_duration,
    parse_stages,
    read_trace,
    total_seconds,
    trace_stage,
)
from wavetank.load.summary import describe_stage, document, live_table, milliseconds, summary_table
from wavetank.load.thresholds import Threshold, Verdict, judge

__all__ = ["Job", "plan", "run"]


@dataclass(frozen=True, slots=True)
class Job:
    """What to run. ``stages`` None runs the locustfile's own LoadTestShape."""

    stages: list[Stage] | None
    thresholds: list[Threshold]
    options: LoadOptions
    keep_logs: bool
    seed: int
    metrics_port: int | None
    exit_code_on_error: int
    json: bool
    live: bool


def plan(
    stages: str | None,
    *,
    trace: Path | None,
    peak: float | None,
    speed: float,
    poisson: bool,
    users: int | None,
    spawn_rate: float | None,
    run_time: str | None,
) -> list[Stage] | None:
    """Stages from the options; None if none were given. Raises InputError for options that contradict."""
    given = [
        name for name, value in (("--stages", stages), ("--trace", trace), ("-u", users)) if value is not None
    ]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} exclude each other", fix="give one of them")
    if users is None and (spawn_rate is not None or run_time is not None):
        raise InputError("-r and -t need -u", fix="add -u, or write the duration into --stages")
    if stages is not None:
        return parse_stages(stages)
    if trace is not None:
        arrivals: list[Stage] = [
            trace_stage(
                read_trace(trace), time_scale=speed, peak=peak, arrivals="poisson" if poisson else "constant"
            )
        ]
        return arrivals
    if users is not None:
        duration = STAGE_SECONDS_MAX if run_time is None else parse_duration(run_time)
        return [UserStage(duration, users, None, spawn_rate or 1.0)]  # Locust's default rate
    return None


def run(job: Job) -> int:
    """Run the job; returns the exit code. Raises WavetankError."""
    with tempfile.TemporaryDirectory(prefix="wavetank-load-") as directory:
        if not job.keep_logs:
            job = replace(job, options=replace(job.options, directory=Path(directory)))
        return asyncio.run(_run(job))


async def _run(job: Job) -> int:
    clock = RealClock(job.seed)
    load = LoadGenerator(clock, None, job.options)
    screen = Console(stderr=True)
    try:
        found = await load.check()
        stages = _stages(job, found)
        for warning in found.warnings:
            screen.print(f"[yellow]warning:[/] {escape(warning)}")
        await load.start()
        elapsed = await _drive(job, load, stages, clock, screen)
    finally:
        await load.stop()
    verdicts = [judge(threshold, load.snapshot(), elapsed) for threshold in job.thresholds]
    _print(job, load, stages or [], verdicts, elapsed)
    return _exit_code(job, load, verdicts)


def _stages(job: Job, found: UserClasses) -> list[Stage] | None:
    if job.stages is None and found.shape is None:
        return [UserStage(STAGE_SECONDS_MAX, 1)]  # as Locust: one user until told to stop
    return job.stages


async def _drive(
    job: Job, load: LoadGenerator, stages: list[Stage] | None, clock: Clock, screen: Console
) -> float:
    """Play the stages to their end or to a signal; returns how long load was made, in seconds."""
    began = clock.monotonic()
    loop = asyncio.get_running_loop()
    playing = asyncio.ensure_future(load.run_shape() if stages is None else load.run_stages(stages))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.cancel)
    try:
        async with AsyncExitStack() as around:
            if job.metrics_port is not None:
                port = await around.enter_async_context(
                    metrics_endpoint(load.snapshot, port=job.metrics_port)
                )
                screen.print(f"metrics: http://127.0.0.1:{port}/metrics")
            if job.live and screen.is_terminal:
                watching = asyncio.ensure_future(_watch(load, stages, clock, began, screen))
                around.push_async_callback(_end, watching)
            with suppress(asyncio.CancelledError):
                await playing
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        if not playing.done():
            await _end(playing)
    return clock.now() - load.began_at if load.began_at is not None else 0.0


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _watch(
    load: LoadGenerator, stages: list[Stage] | None, clock: Clock, began: float, screen: Console
) -> None:
    whole = total_seconds(stages) if stages else STAGE_SECONDS_MAX
    with Live(console=screen, transient=True, auto_refresh=False) as live:
        while True:
            index = load.stage_index
            stage = describe_stage(stages[index]) if stages and index is not None else "starting"
            left = whole if whole < STAGE_SECONDS_MAX else None
            live.update(live_table(load.snapshot(), stage, clock.monotonic() - began, left), refresh=True)
            await clock.sleep(0.5)


def _print(
    job: Job, load: LoadGenerator, stages: Sequence[Stage], verdicts: Sequence[Verdict], elapsed: float
) -> None:
    snapshot = load.snapshot()
    if job.json:
        text = msgspec.json.encode(document(snapshot, load.seconds, stages, verdicts, elapsed, job.seed))
        sys.stdout.write(msgspec.json.format(text.decode(), indent=2) + "\n")
        return
    console = Console()
    console.print(summary_table(snapshot, elapsed))
    late50, late99 = snapshot.lateness.percentiles((50, 99))
    if snapshot.scheduled:
        counts = f"{snapshot.scheduled} scheduled, {snapshot.started} started, {snapshot.dropped} dropped"
        late = f"{milliseconds(late50)} ms (p50), {milliseconds(late99)} ms (p99)"
        console.print(f"arrivals: {counts}; started late by {late}")
    for (method, name, error), count in sorted(snapshot.errors.items(), key=lambda item: -item[1]):
        console.print(f"{count} × {method} {name}: {error}", style="red", markup=False)
    if snapshot.interrupted:
        console.print(
            f"{snapshot.interrupted} × a task was cut short because its user was stopped", style="yellow"
        )
    if snapshot.task_exceptions:
        console.print(f"{snapshot.task_exceptions} × a task raised (see the log with --log-dir)", style="red")
    for verdict in verdicts:
        mark = "[green]ok[/]    " if verdict.ok else "[red]failed[/]"
        console.print(f"{mark} {escape(verdict.threshold.text)}  (was {_shown(verdict)})")


def _shown(verdict: Verdict) -> str:
    if verdict.threshold.metric in ("p", "avg", "med", "min", "max"):
        return f"{milliseconds(verdict.value)} ms"
    return f"{verdict.value:.2%}" if verdict.threshold.metric == "failures" else f"{verdict.value:g}"


def _exit_code(job: Job, load: LoadGenerator, verdicts: Sequence[Verdict]) -> int:
    """A code that the locustfile asked for, a failed check, then failures if they are to count."""
    if load.exit_code:
        return load.exit_code
    if not all(verdict.ok for verdict in verdicts):
        return 1
    if load.exit_code is not None:
        return 0
    snapshot = load.snapshot()
    return job.exit_code_on_error if snapshot.failures or snapshot.task_exceptions else 0
