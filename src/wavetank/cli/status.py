"""``wavetank status``: what runs here, and what this machine can enforce."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(output: str) -> int:
    """Show the tanks that run on this machine, and who enforces CPU and memory limits."""
    import msgspec

    from wavetank.clock import RealClock
    from wavetank.rehearsal.console_facts import console_url
    from wavetank.rehearsal.machine import describe_machine
    from wavetank.rehearsal.registry import abandoned, running

    machine = describe_machine()
    entries, left = running(), abandoned()
    if output == "json":
        everything = {"machine": machine, "tanks": entries, "leftOver": left}
        click.echo(msgspec.json.format(msgspec.json.encode(everything)).decode())
        return 0
    for name, value in machine.items():
        click.echo(f"{name:11} {value}")
    now = RealClock().now()
    for entry in entries:
        click.echo("")
        click.echo(
            f"{entry.kind} {entry.tank} ({entry.name}), up {now - entry.started_at:.0f} s, pid {entry.pid}"
        )
        for name, value in (
            ("console", console_url(entry.monitoring_url, Path(entry.directory))),
            ("enforcer", entry.enforcer),
            ("API", entry.api_url),
            ("monitoring", entry.monitoring_url),
            ("kubeconfig", entry.kubeconfig),
            ("files", entry.directory),
        ):
            click.echo(f"  {name:11} {value}")
        for url in entry.gateway_urls:
            click.echo(f"  {'gateway':11} {url}")
    for entry in left:
        click.echo("")
        click.echo(
            f"left over   {entry.kind} {entry.tank} ({entry.name}): its owner was killed, not its processes"
        )
        click.echo(f"  {'end it':11} wavetank down {entry.tank}")
    if not entries:
        click.echo("tanks       none")
    return 0
