"""This machine under the node exporter's names.

Mirrors prometheus/node_exporter's collectors cpu, meminfo, loadavg, stat, filesystem, diskstats, netdev,
uname, filefd and time, from /proc and psutil. Other collectors are left out.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from wavetank.clock import Clock
from wavetank.exporters.families import Families
from wavetank.exposition.render import MetricFamily

__all__ = ["families"]

_MODES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_VIRTUAL: Final = frozenset(
    [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "overlay",
        "proc",
        "procfs",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "squashfs",
        "sysfs",
        "tracefs",
    ]
)


def families(clock: Clock, proc: Path = Path("/proc")) -> list[MetricFamily]:
    """All families, now. What this machine does not have is left out."""
    found = Families()
    _cpu(found)
    _memory(found, proc)
    _load(found)
    _stat(found, proc)
    _filesystems(found)
    _disks(found)
    _network(found)
    _handles(found, proc)
    system = platform.uname()
    found.gauge(
        "node_uname_info",
        {
            "sysname": system.system,
            "release": system.release,
            "version": system.version,
            "machine": system.machine,
            "nodename": system.node,
            "domainname": "(none)",
        },
        1,
    )
    found.gauge("node_time_seconds", {}, clock.now())
    found.gauge("node_boot_time_seconds", {}, psutil.boot_time())
    return found.finish()


def _cpu(found: Families) -> None:
    for number, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode in _MODES:
            if (seconds := getattr(times, mode, None)) is not None:
                found.counter("node_cpu_seconds_total", {"cpu": str(number), "mode": mode}, seconds)


def _lines(path: Path) -> Iterator[list[str]]:
    """The words of each line; none where there is no such file."""
    if path.exists():
        for line in path.read_text().splitlines():
            if words := line.split():
                yield words


def _memory(found: Families, proc: Path) -> None:
    for name, value, *unit in _lines(proc / "meminfo"):
        clean = name.rstrip(":").replace("(", "_").replace(")", "")
        if unit == ["kB"]:
            found.gauge(f"node_memory_{clean}_bytes", {}, int(value) * 1024)
        else:
            found.gauge(f"node_memory_{clean}", {}, int(value))


def _load(found: Families) -> None:
    for minutes, value in zip((1, 5, 15), os.getloadavg(), strict=True):
        found.gauge(f"node_load{minutes}", {}, value)


def _stat(found: Families, proc: Path) -> None:
    names = {"ctxt": "context_switches", "processes": "forks", "intr": "intr"}
    for key, value, *_ in _lines(proc / "stat"):
        if key in names:
            found.counter(f"node_{names[key]}_total", {}, float(value))
        elif key in ("procs_running", "procs_blocked"):
            found.gauge(f"node_{key}", {}, float(value))


def _filesystems(found: Families) -> None:
    for part in psutil.disk_partitions(all=True):
        if part.fstype in _VIRTUAL or part.mountpoint.startswith(("/proc", "/sys", "/dev")):
            continue
        try:
            stat = os.statvfs(part.mountpoint)
        except OSError:
            continue
        labels = {"device": part.device, "fstype": part.fstype, "mountpoint": part.mountpoint}
        for name, blocks in (("size", stat.f_blocks), ("free", stat.f_bfree), ("avail", stat.f_bavail)):
            found.gauge(f"node_filesystem_{name}_bytes", labels, float(blocks * stat.f_frsize))
        found.gauge("node_filesystem_files", labels, float(stat.f_files))
        found.gauge("node_filesystem_files_free", labels, float(stat.f_ffree))
        found.gauge("node_filesystem_readonly", labels, bool(stat.f_flag & os.ST_RDONLY))


def _disks(found: Families) -> None:
    for device, disk in (psutil.disk_io_counters(perdisk=True) or {}).items():
        if device.startswith(("loop", "ram")):
            continue
        for name, value in (
            ("reads_completed_total", disk.read_count),
            ("writes_completed_total", disk.write_count),
            ("read_bytes_total", disk.read_bytes),
            ("written_bytes_total", disk.write_bytes),
            ("read_time_seconds_total", disk.read_time / 1000),
            ("write_time_seconds_total", disk.write_time / 1000),
            ("io_time_seconds_total", getattr(disk, "busy_time", 0) / 1000),
        ):
            found.counter(f"node_disk_{name}", {"device": device}, float(value))


def _network(found: Families) -> None:
    for device, net in psutil.net_io_counters(pernic=True).items():
        for name, value in (
            ("receive_bytes", net.bytes_recv),
            ("transmit_bytes", net.bytes_sent),
            ("receive_packets", net.packets_recv),
            ("transmit_packets", net.packets_sent),
            ("receive_errs", net.errin),
            ("transmit_errs", net.errout),
            ("receive_drop", net.dropin),
            ("transmit_drop", net.dropout),
        ):
            found.counter(f"node_network_{name}_total", {"device": device}, float(value))


def _handles(found: Families, proc: Path) -> None:
    for allocated, _, maximum in _lines(proc / "sys/fs/file-nr"):
        found.gauge("node_filefd_allocated", {}, float(allocated))
        found.gauge("node_filefd_maximum", {}, float(maximum))
