"""A standing tank: what ``wavetank up`` leaves running and ``wavetank down`` ends.

The owner is this module in a process of its own (``python -m wavetank.rehearsal.standing``), so that ``up``
can return. It writes one line of JSON to the descriptor it was given: the tank's entry when all is ready,
or the error that ended it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil

from wavetank.clock import Clock, RealClock
from wavetank.errors import InternalError, WavetankError
from wavetank.process import python_argv
from wavetank.rehearsal.console_facts import ConsoleFacts
from wavetank.rehearsal.outcome.environment import versions
from wavetank.rehearsal.outcome.record import RunRecord, write_record
from wavetank.rehearsal.plan import Plan, make_plan
from wavetank.rehearsal.registry import TankEntry, enter, leave
from wavetank.rehearsal.scrape import LOAD_EXPORTER_PORT, internal_targets, monitoring_config
from wavetank.rehearsal.spec import Cluster, Monitoring
from wavetank.rehearsal.tank import Tank, child_failed
from wavetank.rehearsal.workload_wait import wait_for_workloads

__all__ = ["entry_of", "start_standing"]

SCRAPE_INTERVAL = "5s"


async def start_standing(
    directory: Path | None, log: Path, emulate_kubernetes: str | None = None
) -> TankEntry:
    """Start a standing tank and wait until it is ready. Raises the error that ended it."""
    reader, writer = os.pipe()
    argv = python_argv(
        "wavetank.rehearsal.standing",
        str(writer),
        str(directory.resolve()) if directory else "",
        emulate_kubernetes or "",
    )
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, pass_fds=(writer,),
        )  # fmt: skip
    os.close(writer)
    line = await asyncio.to_thread(_read_line, reader)
    if not line:
        code = await process.wait()
        raise InternalError(f"the tank's owner ended with {code}", at=log)
    answer: dict[str, Any] = msgspec.json.decode(line)
    if "error" in answer:
        failure = WavetankError(answer["error"])
        failure.exit_code = answer["exit_code"]
        raise failure
    return msgspec.convert(answer, TankEntry)


def _read_line(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.readline()


def entry_of(tank: Tank, *, kind: str, name: str, started_at: float, ports: list[int]) -> TankEntry:
    assert tank.facts is not None
    me = psutil.Process()
    return TankEntry(
        tank=tank.id,
        kind=kind,
        name=name,
        pid=me.pid,
        pid_started_at=me.create_time(),
        directory=str(tank.files.directory),
        started_at=started_at,
        kubeconfig=str(tank.files.kubeconfig),
        enforcer=tank.facts.enforcer,
        runtime=tank.facts.runtime,
        api_url=tank.facts.api_url,
        monitoring_url=tank.monitoring_url,
        gateway_urls=[tank.gateway_url(port) for port in ports],
    )


async def _own(directory: Path | None, clock: Clock, ready: int, release: str) -> None:
    """Be the owner: start, say so, and wait for a signal or for a process that ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    plan = make_plan(directory) if directory is not None else None
    tank = await Tank.open(clock)
    try:
        await _start(tank, plan, clock, release)
        ports = [plan.target.port] if plan is not None and plan.target.port is not None else []
        name = plan.name if plan is not None else "tank"
        entry = entry_of(tank, kind="tank", name=name, started_at=clock.now(), ports=ports)
        if plan is not None and ports:
            entry.load_command = _load_command(plan, entry.gateway_urls[0])
        enter(entry)
        os.write(ready, msgspec.json.encode(entry) + b"\n")
        os.close(ready)
        await _until_stopped(tank, stop)
    finally:
        leave(tank.id)
        await tank.close()


async def _start(tank: Tank, plan: Plan | None, clock: Clock, release: str) -> None:
    cluster = plan.spec.cluster if plan is not None else Cluster()
    if release:
        cluster.emulate_kubernetes = release
    directory = plan.directory if plan is not None else Path()
    ports = [plan.target.port] if plan is not None and plan.target.port is not None else []
    _write_record(tank, plan, clock)
    console = ConsoleFacts(
        kind="tank",
        name=plan.name if plan is not None else "tank",
        monitoring_url=tank.monitoring_url,
        plan=str(plan.directory.resolve()) if plan is not None else None,
        gateway_url=tank.gateway_url(ports[0]) if ports else None,
        load_host=tank.addresses.load,
        load_port=LOAD_EXPORTER_PORT,
        dashboards=[str(plan.directory / d) for d in plan.spec.monitoring.dashboards] if plan else [],
    )
    await tank.start_monitoring(console)
    if plan is None:
        await tank.start_control_plane(cluster)
    else:
        await tank.start_control_plane(
            cluster, plan.directory, plan.adapter, plan.spec.monitoring.adapter_url
        )
    monitoring = plan.spec.monitoring if plan is not None else Monitoring()
    targets = internal_targets(tank.addresses, tank.metrics_address, cluster.fixed_nodes)
    if plan is not None:
        targets["wavetank/load"] = ("http", "/metrics", [f"{tank.addresses.load}:{LOAD_EXPORTER_PORT}"])
    config = monitoring_config(directory, monitoring, targets, tank.files.account, SCRAPE_INTERVAL)
    if plan is not None:
        await tank.apply(plan.manifests)
        await wait_for_workloads(plan.workloads, await tank.client(), clock)
    await tank.monitor(config)


def _write_record(tank: Tank, plan: Plan | None, clock: Clock) -> None:
    """What the console's page of the run is made from, as a rehearsal's report is."""
    record = RunRecord(
        name=plan.name if plan is not None else "tank",
        tank=tank.id,
        started_at=clock.now(),
        state="running",
        versions=versions(),
        monitoring_url=tank.monitoring_url,
        workloads=list(plan.workloads) if plan is not None else [],
        slos=list(plan.slos) if plan is not None else [],
    )
    write_record(tank.files.directory, record)


def _load_command(plan: Plan, url: str) -> str:
    """The line for the shell: a steady load on the gateway, with the host name that its routes ask for."""
    words = ["wavetank", "load", "-f", str(plan.locustfile), "--host", url]
    if plan.target.host is not None:
        words += ["--virtual-host", plan.target.host]
    return shlex.join([*words, "--stages", "5m:20rps"])


async def _until_stopped(tank: Tank, stop: asyncio.Event) -> None:
    asked = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(tank.failed_child())
    await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if failed.done():
        raise child_failed(failed.result())
    failed.cancel()


def main(descriptor: int, directory: str, release: str) -> int:
    try:
        asyncio.run(_own(Path(directory) if directory else None, RealClock(), descriptor, release))
    except WavetankError as error:
        answer = {"error": str(error), "exit_code": error.exit_code}
        try:
            os.write(descriptor, msgspec.json.encode(answer) + b"\n")
        except OSError:
            print(f"wavetank: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
