"""Parts of a server that fail: software RAID, bonded links, memory errors, watchdogs, NVMe drives, power.

Mirrors mdadm_linux.go, bonding_linux.go, edac_linux.go, watchdog.go, nvme_linux.go and rapl_linux.go. Left
out: namespaces of NVMe drives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wavetank.exporters.families import Families
from wavetank.exporters.node.host import Host, NoData, folders, number_of, text_of

__all__ = ["bonding", "edac", "mdadm", "nvme", "rapl", "watchdog"]

_DEVICE: Final = re.compile(r"(\S+) : (active|inactive)\b(.*)")
_BLOCKS: Final = re.compile(r"\s*(\d+) blocks")
_DISKS: Final = re.compile(r"\[(\d+)/(\d+)\]")
_SYNC: Final = re.compile(r"(recovery|resync|check|reshape)\s*=.*?(?:\((\d+)/(\d+)\)|PENDING|DELAYED)")
_MEMBER: Final = re.compile(r"\S+\[\d+\](\([A-Z]\))*")
_STATES: Final = {"recovery": "recovering", "resync": "resync", "check": "check", "reshape": "reshaping"}
_SHOWN_STATES: Final = ("active", "inactive", "recovering", "resync", "check")


@dataclass(slots=True)
class _Array:
    """One device of /proc/mdstat."""

    name: str
    state: str
    active: int = 0
    required: int = 0
    failed: int = 0
    spare: int = 0
    blocks: int = 0
    synced: int = 0


def _arrays(lines: list[str]) -> list[_Array]:
    found: list[_Array] = []
    for line in lines:
        if device := _DEVICE.match(line):
            members = [member[0] for member in _MEMBER.finditer(device[3])]
            failed, spare = (sum(mark in member for member in members) for mark in ("(F)", "(S)"))
            used = len(members) - failed - spare
            # Arrays without redundancy have no line that says how many disks they need.
            active = used if device[2] == "active" else 0
            found.append(_Array(device[1], device[2], active, len(members) - spare, failed, spare))
            continue
        if not found:
            continue
        array = found[-1]
        if blocks := _BLOCKS.match(line):
            array.blocks = array.synced = int(blocks[1])
            if disks := _DISKS.search(line):
                array.required, array.active = int(disks[1]), int(disks[2])
        if sync := _SYNC.search(line):
            array.state = _STATES[sync[1]]
            array.synced = int(sync[2] or 0)
    return found


def mdadm(found: Families, host: Host) -> None:
    for array in _arrays(host.lines("mdstat")):
        labels = {"device": array.name}
        found.gauge("node_md_disks_required", labels, array.required)
        for state, count in (("active", array.active), ("failed", array.failed), ("spare", array.spare)):
            found.gauge("node_md_disks", {**labels, "state": state}, count)
        for state in _SHOWN_STATES:
            found.gauge("node_md_state", {**labels, "state": state}, state == array.state)
        found.gauge("node_md_blocks", labels, array.blocks)
        found.gauge("node_md_blocks_synced", labels, array.synced)
    for folder in folders(host.sys / "block"):
        if (degraded := number_of(folder / "md/degraded")) is not None:
            found.gauge("node_md_degraded", {"device": folder.name}, degraded)
        if (disks := number_of(folder / "md/raid_disks")) is not None:
            found.gauge("node_md_raid_disks", {"device": folder.name}, disks)


def bonding(found: Families, host: Host) -> None:
    root = host.sys / "class/net"
    masters = text_of(root / "bonding_masters")
    if masters is None:
        raise NoData("bonding_masters")
    for master in masters.split():
        slaves = (text_of(root / master / "bonding/slaves") or "").split()
        states = [
            text_of(root / master / f"lower_{slave}/bonding_slave/mii_status")
            or text_of(root / master / f"slave_{slave}/bonding_slave/mii_status")
            for slave in slaves
        ]
        found.gauge("node_bonding_slaves", {"master": master}, len(slaves))
        found.gauge("node_bonding_active", {"master": master}, states.count("up"))


def edac(found: Families, host: Host) -> None:
    for folder in folders(host.sys / "devices/system/edac/mc"):
        number = folder.name.removeprefix("mc")
        if not number.isdigit():
            continue
        labels = {"controller": number}
        for short, kind in (("ce", "correctable"), ("ue", "uncorrectable")):
            _count(found, f"node_edac_{kind}_errors_total", labels, folder / f"{short}_count")
            name, unknown = f"node_edac_csrow_{kind}_errors_total", {**labels, "csrow": "unknown"}
            _count(found, name, unknown, folder / f"{short}_noinfo_count")
            for row in folder.glob("csrow[0-9]*"):
                own = {**labels, "csrow": row.name.removeprefix("csrow")}
                _count(found, name, own, row / f"{short}_count")
                for file in sorted(row.glob(f"ch[0-9]*_{short}_count")):
                    channel = file.name.removeprefix("ch").partition("_")[0]
                    label = (text_of(row / f"ch{channel}_dimm_label") or "unknown").replace("#", "")
                    label = label.replace("csrow", "_csrow").replace("channel", "_channel")
                    more = {**own, "channel": channel, "dimm_label": label}
                    _count(found, f"node_edac_channel_{kind}_errors_total", more, file)


def _count(found: Families, name: str, labels: dict[str, str], file: Path) -> None:
    if (value := number_of(file)) is not None:
        found.counter(name, labels, value)


_WATCHDOG: Final = {
    "bootstatus": "bootstatus",
    "fw_version": "fw_version",
    "nowayout": "nowayout",
    "timeleft": "timeleft_seconds",
    "timeout": "timeout_seconds",
    "pretimeout": "pretimeout_seconds",
    "access_cs0": "access_cs0",
}


def watchdog(found: Families, host: Host) -> None:
    dogs = folders(host.sys / "class/watchdog")
    if not dogs:
        raise NoData("watchdog")
    for folder in dogs:
        for file, name in _WATCHDOG.items():
            if (value := number_of(folder / file)) is not None:
                found.gauge(f"node_watchdog_{name}", {"name": folder.name}, value)
        texts = {
            name: text_of(folder / name) or ""
            for name in ("options", "identity", "state", "status", "pretimeout_governor")
        }
        found.gauge("node_watchdog_info", {"name": folder.name, **texts}, 1)


def nvme(found: Families, host: Host) -> None:
    drives = folders(host.sys / "class/nvme")
    if not drives:
        raise NoData("nvme")
    for folder in drives:
        files = {
            "firmware_revision": "firmware_rev",
            "model": "model",
            "serial": "serial",
            "state": "state",
            "cntlid": "cntlid",
        }
        texts = {label: text_of(folder / file) or "" for label, file in files.items()}
        found.gauge("node_nvme_info", {"device": folder.name, **texts}, 1)


def rapl(found: Families, host: Host) -> None:
    """The index is the number at the end of the zone's name, or of its place in the folder's."""
    zones = [folder for folder in folders(host.sys / "class/powercap") if ":" in folder.name]
    shown = False
    for folder in zones:
        name = text_of(folder / "name")
        joules = number_of(folder / "energy_uj")
        if name is None or joules is None:
            continue
        shown = True
        index = folder.name.split(":")[-1]
        if numbered := re.fullmatch(r"(.*)-(\d+)", name):
            name, index = numbered[1], numbered[2]
        metric = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        labels = {"index": index, "path": str(folder)}
        found.counter(f"node_rapl_{metric}_joules_total", labels, joules / 1e6)
    if not shown:
        raise NoData("powercap")
