"""Collectors of the system itself: uname, os, time, timex, selinux, dmi, hwmon, thermal_zone,
powersupplyclass, kernel_hung."""

from __future__ import annotations

import ctypes
import datetime as dt
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wavetank.exporters.families import Families
from wavetank.exporters.node.host import Host, NoData, folders, number_of, text_of

__all__ = [
    "dmi",
    "hwmon",
    "kernel_hung",
    "os_release",
    "powersupply",
    "selinux",
    "thermal_zone",
    "time",
    "timex",
    "uname",
]

_OS_LABELS: Final = (
    "build_id", "id", "id_like", "image_id", "image_version", "name", "pretty_name", "variant", "variant_id",
    "version", "version_codename", "version_id",
)  # fmt: skip
_SENSOR: Final = re.compile(
    r"(temp|fan|in|power|curr|energy|humidity|pwm|freq|beep_enable|cpu)(\d*)(?:_(.+))?\Z"
)
_UNITS: Final = {
    "temp": ("celsius", 0.001),
    "in": ("volts", 0.001),
    "power": ("watt", 1e-6),
    "curr": ("amps", 0.001),
    "energy": ("joule_total", 1e-6),
    "humidity": ("", 0.001),
    "fan": ("rpm", 1.0),
    "freq": ("freq_mhz", 1e-6),
}


def uname(found: Families, host: Host) -> None:
    system = os.uname()
    found.gauge(
        "node_uname_info",
        {
            "domainname": text_of(host.proc / "sys/kernel/domainname") or "(none)",
            "machine": system.machine,
            "nodename": system.nodename,
            "release": system.release,
            "sysname": system.sysname,
            "version": system.version,
        },
        1,
    )


def os_release(found: Families, host: Host) -> None:
    text = text_of(host.rootfs / "etc/os-release") or text_of(host.rootfs / "usr/lib/os-release")
    if text is None:
        raise NoData("os-release")
    values = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            values[name.strip().lower()] = value.strip().strip("\"'")
    found.gauge("node_os_info", {name: values.get(name, "") for name in _OS_LABELS}, 1)
    if (version := re.match(r"\d+(?:\.\d+)?", values.get("version_id", ""))) is not None:
        labels = {name: values.get(name, "") for name in ("id", "id_like", "name")}
        found.gauge("node_os_version", labels, float(version[0]))


def time(found: Families, host: Host) -> None:
    now = host.clock.now()
    found.gauge("node_time_seconds", {}, now)
    zone = dt.datetime.fromtimestamp(now).astimezone()
    offset = (zone.utcoffset() or dt.timedelta()).total_seconds()
    found.gauge("node_time_zone_offset_seconds", {"time_zone": zone.tzname() or ""}, offset)
    for folder in folders(host.sys / "devices/system/clocksource"):
        device = folder.name.removeprefix("clocksource")
        for source in (text_of(folder / "available_clocksource") or "").split():
            labels = {"clocksource": source, "device": device}
            found.gauge("node_time_clocksource_available_info", labels, 1)
        if current := text_of(folder / "current_clocksource"):
            labels = {"clocksource": current, "device": device}
            found.gauge("node_time_clocksource_current_info", labels, 1)


class _Timex(ctypes.Structure):
    """``struct timex`` of 64-bit Linux, sys/timex.h."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
        ("constant", ctypes.c_long), ("precision", ctypes.c_long), ("tolerance", ctypes.c_long),
        ("seconds", ctypes.c_long), ("microseconds", ctypes.c_long), ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long), ("jitter", ctypes.c_long), ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long), ("jitcnt", ctypes.c_long), ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long), ("stbcnt", ctypes.c_long), ("tai", ctypes.c_int),
        ("rest", ctypes.c_int * 11),
    ]  # fmt: skip


_STA_NANO: Final = 0x2000
_TIME_ERROR: Final = 5
_PPM_16: Final = 1_000_000 * 65_536.0


def timex(found: Families, host: Host) -> None:
    """What the kernel knows of the clock's quality, by adjtimex(2)."""
    value = _Timex()
    call = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if call is None:
        raise NoData("adjtimex")
    state = call(ctypes.byref(value))
    if state < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    divisor = 1e9 if value.status & _STA_NANO else 1e6
    found.gauge("node_timex_sync_status", {}, state != _TIME_ERROR)
    for name, number in (
        ("offset_seconds", value.offset / divisor),
        ("frequency_adjustment_ratio", 1 + value.freq / _PPM_16),
        ("maxerror_seconds", value.maxerror / 1e6),
        ("estimated_error_seconds", value.esterror / 1e6),
        ("status", value.status),
        ("loop_time_constant", value.constant),
        ("tick_seconds", value.tick / 1e6),
        ("pps_frequency_hertz", value.ppsfreq / _PPM_16),
        ("pps_jitter_seconds", value.jitter / divisor),
        ("pps_shift_seconds", value.shift),
        ("pps_stability_hertz", value.stabil / _PPM_16),
        ("tai_offset_seconds", value.tai),
    ):
        found.gauge(f"node_timex_{name}", {}, number)
    for name, count in (
        ("pps_jitter_total", value.jitcnt),
        ("pps_calibration_total", value.calcnt),
        ("pps_error_total", value.errcnt),
        ("pps_stability_exceeded_total", value.stbcnt),
    ):
        found.counter(f"node_timex_{name}", {}, count)


