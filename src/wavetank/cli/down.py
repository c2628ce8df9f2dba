"""``wavetank down``: end standing tanks."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import click

__all__ = ["command"]

DOWN_SECONDS = 20.0


@click.command()
@click.argument("tank", required=False)
def command(tank: str | None) -> int:
    """End the standing tank with this id, or the only one there is; its processes and files go with it."""
    from wavetank.clock import RealClock, pause
    from wavetank.errors import InputError, InternalError, did_you_mean
    from wavetank.rehearsal.registry import running

    entries = {e.tank: e for e in running() if e.kind == "tank"}
    if tank is None:
        if not entries:
            click.echo("no standing tank is running")
            return 0
        if len(entries) > 1:
            raise InputError("several tanks are running", fix=f"name one: {', '.join(entries)}")
        tank = next(iter(entries))
    if tank not in entries:
        raise InputError(f"no tank {tank!r} is running", fix=did_you_mean(tank, entries))
    with suppress(ProcessLookupError):
        os.kill(entries[tank].pid, signal.SIGTERM)
    clock = RealClock()
    end = clock.monotonic() + DOWN_SECONDS
    while any(e.tank == tank for e in running()):
        if clock.monotonic() > end:
            raise InternalError(
                f"tank {tank} did not end in {DOWN_SECONDS:.0f} s", at=entries[tank].directory
            )
        pause(0.05)
    click.echo(f"tank {tank} has ended")
    return 0
