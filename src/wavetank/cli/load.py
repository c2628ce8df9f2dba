"""``wavetank load``: a locustfile with open-model arrivals and honest latencies."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "-f",
    "--locustfile",
    default="locustfile.py",
    show_default=True,
    help="The locustfile; several with commas.",
)
@click.option(
    "-H", "--host", help="Where to connect, e.g. http://127.0.0.1:8080. [default: the classes' own]"
)
@click.option("--virtual-host", help="The host name that requests carry, where it is not that of --host.")
@click.option("--stages", help="e.g. 30s:5u,60s:10..80rps,2m:80rps@poisson (users, arrival rates, ramps).")
@click.option("--trace", type=click.Path(path_type=Path), help="Play back a CSV of time,rps.")
@click.option("--trace-peak", type=float, help="Scale the trace so that its highest rate is this.")
@click.option(
    "--trace-speed", type=float, default=1.0, show_default=True, help="60 plays an hour in a minute."
)
@click.option(
    "--arrivals", type=click.Choice(["constant", "poisson"]), default="constant", help="Of --trace."
)
@click.option("-u", "--users", type=click.IntRange(min=1), help="Closed model, as Locust: users at once.")
@click.option(
    "-r", "--spawn-rate", type=click.FloatRange(min=0, min_open=True), help="Users started per second."
)
@click.option("-t", "--run-time", help="With -u: stop after this, e.g. 90s, 20m. [default: until Ctrl-C]")
@click.option(
    "--users-max", type=click.IntRange(min=1), help="Users an arrival rate may grow to. [default: 1000]"
)
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Locust workers.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the arrival schedules.")
@click.option("--web-port", type=click.IntRange(0, 65535), help="Serve Locust's web UI on 127.0.0.1.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics on 127.0.0.1.")
@click.option(
    "--check", "checks", multiple=True, help="A threshold, e.g. 'p(99)<300ms' or 'failures<1%@/cart'."
)
@click.option(
    "--exit-code-on-error",
    type=int,
    is_flag=False,
    flag_value=1,
    default=0,
    help="Exit with this (1 if no number follows) when a request failed or a task raised.",
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--log-dir", type=click.Path(path_type=Path), help="Keep Locust's logs here.")
@click.option("--quiet", is_flag=True, help="No live view.")
@click.option("--headless", is_flag=True, hidden=True, help="Accepted for Locust's sake; always so here.")
@click.pass_context
def command(
    ctx: click.Context,
    locustfile: str,
    host: str | None,
    virtual_host: str | None,
    stages: str | None,
    trace: Path | None,
    trace_peak: float | None,
    trace_speed: float,
    arrivals: str,
    users: int | None,
    spawn_rate: float | None,
    run_time: str | None,
    users_max: int | None,
    processes: int,
    seed: int,
    web_port: int | None,
    metrics_port: int | None,
    checks: tuple[str, ...],
    exit_code_on_error: int,
    output: str,
    log_dir: Path | None,
    quiet: bool,
    headless: bool,
) -> int:
    """Run a locustfile, unchanged, in the real Locust.

    With --stages in users (u) it is Locust's closed model; with arrival rates (rps) requests come when they
    are due, however slow the answers, and latency counts from then. Other options and user class names are
    passed on to Locust. Exit codes: 0 fine, 1 a --check failed, 2 bad input, 3 a fault of ours.
    """
    from wavetank.limits import LOAD_USERS_MAX
    from wavetank.load.generator import LoadOptions
    from wavetank.load.standalone import Job, plan, run
    from wavetank.load.target import LoadTarget
    from wavetank.load.thresholds import parse_threshold

    return run(
        Job(
            stages=plan(
                stages,
                trace=trace,
                peak=trace_peak,
                speed=trace_speed,
                poisson=arrivals == "poisson",
                users=users,
                spawn_rate=spawn_rate,
                run_time=run_time,
            ),
            thresholds=[parse_threshold(text) for text in checks],
            options=LoadOptions(
                locustfiles=tuple(Path(part) for part in locustfile.split(",")),
                directory=log_dir or Path(),
                target=None if host is None else LoadTarget(host, virtual_host),
                locust_arguments=tuple(ctx.args),
                users_max=users_max or LOAD_USERS_MAX,
                processes=processes,
                web_port=web_port,
            ),
            keep_logs=log_dir is not None,
            seed=seed,
            metrics_port=metrics_port,
            exit_code_on_error=exit_code_on_error,
            json=output == "json",
            live=not quiet,
        )
    )
