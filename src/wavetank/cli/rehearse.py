"""``wavetank rehearse DIR``: the main job."""

from __future__ import annotations

from pathlib import Path

import click

from wavetank.cli._reports import report_options

__all__ = ["command"]


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@report_options("report")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of arrivals and phases.")
@click.option("--quiet", is_flag=True, help="No progress: only the verdict.")
@click.option("--keep", is_flag=True, help="Keep the run directory (journals, logs, TSDB) and name it.")
@click.option("--emulate-kubernetes", metavar="1.3x", help="Whose rules the HPA follows, e.g. 1.36.")
@click.option(
    "--patch", "patches", type=click.Path(path_type=Path), multiple=True,
    help="Merge the patches in this file into the manifests, e.g. what a sweep recommends.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Only check the input; start nothing.")
def command(
    directory: Path,
    out: Path | None,
    files: dict[str, Path],
    seed: int,
    quiet: bool,
    keep: bool,
    emulate_kubernetes: str | None,
    patches: tuple[Path, ...],
    check: bool,
) -> int:
    """Rehearse the service described in DIRECTORY and report whether it held.

    DIRECTORY holds a rehearsal.yaml that names manifests, a locustfile, stages and SLOs. The exit code is 0
    if every SLO held, 1 if one did not, 2 for bad input, 3 for a fault of ours.
    """
    from wavetank.autoscaling.hpa.options import parse_release
    from wavetank.rehearsal.run import Options, run

    if emulate_kubernetes is not None:
        parse_release(emulate_kubernetes)

    return run(
        Options(
            directory=directory,
            out=out or directory / "report",
            files=files,
            seed=seed,
            quiet=quiet,
            keep=keep,
            check_only=check,
            emulate_kubernetes=emulate_kubernetes,
            patches=patches,
        )
    )
