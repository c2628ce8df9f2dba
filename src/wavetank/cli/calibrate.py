"""``wavetank calibrate DIR``: measure the pods' model for simulations."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--run", type=click.Path(path_type=Path), help="Measure this kept run; rehearse nothing.")
@click.option("--rps", nargs=2, type=float, help="The two loads. [default: a tenth and a half of the peak]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of arrivals and phases.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    directory: Path, run: Path | None, rps: tuple[float, float] | None, seed: int, quiet: bool
) -> int:
    """Measure service time, CPU per request and start-up of DIRECTORY's pods at two loads.

    Rehearses for about a minute and writes DIRECTORY/model.yaml, which `wavetank simulate` and
    `wavetank sweep` take. What cannot be measured stays as an earlier model.yaml has it.
    """
    from wavetank.rehearsal.calibrating import calibrate_directory, calibrate_run

    if run is not None:
        click.echo(f"wrote {calibrate_run(run, directory)}")
    else:
        calibrate_directory(directory, rates=rps or None, seed=seed, quiet=quiet)
    return 0
