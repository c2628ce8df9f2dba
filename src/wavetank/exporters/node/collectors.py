"""Which collectors there are, which run, and how each fares."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final

import re2

from wavetank.clock import Clock
from wavetank.exporters.families import Families
from wavetank.exporters.node import cpu, disk, hardware, memory, network, system
from wavetank.exporters.node.host import Host, NoData
from wavetank.exporters.node.textfile import textfile
from wavetank.exposition.render import MetricFamily

__all__ = ["COLLECTORS", "Settings", "collect", "families"]

_LOG = logging.getLogger(__name__)
_NAMES_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Settings:
    """Upstream's filters. Patterns are RE2, found anywhere; an include excludes all else."""

    disk_include: str = ""
    disk_exclude: str = disk.DISK_EXCLUDE
    mount_include: str = ""
    mount_exclude: str = disk.MOUNT_POINTS_EXCLUDE
    fs_type_include: str = ""
    fs_type_exclude: str = disk.FS_TYPES_EXCLUDE
    netdev_include: str = ""
    netdev_exclude: str = ""
    netclass_ignored: str = "^$"
    netstat_fields: str = network.NETSTAT_FIELDS
    vmstat_fields: str = memory.VMSTAT_FIELDS
    arp_include: str = ""
    arp_exclude: str = ""
    chip_include: str = ""
    chip_exclude: str = ""
    cpu_info: bool = False
    ignore_invalid_speed: bool = False
    textfile_directories: tuple[str, ...] = ()
    _compiled: dict[str, Callable[[str], bool]] = field(default_factory=dict, compare=False, repr=False)

    def keep(self, include: str, exclude: str) -> Callable[[str], bool]:
        """Raises ValueError for a pattern that is none."""
        key = f"{include}\0{exclude}"
        if key not in self._compiled:
            wanted, unwanted = (_compile(text) if text else None for text in (include, exclude))
            # The same names come at every scrape.
            self._compiled[key] = lru_cache(maxsize=_NAMES_REMEMBERED)(
                lambda name: (
                    (wanted is None or wanted.search(name) is not None)
                    and not (unwanted is not None and unwanted.search(name))
                )
            )
        return self._compiled[key]

    def check(self) -> None:
        """Raises ValueError for a pattern that is none, or an include beside an exclude of one's own."""
        defaults = type(self)()
        for name, flag in (
            ("disk", "diskstats.device"), ("mount", "filesystem.mount-points"),
            ("fs_type", "filesystem.fs-types"), ("netdev", "netdev.device"),
            ("arp", "arp.device"), ("chip", "hwmon.chip"),
        ):  # fmt: skip
            include, exclude = getattr(self, f"{name}_include"), getattr(self, f"{name}_exclude")
            if include and exclude and exclude != getattr(defaults, f"{name}_exclude"):
                raise ValueError(f"{flag}-exclude & {flag}-include are mutually exclusive")
            self.keep(include, exclude)
        for pattern in (self.netclass_ignored, self.netstat_fields, self.vmstat_fields):
            _compile(pattern)


