"""``wavetank node``: lose a node of a tank and bring it back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.group()
def command() -> None:
    """Lose a node and bring it back. Draining and cordoning are kubectl's."""


def _options(function: Any) -> Any:
    function = click.option(
        "--kubeconfig", type=click.Path(path_type=Path), help="Instead of a running tank's own."
    )(function)
    return click.option("--tank", help="The tank's id, where several run.")(function)


@command.command()
@click.argument("name")
@_options
def fail(name: str, tank: str | None, kubeconfig: Path | None) -> None:
    """The machine of node NAME is lost: its processes end at once and its heartbeats stop.

    The control plane notices after 50 s (NotReady, endpoints removed) and evicts each pod when its
    tolerationSeconds are over (300 by default).
    """
    asyncio.run(_switch(name, _kubeconfig(tank, kubeconfig), lost=True))
    click.echo(
        f"node {name} is lost: NotReady when it has been silent for 50 s, "
        "pods evicted tolerationSeconds (300 s by default) after that"
    )


@command.command()
@click.argument("name")
@_options
def restore(name: str, tank: str | None, kubeconfig: Path | None) -> None:
    """The machine of node NAME boots again: pods that are still bound to it start once more."""
    asyncio.run(_switch(name, _kubeconfig(tank, kubeconfig), lost=False))
    click.echo(f"node {name} is back")


def _kubeconfig(tank: str | None, given: Path | None) -> Path:
    from wavetank.errors import InputError, did_you_mean
    from wavetank.rehearsal.registry import running

    if given is not None:
        return given
    entries = {entry.tank: entry for entry in running()}
    if not entries:
        raise InputError("no tank is running", fix="start one with `wavetank up`, or give --kubeconfig")
    if tank is None and len(entries) > 1:
        raise InputError("several tanks are running", fix=f"give --tank: {', '.join(entries)}")
    tank = tank or next(iter(entries))
    if tank not in entries:
        raise InputError(f"no tank {tank!r} is running", fix=did_you_mean(tank, entries))
    return Path(entries[tank].kubeconfig)


async def _switch(name: str, kubeconfig: Path, *, lost: bool) -> None:
    from wavetank.errors import InputError, did_you_mean
    from wavetank.kube.client import ApiError
    from wavetank.kube.http_client import HttpClient
    from wavetank.kube.kubelet.kubelet import FAILED
    from wavetank.kube.resources import NODES

    client = HttpClient.from_kubeconfig(kubeconfig)
    try:
        patch = {"metadata": {"annotations": {FAILED: "true" if lost else None}}}
        await client.patch(NODES, name, patch)
    except ApiError as error:
        if error.code != 404:
            raise
        names = [node["metadata"]["name"] for node in (await client.list(NODES)).items]
        near = did_you_mean(name, names) or f"nodes: {', '.join(names)}"
        raise InputError(f"no node {name!r}", fix=near) from None
    finally:
        await client.close()
