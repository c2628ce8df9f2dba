"""Collectors of storage: diskstats, filesystem."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from wavetank.exporters.families import Families
from wavetank.exporters.node.host import Host, NoData, text_of
from wavetank.limits import NODE_STATFS_SECONDS

__all__ = ["DISK_EXCLUDE", "FS_TYPES_EXCLUDE", "MOUNT_POINTS_EXCLUDE", "diskstats", "filesystem"]

DISK_EXCLUDE: Final = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$"
MOUNT_POINTS_EXCLUDE: Final = (
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
)
FS_TYPES_EXCLUDE: Final = (
    r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs"
    r"|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$"
)
_SECTOR: Final = 512
# Columns of /proc/diskstats after the device's name: (name, factor)
_COLUMNS: Final = (
    ("reads_completed_total", 1.0),
    ("reads_merged_total", 1.0),
    ("read_bytes_total", _SECTOR),
    ("read_time_seconds_total", 0.001),
    ("writes_completed_total", 1.0),
    ("writes_merged_total", 1.0),
    ("written_bytes_total", _SECTOR),
    ("write_time_seconds_total", 0.001),
    ("io_now", 1.0),
    ("io_time_seconds_total", 0.001),
    ("io_time_weighted_seconds_total", 0.001),
    ("discards_completed_total", 1.0),
    ("discards_merged_total", 1.0),
    ("discarded_sectors_total", 1.0),
    ("discard_time_seconds_total", 0.001),
    ("flush_requests_total", 1.0),
    ("flush_requests_time_seconds_total", 0.001),
)
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
Keep = Callable[[str], bool]
_STUCK: Final[dict[str, threading.Thread]] = {}


def diskstats(found: Families, host: Host, keep: Keep) -> None:
    for major, minor, device, *values in host.words("diskstats"):
        if not keep(device):
            continue
        block = host.sys / "block" / device / "device"
        info = {
            "device": device,
            "major": major,
            "minor": minor,
            "model": text_of(block / "model") or "",
            "path": "",
            "revision": text_of(block / "rev") or "",
            "rotational": text_of(host.sys / "block" / device / "queue/rotational") or "",
            "serial": text_of(block / "serial") or "",
            "wwn": (text_of(block / "wwid") or "").removeprefix("naa."),
        }
        found.gauge("node_disk_info", info, 1)
        for (name, factor), value in zip(_COLUMNS, values, strict=False):
            add = found.gauge if name == "io_now" else found.counter
            add(f"node_disk_{name}", {"device": device}, int(value) * factor)


def filesystem(found: Families, host: Host, keep_mount: Keep, keep_type: Keep) -> None:
    """A mount that does not answer in time is an error of that mount alone."""
    try:
        mounts = list(host.words("1/mounts"))
    except (NoData, PermissionError):
        mounts = list(host.words("self/mounts"))
    inside = str(host.rootfs).rstrip("/")
    shown: dict[tuple[str, str], tuple[str, str]] = {}
    for source, point, kind, options, *_ in mounts:
        device, mount = _unescaped(source), _unescaped(point)
        if inside:
            mount = mount.removeprefix(inside) or "/"
        if keep_mount(mount) and keep_type(kind):
            shown.setdefault((device, mount), (kind, options))
    answers = _statvfs([inside + mount for _, mount in shown])
    for (device, mount), (kind, options) in shown.items():
        labels = {"device": device, "device_error": "", "fstype": kind, "mountpoint": mount}
        stat = answers[inside + mount]
        if isinstance(stat, OSError):
            text = "mountpoint timeout" if isinstance(stat, TimeoutError) else stat.strerror or "error"
            found.gauge("node_filesystem_device_error", {**labels, "device_error": text.lower()}, 1)
            continue
        for name, blocks in (("size", stat.f_blocks), ("free", stat.f_bfree), ("avail", stat.f_bavail)):
            found.gauge(f"node_filesystem_{name}_bytes", labels, float(blocks * stat.f_frsize))
        found.gauge("node_filesystem_files", labels, float(stat.f_files))
        found.gauge("node_filesystem_files_free", labels, float(stat.f_ffree))
        found.gauge("node_filesystem_purgeable_bytes", labels, 0)
        found.gauge("node_filesystem_readonly", labels, "ro" in options.split(","))
        found.gauge("node_filesystem_device_error", labels, 0)
        _mount_info(found, inside, labels)


def _statvfs(paths: Sequence[str]) -> dict[str, os.statvfs_result | OSError]:
    """What each mount says. A dead network mount blocks the call for ever, and must not block the scrape: all
    are asked in one thread, and after one that hangs the rest in another. One that hangs is not asked again
    while it does; its thread is a daemon, so that it does not hold up the end of the process either."""
    answers: dict[str, os.statvfs_result | OSError] = {}
    left = []
    for path in paths:
        if (before := _STUCK.get(path)) is not None and before.is_alive():
            answers[path] = TimeoutError()
        else:
            _STUCK.pop(path, None)
            left.append(path)
    while left:
        mine: dict[str, os.statvfs_result | OSError] = {}
        thread = threading.Thread(target=_ask, args=(left, mine), name="statvfs", daemon=True)
        thread.start()
        answered = -1
        while thread.is_alive() and len(mine) > answered:  # as long as one after the other answers
            answered = len(mine)
            thread.join(NODE_STATFS_SECONDS)
        done = dict(mine)
        answers.update(done)
        left = [path for path in left if path not in done]
        if left:
            stuck, *left = left
            answers[stuck] = TimeoutError()
            _STUCK[stuck] = thread
    return answers


def _ask(paths: Sequence[str], answers: dict[str, os.statvfs_result | OSError]) -> None:
    for path in paths:
        try:
            answers[path] = os.statvfs(path)
        except OSError as error:
            answers[path] = error


def _mount_info(found: Families, inside: str, labels: dict[str, str]) -> None:
    try:
        number = Path(inside + labels["mountpoint"]).stat().st_dev
    except OSError:
        return
    major, minor = os.major(number), os.minor(number)
    shown = {
        "device": labels["device"],
        "major": str(major),
        "minor": str(minor),
        "mountpoint": labels["mountpoint"],
    }
    found.gauge("node_filesystem_mount_info", shown, 1)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda code: chr(int(code[1], 8)), text)