def selinux(found: Families, host: Host) -> None:
    enforce = number_of(host.sys / "fs/selinux/enforce")
    found.gauge("node_selinux_enabled", {}, enforce is not None)
    if enforce is not None:
        found.gauge("node_selinux_current_mode", {}, enforce)


def dmi(found: Families, host: Host) -> None:
    base = host.sys / "class/dmi/id"
    labels = {
        name: text
        for name in (
            "bios_date",
            "bios_release",
            "bios_vendor",
            "bios_version",
            "board_asset_tag",
            "board_name",
            "board_vendor",
            "board_version",
            "chassis_asset_tag",
            "chassis_vendor",
            "chassis_version",
            "product_family",
            "product_name",
            "product_sku",
            "product_version",
            "sys_vendor",
        )
        if (text := text_of(base / name)) is not None
    }
    if not labels:
        raise NoData("dmi")
    if "sys_vendor" in labels:
        labels["system_vendor"] = labels.pop("sys_vendor")
    found.gauge("node_dmi_info", dict(sorted(labels.items())), 1)


def kernel_hung(found: Families, host: Host) -> None:
    value = number_of(host.proc / "sys/kernel/hung_task_detect_count")
    if value is None:
        raise NoData("hung_task_detect_count")
    found.counter("node_kernel_hung_tasks_total", {}, value)


def _clean(text: str) -> str:
    return re.sub(r"[^a-z0-9:_]", "_", text.lower()).strip("_")


def hwmon(found: Families, host: Host, keep: Callable[[str], bool]) -> None:
    chips = folders(host.sys / "class/hwmon")
    if not chips:
        raise NoData("hwmon")
    for folder in chips:
        chip = _chip(folder)
        if not keep(chip):
            continue
        human = _clean(text_of(folder / "name") or "")
        if human:
            found.gauge("node_hwmon_chip_names", {"chip": chip, "chip_name": human}, 1)
        values = folders(folder) or folders(folder / "device")
        for file in values:
            _sensor(found, chip, file)


def _chip(folder: Path) -> str:
    """The name by the device's place, which stays when modules load in another order."""
    device = (folder / "device").resolve()
    if device.exists() and device.name != "device":
        parent, name = _clean(device.parent.name), _clean(device.name)
        return f"{parent}_{name}" if parent else name
    return _clean(text_of(folder / "name") or folder.name)


def _sensor(found: Families, chip: str, file: Path) -> None:
    parts = _SENSOR.match(file.name)
    if parts is None or not parts[2]:
        return
    kind, number, prop = parts.groups()
    labels = {"chip": chip, "sensor": f"{kind}{number}"}
    if prop == "label":
        if label := text_of(file):
            found.gauge("node_hwmon_sensor_label", {**labels, "label": label}, 1)
        return
    value = number_of(file)
    if value is None:
        return
    if prop in ("alarm", "beep", "fault") or (prop or "").endswith("_alarm"):
        found.gauge(
            f"node_hwmon_{kind}_{prop}" + ("_celsius" if kind == "temp" and prop != "fault" else ""),
            labels,
            value,
        )
        return
    unit, factor = _UNITS.get(kind, ("", 1.0))
    middle = "" if prop in (None, "input") else f"_{prop}"
    name = f"node_hwmon_{kind}{middle}" + (f"_{unit}" if unit else "")
    add = found.counter if unit.endswith("_total") else found.gauge
    add(name, labels, value * factor)


def thermal_zone(found: Families, host: Host) -> None:
    for folder in folders(host.sys / "class/thermal"):
        kind = text_of(folder / "type") or ""
        if folder.name.startswith("thermal_zone"):
            value = number_of(folder / "temp")
            if value is not None:
                labels = {"type": kind, "zone": folder.name.removeprefix("thermal_zone")}
                found.gauge("node_thermal_zone_temp", labels, value / 1000)
        elif folder.name.startswith("cooling_device"):
            labels = {"name": folder.name.removeprefix("cooling_device"), "type": kind}
            for name, file in (("cur_state", "cur_state"), ("max_state", "max_state")):
                if (value := number_of(folder / file)) is not None:
                    found.gauge(f"node_cooling_device_{name}", labels, value)


def powersupply(found: Families, host: Host) -> None:
    supplies = folders(host.sys / "class/power_supply")
    if not supplies:
        raise NoData("power_supply")
    for folder in supplies:
        labels = {"power_supply": folder.name}
        for name in ("online", "present", "capacity", "cyclecount"):
            if (value := number_of(folder / name)) is not None:
                found.gauge(f"node_power_supply_{name}", labels, value)
        for name, unit in (
            ("energy_now", "energy_watthour"),
            ("voltage_now", "voltage_volt"),
            ("power_now", "power_watt"),
        ):
            if (value := number_of(folder / name)) is not None:
                found.gauge(f"node_power_supply_{unit}", labels, value / 1e6)
