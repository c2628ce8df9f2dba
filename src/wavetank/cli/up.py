"""``wavetank up [DIR]``: a standing tank."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--emulate-kubernetes", metavar="1.3x", help="Whose rules the HPA follows, e.g. 1.36.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(directory: Path | None, emulate_kubernetes: str | None, output: str) -> int:
    """Start a cluster with mesh and monitoring, and leave it running.

    With DIRECTORY, the manifests and the monitoring of its rehearsal.yaml are in it when this returns.
    `wavetank status` shows it, `wavetank down` ends it.
    """
    import asyncio
    import tempfile

    from rich.console import Console

    from wavetank.autoscaling.hpa.options import parse_release
    from wavetank.rehearsal.console_facts import console_url
    from wavetank.rehearsal.standing import start_standing

    if emulate_kubernetes is not None:
        parse_release(emulate_kubernetes)

    console = Console(stderr=True)
    with tempfile.NamedTemporaryFile(prefix="wavetank-up-", suffix=".log", delete=False) as file:
        log = Path(file.name)
    with console.status("starting: control plane, Envoy, monitoring"):
        entry = asyncio.run(start_standing(directory, log, emulate_kubernetes))
    log.unlink(missing_ok=True)
    if output == "json":
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(entry)).decode())
        return 0
    rows = [("tank", entry.tank), ("enforcer", entry.enforcer), ("monitoring", entry.monitoring_url)]
    console_at = console_url(entry.monitoring_url, Path(entry.directory))
    rows.insert(0, ("console", console_at))
    rows += [("gateway", url) for url in entry.gateway_urls]
    rows.append(("kubectl", f"kubectl --kubeconfig {entry.kubeconfig} get pods -A"))
    if entry.load_command:
        rows.append(("load", entry.load_command))
    rows.append(("end it", "wavetank down"))
    for name, value in rows:
        click.echo(f"{name:11} {value}")
    return 0
