"""A node that is lost: its processes end, it says nothing any more, and it comes back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from kubelet_room import Tank, container, ready, status_of
from streaming_cluster import streaming_cluster

from wavetank.cli.node import command
from wavetank.errors import InputError
from wavetank.kube.client import ApiError
from wavetank.kube.kubelet.kubelet import FAILED
from wavetank.kube.kubelet.server import LocalKubelets
from wavetank.kube.resources import LEASES, NODES, PODS


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def switch(tank: Tank, lost: bool) -> None:
    patch = {"metadata": {"annotations": {FAILED: "true" if lost else None}}}
    await tank.client.patch(NODES, tank.kubelet.node.name, patch)
    async with asyncio.timeout(30):
        while tank.kubelet.failed is not lost or tank.kubelet._switches:
            await tank.clock.sleep(0.005)


async def test_a_lost_node_ends_its_processes_and_tells_nobody(tank: Tank) -> None:
    await tank.create("p", container("main", "sleep", "600"))
    before = await tank.until("p", ready)
    pid = next(iter(tank.kubelet.workers.values())).running["main"].pid
    await switch(tank, lost=True)
    assert not alive(pid) and not tank.kubelet.workers
    assert (await tank.get("p"))["status"] == before["status"]
    kubelets = LocalKubelets()
    kubelets.add(tank.kubelet)
    with pytest.raises(ApiError, match="no kubelet answers"):
        kubelets.get(tank.kubelet.node.name)


async def test_a_node_that_comes_back_starts_its_pods_once_more(tank: Tank) -> None:
    await tank.create("p", container("main", "sleep", "600"))
    await tank.create("q", container("main", "sleep", "600"))
    await tank.until("p", ready)
    await tank.until("q", ready)
    await switch(tank, lost=True)
    await tank.client.delete(PODS, "q", "default")
    lease = await tank.client.get(LEASES, tank.kubelet.node.name, "kube-node-lease")
    await switch(tank, lost=False)
    again = await tank.until("p", lambda p: ready(p) and status_of(p)["restartCount"] == 1)
    assert status_of(again)["state"]["running"]
    renewed = await tank.client.get(LEASES, tank.kubelet.node.name, "kube-node-lease")
    await tank.gone("q", 30)
    assert renewed["spec"]["renewTime"] > lease["spec"]["renewTime"]


async def test_switching_fast_ends_where_it_was_asked_to(tank: Tank) -> None:
    await tank.create("p", container("main", "sleep", "600"))
    await tank.until("p", ready)
    for value in ("true", None, "true", None):
        await tank.client.patch(NODES, tank.kubelet.node.name, {"metadata": {"annotations": {FAILED: value}}})
    async with asyncio.timeout(30):
        while tank.kubelet.failed or tank.kubelet._switches:
            await tank.clock.sleep(0.005)
    await tank.until("p", ready)


async def test_the_command_line_loses_and_restores_nodes(tmp_path: Path) -> None:
    async with streaming_cluster(tmp_path, 3) as made:

        async def run(*arguments: str) -> tuple[str, BaseException | None]:
            done = await asyncio.to_thread(
                CliRunner().invoke, command, [*arguments, "--kubeconfig", str(made.kubeconfig)]
            )
            return done.output, done.exception

        output, error = await run("fail", "node-1")
        assert error is None and "node node-1 is lost" in output
        assert FAILED in (await made.client.get(NODES, "node-1"))["metadata"]["annotations"]
        output, error = await run("restore", "node-1")
        assert error is None and "node node-1 is back" in output
        assert FAILED not in ((await made.client.get(NODES, "node-1"))["metadata"].get("annotations") or {})
        _, error = await run("fail", "node-7")
        assert isinstance(error, InputError) and "no node 'node-7'" in str(error)
