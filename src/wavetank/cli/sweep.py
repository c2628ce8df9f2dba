"""``wavetank sweep DIR``: try many settings in virtual time, and say which to take."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--set", "knobs", multiple=True, metavar="PATH=V1,V2",
    help="A field and its values, e.g. hpa/web.spec.maxReplicas=5,10,20; or a range, 5..20. Repeatable.",
)  # fmt: skip
@click.option("--random", "random_count", type=int, help="Try this many random settings, not the grid.")
@click.option("--bayes", "bayes_count", type=int, help="Let optuna choose this many settings.")
@click.option("--latency", help="What counts as slow, e.g. 300ms. [default: of the latency SLO]")
@click.option("--objective", type=float, help="Share of good requests to keep. [default: of the SLOs]")
@click.option("--core-hour", type=float, default=0.04, show_default=True, help="Price of a requested core.")
@click.option("--gib-hour", type=float, default=0.005, show_default=True, help="Price of a requested GiB.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of phases and of --random.")
@click.option("--workload", type=click.Path(path_type=Path), help="A day, a trace, history: not the stages.")
@click.option("--until", help="Stop the load after this long, e.g. 24h.")
@click.option("--cores", type=int, help="Processes. [default: all cores]")
@click.option("--out", type=click.Path(path_type=Path), help="Where results go. [default: DIR/sweep]")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--top", type=int, default=8, show_default=True, help="Rows of the Pareto front to print.")
@click.option("--verify/--no-verify", default=None, help="Simulate the choice request by request after.")
def command(
    directory: Path,
    knobs: tuple[str, ...],
    random_count: int | None,
    bayes_count: int | None,
    latency: str | None,
    objective: float | None,
    core_hour: float,
    gib_hour: float,
    seed: int,
    workload: Path | None,
    until: str | None,
    cores: int | None,
    out: Path | None,
    output: str,
    top: int,
    verify: bool | None,
) -> int:
    """Try many HPA, Deployment and cluster settings of DIRECTORY's rehearsal in virtual time.

    Prints the Pareto front of cost, bad requests and changes, how much each knob matters, and the cheapest
    setting that keeps the SLOs as a YAML patch. Interrupted, it keeps what is done, and the same command goes
    on from there.
    """
    from wavetank.rehearsal.sweeping import Options, run

    return run(
        Options(
            directory=directory,
            knobs=knobs,
            random_count=random_count,
            bayes_count=bayes_count,
            latency=latency,
            objective=objective,
            core_hour=core_hour,
            gib_hour=gib_hour,
            seed=seed,
            workload=workload,
            until=until,
            cores=cores,
            out=out or directory / "sweep",
            output=output,
            top=top,
            verify=verify,
        )
    )
