"""``wavetank node-exporter``: this machine's metrics, with the node exporter's own flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

_COLLECTORS: Final = (
    "arp", "bonding", "buddyinfo", "conntrack", "cpu", "cpufreq", "diskstats", "dmi", "edac", "entropy",
    "filefd", "filesystem", "hwmon", "interrupts", "kernel_hung", "loadavg", "mdadm", "meminfo",
    "netclass", "netdev", "netstat", "nvme", "os", "powersupplyclass", "pressure", "processes", "rapl",
    "schedstat", "selinux", "sockstat", "softirqs", "softnet", "stat", "tcpstat", "textfile",
    "thermal_zone", "time", "timex", "udp_queues", "uname", "vmstat", "watchdog",
)  # fmt: skip
# Collectors of upstream that are not here: switching them off is what they are, switching them on is refused.
_NOT_BUILT_IN: Final = (
    "bcache", "bcachefs", "boottime", "btrfs", "cgroups", "cpu_vulnerabilities", "devstat", "dmmultipath",
    "drbd", "drm", "ethtool", "exec", "fibrechannel", "infiniband", "ipvs", "ksmd", "lnstat", "logind",
    "meminfo_numa", "mountstats", "network_route", "nfs", "nfsd", "ntp", "nvmesubsystem", "pcidevice",
    "perf", "qdisc", "runit", "slabinfo", "supervisord", "sysctl", "systemd", "tapestats", "wifi", "xfrm",
    "xfs", "zfs", "zoneinfo",
)  # fmt: skip
_FILTERS: Final = {
    "collector.arp.device-include": "arp_include",
    "collector.arp.device-exclude": "arp_exclude",
    "collector.hwmon.chip-include": "chip_include",
    "collector.hwmon.chip-exclude": "chip_exclude",
    "collector.diskstats.device-include": "disk_include",
    "collector.diskstats.device-exclude": "disk_exclude",
    "collector.filesystem.mount-points-include": "mount_include",
    "collector.filesystem.mount-points-exclude": "mount_exclude",
    "collector.filesystem.fs-types-include": "fs_type_include",
    "collector.filesystem.fs-types-exclude": "fs_type_exclude",
    "collector.netdev.device-include": "netdev_include",
    "collector.netdev.device-exclude": "netdev_exclude",
    "collector.netclass.ignored-devices": "netclass_ignored",
    "collector.netstat.fields": "netstat_fields",
    "collector.vmstat.fields": "vmstat_fields",
}
_SWITCHES: Final = {
    "collector.cpu.info": "cpu_info",
    "collector.netclass.ignore-invalid-speed": "ignore_invalid_speed",
}
# Names that unit files may still have: (the flag, what it is now).
_OLD_NAMES: Final = {
    "collector.diskstats.ignored-devices": "collector.diskstats.device-exclude",
    "collector.filesystem.ignored-mount-points": "collector.filesystem.mount-points-exclude",
    "collector.filesystem.ignored-fs-types": "collector.filesystem.fs-types-exclude",
    "collector.netdev.device-blacklist": "collector.netdev.device-exclude",
    "collector.netdev.device-whitelist": "collector.netdev.device-include",
}


def _collector_flags(function: F) -> F:
    for name in reversed(_COLLECTORS):
        pair = f"--collector.{name}/--no-collector.{name}"
        function = click.option(pair, f"on_{name}", default=None, help=f"The {name} collector.")(function)
    for name in _NOT_BUILT_IN:
        pair = f"--collector.{name}/--no-collector.{name}"
        function = click.option(pair, f"off_{name}", default=None, hidden=True)(function)
    for flag, dest in reversed(_FILTERS.items()):
        names = [f"--{flag}", *(f"--{old}" for old, new in _OLD_NAMES.items() if new == flag)]
        function = click.option(*names, dest, help="A regular expression.")(function)
    for flag, dest in _SWITCHES.items():
        function = click.option(f"--{flag}/--no-{flag}", dest, default=False)(function)
    return function


@click.command()
@click.option("--web.listen-address", "listen", multiple=True, default=["127.0.0.1:9100"], show_default=True)
@click.option("--web.config.file", "web_config", help="TLS and passwords.")
@click.option("--web.telemetry-path", "telemetry_path", default="/metrics", show_default=True)
@click.option("--web.disable-exporter-metrics", "no_own", is_flag=True, help="Leave process_* out.")
@click.option(
    "--web.max-requests", "requests_max", default=40, show_default=True, help="At a time; 0 for no limit."
)
@click.option("--path.procfs", "proc", default="/proc", show_default=True)
@click.option("--path.sysfs", "sys", default="/sys", show_default=True)
@click.option("--path.rootfs", "rootfs", default="/", show_default=True)
@click.option("--collector.disable-defaults", "no_defaults", is_flag=True, help="Only what is switched on.")
@click.option("--collector.textfile.directory", "textfiles", multiple=True, help="Where *.prom files are.")
@click.option(
    "--log.level", "log_level", type=click.Choice(["debug", "info", "warn", "error"]), default="info"
)
@click.option(
    "--log.format", "log_format", type=click.Choice(["logfmt", "json"]), default="logfmt", hidden=True
)
@click.option(
    "--runtime.gomaxprocs", "gomaxprocs", type=int, hidden=True, help="Accepted: there is no Go runtime."
)
@_collector_flags
def command(**flags: Any) -> None:
    """This machine's metrics under the node exporter's names; the node exporter's own flags."""
    import asyncio

    from wavetank.monitoring.logs import set_up_logging

    set_up_logging(flags["log_level"], flags["log_format"])
    asyncio.run(_run(flags, _enabled(flags)))


def _enabled(flags: dict[str, Any]) -> list[str]:
    """The collectors that run. Raises InputError for one that is not built in."""
    from wavetank.errors import InputError
    from wavetank.exporters.node import COLLECTORS

    for name in _NOT_BUILT_IN:
        if flags[f"off_{name}"]:
            raise InputError(f"--collector.{name}: not built in", fix="leave the flag out")
    enabled = []
    for name, (_, default) in COLLECTORS.items():
        asked = flags[f"on_{name}"]
        if asked if asked is not None else (default and not flags["no_defaults"]):
            enabled.append(name)
    return enabled


async def _run(flags: dict[str, Any], names: list[str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    import asyncio
    import logging
    import signal

    from wavetank.clock import RealClock
    from wavetank.errors import InputError
    from wavetank.exporters.node import Host, Settings
    from wavetank.exporters.node.app import create_app
    from wavetank.monitoring.web.shell import serve_application

    log = logging.getLogger("wavetank.exporters")
    chosen = {dest: flags[dest] for dest in _FILTERS.values() if flags[dest] is not None}
    chosen |= {dest: flags[dest] for dest in _SWITCHES.values()}
    settings = Settings(textfile_directories=flags["textfiles"], **chosen)
    try:
        settings.check()
    except ValueError as error:
        raise InputError(str(error), fix="see the --collector flags") from None
    clock = RealClock()
    host = Host(clock, Path(flags["proc"]), Path(flags["sys"]), Path(flags["rootfs"]))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = create_app(
        names,
        host,
        settings,
        path=flags["telemetry_path"],
        own_metrics=not flags["no_own"],
        requests_max=flags["requests_max"],
    )
    await serve_application(
        app,
        clock,
        stop,
        lambda url: log.info("Listening on %s, collectors %s", url, ",".join(names)),
        addresses=flags["listen"],
        config_file=Path(flags["web_config"]) if flags["web_config"] else None,
    )
