"""``wavetank down``: end standing tanks."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wavetank.rehearsal.registry import TankEntry

__all__ = ["command"]

DOWN_SECONDS = 20.0


@click.command()
@click.argument("tank", required=False)
def command(tank: str | None) -> int:
    """End the standing tank with this id, or the only one there is; its processes and files go with it."""
    from wavetank.errors import InputError, did_you_mean
    from wavetank.rehearsal.registry import abandoned, running

    standing = {entry.tank: entry for entry in running() if entry.kind == "tank"}
    left = {entry.tank: entry for entry in abandoned()}
    entries = standing | left
    if tank is None:
        if not entries:
            click.echo("no standing tank is running")
            return 0
        if len(entries) > 1:
            raise InputError("several tanks are running", fix=f"name one: {', '.join(entries)}")
        tank = next(iter(entries))
    if tank not in entries:
        raise InputError(f"no tank {tank!r} is running", fix=did_you_mean(tank, entries))
    if tank in left:
        _sweep(left[tank])
    else:
        _end(standing[tank])
    click.echo(f"tank {tank} has ended")
    return 0


def _end(entry: TankEntry) -> None:
    """Ask the owner to end, and wait until it has."""
    from wavetank.clock import RealClock, pause
    from wavetank.errors import InternalError
    from wavetank.rehearsal.registry import running

    with suppress(ProcessLookupError):
        os.kill(entry.pid, signal.SIGTERM)
    clock = RealClock()
    end = clock.monotonic() + DOWN_SECONDS
    while any(e.tank == entry.tank for e in running()):
        if clock.monotonic() > end:
            raise InternalError(f"tank {entry.tank} did not end in {DOWN_SECONDS:.0f} s", at=entry.directory)
        pause(0.05)


def _sweep(entry: TankEntry) -> None:
    """Do what the warden would have done; what a rehearsal has recorded stays."""
    from wavetank.rehearsal.registry import leave
    from wavetank.warden import sweep

    keep = entry.kind != "tank"
    sweep(entry.tank, [] if keep else [Path(entry.directory)])
    leave(entry.tank)
    if keep:
        click.echo(f"kept        {entry.directory}")
