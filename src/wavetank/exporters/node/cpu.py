"""Collectors of processors and scheduling: cpu, cpufreq, loadavg, stat, schedstat, softnet, pressure,
interrupts, processes."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Final

from wavetank.exporters.families import Families
from wavetank.exporters.node.host import Host, NoData, folders, number_of, text_of

__all__ = [
    "cpu",
    "cpu_info",
    "cpufreq",
    "interrupts",
    "loadavg",
    "pressure",
    "processes",
    "schedstat",
    "softirqs",
    "softnet",
    "stat",
]

_MODES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SOFTNET: Final = {
    0: "processed_total",
    1: "dropped_total",
    2: "times_squeezed_total",
    8: "cpu_collision_total",
    9: "received_rps_total",
    10: "flow_limit_count_total",
    11: "backlog_len",
}


def cpu(found: Families, host: Host) -> None:
    for name, *values in host.words("stat"):
        if re.fullmatch(r"cpu\d+", name) is None:
            continue
        number = name[3:]
        seconds = [int(value) / _TICKS for value in values]
        for mode, value in zip(_MODES, seconds, strict=False):
            found.counter("node_cpu_seconds_total", {"cpu": number, "mode": mode}, value)
        for mode, value in zip(("user", "nice"), seconds[8:], strict=False):
            found.counter("node_cpu_guest_seconds_total", {"cpu": number, "mode": mode}, value)
    for folder in folders(host.sys / "devices/system/cpu"):
        if re.fullmatch(r"cpu\d+", folder.name) and (folder / "thermal_throttle").exists():
            _throttles(found, host, folder.name[3:])


_CPUINFO: Final = {
    "package": "physical id",
    "core": "core id",
    "cpu": "processor",
    "vendor": "vendor_id",
    "family": "cpu family",
    "model": "model",
    "model_name": "model name",
    "microcode": "microcode",
    "stepping": "stepping",
    "cachesize": "cache size",
}


def cpu_info(found: Families, host: Host) -> None:
    """What /proc/cpuinfo says of each processor, a block of lines each."""
    for block in "\n".join(host.lines("cpuinfo")).split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        said = {name.strip(): value.strip() for name, _, value in pairs}
        if "processor" in said:
            labels = {label: said.get(name, "") for label, name in _CPUINFO.items()}
            found.gauge("node_cpu_info", labels, 1)


def _throttles(found: Families, host: Host, number: str) -> None:
    base = host.sys / f"devices/system/cpu/cpu{number}"
    core = text_of(base / "topology/core_id") or ""
    package = text_of(base / "topology/physical_package_id") or ""
    for kind in ("core", "package"):
        labels = {"package": package, "core": core} if kind == "core" else {"package": package}
        value = number_of(base / f"thermal_throttle/{kind}_throttle_count")
        if value is not None and (kind == "core" or core == "0"):
            found.counter(f"node_cpu_{kind}_throttles_total", labels, value)


def cpufreq(found: Families, host: Host) -> None:
    """kHz to Hz."""
    for folder in folders(host.sys / "devices/system/cpu"):
        if re.fullmatch(r"cpu\d+", folder.name) is None:
            continue
        labels = {"cpu": folder.name[3:]}
        for prefix, source in (("frequency", "cpuinfo"), ("scaling_frequency", "scaling")):
            for suffix, part in (("hertz", "cur"), ("min_hertz", "min"), ("max_hertz", "max")):
                value = number_of(folder / f"cpufreq/{source}_{part}_freq")
                if value is not None:
                    found.gauge(f"node_cpu_{prefix}_{suffix}", labels, value * 1000)
        governor = text_of(folder / "cpufreq/scaling_governor")
        for name in (text_of(folder / "cpufreq/scaling_available_governors") or "").split():
            shown = {**labels, "governor": name}
            found.gauge("node_cpu_scaling_governor", shown, name == governor)


def loadavg(found: Families, host: Host) -> None:
    for one, five, fifteen, *_ in host.words("loadavg"):
        for minutes, value in ((1, one), (5, five), (15, fifteen)):
            found.gauge(f"node_load{minutes}", {}, float(value))


def stat(found: Families, host: Host) -> None:
    names = {"ctxt": "context_switches", "processes": "forks", "intr": "intr"}
    for key, value, *_ in host.words("stat"):
        if key in names:
            found.counter(f"node_{names[key]}_total", {}, float(value))
        elif key in ("procs_running", "procs_blocked"):
            found.gauge(f"node_{key}", {}, float(value))
        elif key == "btime":
            found.gauge("node_boot_time_seconds", {}, float(value))


def schedstat(found: Families, host: Host) -> None:
    for name, *values in host.words("schedstat"):
        if name.startswith("cpu") and len(values) >= 9:
            labels = {"cpu": name[3:]}
            found.counter("node_schedstat_running_seconds_total", labels, int(values[6]) / 1e9)
            found.counter("node_schedstat_waiting_seconds_total", labels, int(values[7]) / 1e9)
            found.counter("node_schedstat_timeslices_total", labels, float(values[8]))


def softnet(found: Families, host: Host) -> None:
    for row, values in enumerate(host.words("net/softnet_stat")):
        numbers = [int(value, 16) for value in values]
        cpu_number = str(numbers[12]) if len(numbers) > 12 else str(row)
        for index, name in _SOFTNET.items():
            if index < len(numbers):
                add = found.gauge if name == "backlog_len" else found.counter
                add(f"node_softnet_{name}", {"cpu": cpu_number}, numbers[index])


def pressure(found: Families, host: Host) -> None:
    """Microseconds to seconds. A resource without its file is left out: kernels differ."""
    kinds = {"cpu": ("some",), "io": ("some", "full"), "memory": ("some", "full"), "irq": ("full",)}
    words = {"some": "waiting", "full": "stalled"}
    any_file = False
    for resource, wanted in kinds.items():
        try:
            lines = list(host.words(f"pressure/{resource}"))
        except (NoData, OSError):
            continue
        any_file = True
        for kind, *fields in lines:
            if kind in wanted:
                total = next(field for field in fields if field.startswith("total=")).partition("=")[2]
                name = f"node_pressure_{resource}_{words[kind]}_seconds_total"
                found.counter(name, {}, int(total) / 1e6)
    if not any_file:
        raise NoData("pressure")


def interrupts(found: Families, host: Host) -> None:
    rows = list(host.words("interrupts"))
    count = len(rows[0]) if rows else 0
    for name, *values in rows[1:]:
        rest = values[count:]
        info = rest[0] if rest and name[:-1].isdigit() else " ".join(rest)
        devices = " ".join(rest[1:]) if name[:-1].isdigit() else ""
        for number, value in enumerate(values[:count]):
            if value.isdigit():
                labels = {"cpu": str(number), "devices": devices, "info": info, "type": name.rstrip(":")}
                found.counter("node_interrupts_total", labels, float(value))


def processes(found: Families, host: Host) -> None:
    """States of all processes and threads: this reads two files a process."""
    states: Counter[str] = Counter()
    threads = pids = 0
    thread_states: Counter[str] = Counter()
    for folder in host.proc.iterdir():
        if not folder.name.isdigit() or (line := text_of(folder / "stat")) is None:
            continue
        fields = line.rpartition(")")[2].split()
        if len(fields) < 18:
            continue
        pids += 1
        states[fields[0]] += 1
        threads += int(fields[17])
        for task in folders(folder / "task"):
            if (own := text_of(task / "stat")) is not None:
                thread_states[own.rpartition(")")[2].split()[0]] += 1
    found.gauge("node_processes_threads", {}, threads)
    found.gauge("node_processes_pids", {}, pids)
    for state, number in sorted(states.items()):
        found.gauge("node_processes_state", {"state": state}, number)
    for state, number in sorted(thread_states.items()):
        found.gauge("node_processes_threads_state", {"thread_state": state}, number)
    for name, file in (("max_processes", "pid_max"), ("max_threads", "threads-max")):
        value = number_of(host.proc / "sys/kernel" / file)
        if value is not None:
            found.gauge(f"node_processes_{name}", {}, value)


def softirqs(found: Families, host: Host) -> None:
    """How often each kind of soft interrupt was handled, by CPU."""
    rows = host.words("softirqs")
    cpus = [word.removeprefix("CPU") for word in next(rows, [])]
    for kind, *counts in rows:
        for number, count in zip(cpus, counts, strict=False):
            labels = {"cpu": number, "type": kind.rstrip(":")}
            found.counter("node_softirqs_functions_total", labels, float(count))
