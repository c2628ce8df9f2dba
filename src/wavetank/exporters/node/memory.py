"""Collectors of memory: meminfo, vmstat; and filefd, entropy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from wavetank.exporters.families import Families
from wavetank.exporters.node.host import Host, NoData, number_of

__all__ = ["VMSTAT_FIELDS", "entropy", "filefd", "meminfo", "vmstat"]

VMSTAT_FIELDS: Final = "^(oom_kill|pgpg|pswp|pg.*fault).*"


def meminfo(found: Families, host: Host) -> None:
    """``Active(anon):  12 kB`` is ``node_memory_Active_anon_bytes``."""
    for name, value, *unit in host.words("meminfo"):
        clean = re.sub(r"\((.*)\)", r"_\1", name.rstrip(":"))
        if unit == ["kB"]:
            found.gauge(f"node_memory_{clean}_bytes", {}, int(value) * 1024)
        else:
            found.gauge(f"node_memory_{clean}", {}, int(value))


def vmstat(found: Families, host: Host, keep: Callable[[str], bool]) -> None:
    for name, value, *_ in host.words("vmstat"):
        if keep(name):
            found.untyped(f"node_vmstat_{name}", {}, float(value))


def filefd(found: Families, host: Host) -> None:
    for allocated, _, maximum, *_ in host.words("sys/fs/file-nr"):
        found.gauge("node_filefd_allocated", {}, float(allocated))
        found.gauge("node_filefd_maximum", {}, float(maximum))


def entropy(found: Families, host: Host) -> None:
    available = number_of(host.proc / "sys/kernel/random/entropy_avail")
    size = number_of(host.proc / "sys/kernel/random/poolsize")
    if available is None or size is None:
        raise NoData("entropy")
    found.gauge("node_entropy_available_bits", {}, available)
    found.gauge("node_entropy_pool_size_bits", {}, size)


def buddyinfo(found: Families, host: Host) -> None:
    """Free blocks of each order, by NUMA node and zone: ``Node 0, zone Normal 4 2 1 ...``."""
    for _, node, _, zone, *counts in host.words("buddyinfo"):
        for order, count in enumerate(counts):
            labels = {"node": node.rstrip(","), "zone": zone, "size": str(order)}
            found.gauge("node_buddyinfo_blocks", labels, float(count))
