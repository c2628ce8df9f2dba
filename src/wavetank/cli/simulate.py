"""``wavetank simulate DIR``: the rehearsal of a directory in virtual time."""

from __future__ import annotations

from pathlib import Path

import click

from wavetank.cli._reports import report_options

__all__ = ["command"]


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@report_options("simulation")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of arrivals, models and phases.")
@click.option("--workload", type=click.Path(path_type=Path), help="A day, a trace, history: not the stages.")
@click.option("--from", "since", help="Begin the load this far into it, e.g. 8h.")
@click.option("--until", "--to", help="Stop the load this far into it, e.g. 10h.")
@click.option(
    "--stepped", is_flag=True, help="Requests as a flow, a second a step: for weeks. No percentiles."
)
@click.option("--runs", type=int, default=1, show_default=True, help="Runs with other seeds: the spread.")
@click.option(
    "--compare", type=click.Path(path_type=Path),
    help="A rehearsal's report.json, or its directory: print the differences, draw both.",
)  # fmt: skip
@click.option(
    "--patch", "patches", type=click.Path(path_type=Path), multiple=True,
    help="Merge the patches in this file into the manifests, e.g. what a sweep recommends.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep journal and TSDB in OUT/run.")
@click.option("--quiet", is_flag=True, help="No progress: only the verdict.")
def command(
    directory: Path,
    out: Path | None,
    files: dict[str, Path],
    seed: int,
    workload: Path | None,
    since: str | None,
    until: str | None,
    stepped: bool,
    runs: int,
    compare: Path | None,
    patches: tuple[Path, ...],
    keep: bool,
    quiet: bool,
) -> int:
    """Simulate the rehearsal described in DIRECTORY in virtual time and report whether it held.

    DIRECTORY is the one that `wavetank rehearse` takes: same manifests, stages, SLOs and monitoring. How its
    pods behave is in its model.yaml; what that leaves open is assumed, and the report says so. The exit code
    is 0 if every SLO held, 1 if one did not, 2 for bad input, 3 for a fault of ours.
    """
    from wavetank.rehearsal.simulated import Options, run

    return run(
        Options(
            directory=directory,
            out=out or directory / "simulation",
            files=files,
            seed=seed,
            workload=workload,
            since=since,
            until=until,
            stepped=stepped,
            runs=runs,
            compare=compare,
            patches=patches,
            keep=keep,
            quiet=quiet,
        )
    )
