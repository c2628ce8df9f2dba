"""``process_*``: the process itself, as every Prometheus client library exposes it."""

from __future__ import annotations

import psutil

from wavetank.exposition.render import MetricFamily, Sample

__all__ = ["process_families"]


def process_families() -> list[MetricFamily]:
    """Time, memory and files of this process, now; what the system does not tell is left out."""
    process = psutil.Process()
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        values = [
            (
                "cpu_seconds_total",
                "counter",
                "Total user and system CPU time spent in seconds.",
                times.user + times.system,
            ),
            ("resident_memory_bytes", "gauge", "Resident memory size in bytes.", memory.rss),
            (
                "start_time_seconds",
                "gauge",
                "Start time of the process since unix epoch in seconds.",
                process.create_time(),
            ),
            ("virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", memory.vms),
        ]
        if hasattr(process, "num_fds"):
            values.append(("open_fds", "gauge", "Number of open file descriptors.", process.num_fds()))
        if hasattr(process, "rlimit"):
            limit = process.rlimit(psutil.RLIMIT_NOFILE)[0]
            values.append(("max_fds", "gauge", "Maximum number of open file descriptors.", limit))
    return [
        MetricFamily(f"process_{name}", kind, text, samples=[Sample(f"process_{name}", {}, float(value))])
        for name, kind, text, value in sorted(values)
    ]