def _compile(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else error
        shown = text.decode() if isinstance(text, bytes) else str(text)
        raise ValueError(f"error parsing regexp {pattern!r}: {shown}") from None


Collector = Callable[[Families, Host, Settings], Iterable[MetricFamily] | None]


def _plain(collector: Callable[[Families, Host], None]) -> Collector:
    return lambda found, host, settings: collector(found, host)


def _kept(include: str, exclude: str, default: str) -> tuple[str, str]:
    """An include takes the place of the default exclude."""
    return (include, "" if include and exclude == default else exclude)


def _diskstats(found: Families, host: Host, s: Settings) -> None:
    disk.diskstats(found, host, s.keep(*_kept(s.disk_include, s.disk_exclude, disk.DISK_EXCLUDE)))


def _filesystem(found: Families, host: Host, s: Settings) -> None:
    mounts = s.keep(*_kept(s.mount_include, s.mount_exclude, disk.MOUNT_POINTS_EXCLUDE))
    types = s.keep(*_kept(s.fs_type_include, s.fs_type_exclude, disk.FS_TYPES_EXCLUDE))
    disk.filesystem(found, host, mounts, types)


def _netdev(found: Families, host: Host, s: Settings) -> None:
    network.netdev(found, host, s.keep(s.netdev_include, s.netdev_exclude))


def _netclass(found: Families, host: Host, s: Settings) -> None:
    ignored = s.keep("", s.netclass_ignored)
    network.netclass(found, host, ignored, ignore_invalid_speed=s.ignore_invalid_speed)


def _cpu(found: Families, host: Host, s: Settings) -> None:
    cpu.cpu(found, host)
    if s.cpu_info:
        cpu.cpu_info(found, host)


#: Name -> (collector, whether it is on by default).
COLLECTORS: Final[Mapping[str, tuple[Collector, bool]]] = {
    "arp": (lambda f, h, s: network.arp(f, h, s.keep(s.arp_include, s.arp_exclude)), True),
    "bonding": (_plain(hardware.bonding), True),
    "buddyinfo": (_plain(memory.buddyinfo), False),
    "conntrack": (_plain(network.conntrack), True),
    "cpu": (_cpu, True),
    "cpufreq": (_plain(cpu.cpufreq), True),
    "diskstats": (_diskstats, True),
    "dmi": (_plain(system.dmi), True),
    "edac": (_plain(hardware.edac), True),
    "entropy": (_plain(memory.entropy), True),
    "filefd": (_plain(memory.filefd), True),
    "filesystem": (_filesystem, True),
    "hwmon": (lambda f, h, s: system.hwmon(f, h, s.keep(s.chip_include, s.chip_exclude)), True),
    "interrupts": (_plain(cpu.interrupts), False),
    "kernel_hung": (_plain(system.kernel_hung), True),
    "loadavg": (_plain(cpu.loadavg), True),
    "mdadm": (_plain(hardware.mdadm), True),
    "meminfo": (_plain(memory.meminfo), True),
    "netclass": (_netclass, True),
    "netdev": (_netdev, True),
    "netstat": (lambda f, h, s: network.netstat(f, h, s.keep(s.netstat_fields, "")), True),
    "nvme": (_plain(hardware.nvme), True),
    "os": (_plain(system.os_release), True),
    "powersupplyclass": (_plain(system.powersupply), True),
    "pressure": (_plain(cpu.pressure), True),
    "processes": (_plain(cpu.processes), False),
    "rapl": (_plain(hardware.rapl), True),
    "schedstat": (_plain(cpu.schedstat), True),
    "selinux": (_plain(system.selinux), True),
    "sockstat": (_plain(network.sockstat), True),
    "softirqs": (_plain(cpu.softirqs), False),
    "softnet": (_plain(cpu.softnet), True),
    "stat": (_plain(cpu.stat), True),
    "tcpstat": (_plain(network.tcpstat), False),
    "textfile": (lambda f, h, s: textfile(f, s.textfile_directories), True),
    "thermal_zone": (_plain(system.thermal_zone), True),
    "time": (_plain(system.time), True),
    "timex": (_plain(system.timex), True),
    "udp_queues": (_plain(network.udp_queues), True),
    "uname": (_plain(system.uname), True),
    "vmstat": (lambda f, h, s: memory.vmstat(f, h, s.keep(s.vmstat_fields, "")), True),
    "watchdog": (_plain(hardware.watchdog), True),
}
_ONE_AT_A_TIME: Final = threading.Lock()


def collect(names: Iterable[str], host: Host, settings: Settings | None = None) -> list[MetricFamily]:
    """Families of these collectors, now, sorted by name. One that fails is logged, and the rest goes on."""
    chosen = settings or Settings()
    own = Families()
    merged: dict[str, MetricFamily] = {}
    with _ONE_AT_A_TIME:
        for name in names:
            found = Families()
            start = host.clock.monotonic()
            success = True
            more: Iterable[MetricFamily] = ()
            try:
                more = COLLECTORS[name][0](found, host, chosen) or ()
            except NoData:
                success = False
            except Exception as error:
                _LOG.error("collector %s failed: %s: %s", name, type(error).__name__, error)
                success = False
            labels = {"collector": name}
            own.gauge("node_scrape_collector_duration_seconds", labels, host.clock.monotonic() - start)
            own.gauge("node_scrape_collector_success", labels, success)
            for family in [*found.finish(partial(_help, name)), *more]:
                merged.setdefault(family.name, family)
    for family in own.finish(_HELP.__getitem__):
        merged[family.name] = family
    return [merged[name] for name in sorted(merged)]


@lru_cache(maxsize=_NAMES_REMEMBERED)
def _help(collector: str, name: str) -> str:
    """The names say what they are; the collector says where it comes from."""
    words = name.removeprefix("node_").replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}, by the {collector} collector."


_HELP: Final = {
    "node_scrape_collector_duration_seconds": "node_exporter: Duration of a collector scrape.",
    "node_scrape_collector_success": "node_exporter: Whether a collector succeeded.",
}


def families(clock: Clock, host: Host | None = None) -> list[MetricFamily]:
    """Families of all collectors that are on by default."""
    return collect([name for name, (_, on) in COLLECTORS.items() if on], host or Host(clock))
