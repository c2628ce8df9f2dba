"""What is known of a container's usage: CPU samples, memory peaks, kills for want of memory.

Mirrors ``pkg/recommender/model``: a CPU sample counts by its weight; of memory only the highest of each
interval counts, dated at the interval's end; a kill counts as a need above what was asked for or used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wavetank.autoscaling.vpa.histogram import DecayingHistogram, ExponentialBuckets

__all__ = ["CPU_BUCKETS", "MEMORY_BUCKETS", "ContainerUsage", "Usage", "UsageOptions"]

EPSILON = 0.001 * 0.1
CPU_BUCKETS = ExponentialBuckets(maximum=1000.0, first=0.01, ratio=1.05, epsilon=EPSILON)
MEMORY_BUCKETS = ExponentialBuckets(maximum=1e12, first=1e7, ratio=1.05, epsilon=EPSILON)
CPU_WEIGHT = 0.1
MEMORY_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class UsageOptions:
    """Flags of the recommender; seconds, ratios, bytes."""

    cpu_half_life: float = 86_400.0
    memory_half_life: float = 86_400.0
    memory_interval: float = 86_400.0
    oom_bump_ratio: float = 1.2
    oom_bump_bytes: int = 100 * 2**20


@dataclass(slots=True)
class Usage:
    """The aggregate that recommendations are made from. CPU in cores, memory in bytes."""

    options: UsageOptions = field(default_factory=UsageOptions)
    cpu: DecayingHistogram = field(init=False)
    memory: DecayingHistogram = field(init=False)
    first_sample: float = 0.0
    last_sample: float = 0.0
    samples: int = 0

    def __post_init__(self) -> None:
        self.cpu = DecayingHistogram(CPU_BUCKETS, self.options.cpu_half_life)
        self.memory = DecayingHistogram(MEMORY_BUCKETS, self.options.memory_half_life)

    def add_cpu(self, cores: float, at: float) -> None:
        self.cpu.add(cores, CPU_WEIGHT, at)
        self.last_sample = max(self.last_sample, at)
        if self.samples == 0 or at < self.first_sample:
            self.first_sample = at
        self.samples += 1

    def add_memory(self, size: float, at: float) -> None:
        self.memory.add(size, MEMORY_WEIGHT, at)

    def subtract_memory(self, size: float, at: float) -> None:
        self.memory.subtract(size, MEMORY_WEIGHT, at)

    def save(self) -> dict[str, Any]:
        return {
            "version": "v3",
            "cpuHistogram": self.cpu.save(),
            "memoryHistogram": self.memory.save(),
            "firstSampleStart": self.first_sample,
            "lastSampleStart": self.last_sample,
            "totalSamplesCount": self.samples,
        }

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Add what a checkpoint holds. Raises InputError where it does not fit."""
        self.cpu.load(checkpoint.get("cpuHistogram") or {})
        self.memory.load(checkpoint.get("memoryHistogram") or {})
        self.first_sample = float(checkpoint.get("firstSampleStart") or 0.0)
        self.last_sample = float(checkpoint.get("lastSampleStart") or 0.0)
        self.samples = int(checkpoint.get("totalSamplesCount") or 0)


@dataclass(slots=True)
class ContainerUsage:
    """One running container's samples on their way into a ``Usage``. Methods say whether one was taken."""

    usage: Usage
    last_cpu: float | None = None
    last_memory: float | None = None
    window_end: float | None = None
    memory_peak: float = 0.0
    oom_peak: float = 0.0

    def add_cpu(self, cores: float, at: float) -> bool:
        if cores < 0 or (self.last_cpu is not None and at <= self.last_cpu):
            return False
        self.usage.add_cpu(cores, at)
        self.last_cpu = at
        return True

    def add_memory(self, size: float, at: float) -> bool:
        if size < 0 or (self.last_memory is not None and at < self.last_memory):
            return False
        self._peak(size, at, oom=False)
        return True

    def record_oom(self, requested: float, at: float) -> bool:
        """The container was killed at ``at`` with ``requested`` bytes asked for. An earlier kill's estimate
        is left out of the sum, so that kills in a row do not run away."""
        interval = self.usage.options.memory_interval
        if self.last_memory is not None and at < self.last_memory - interval:
            return False
        used = max(requested, self.memory_peak)
        options = self.usage.options
        needed = max(used + options.oom_bump_bytes, float(int(used * options.oom_bump_ratio)))
        self._peak(needed, at, oom=True)
        return True

    @property
    def open_peak(self) -> tuple[float, float] | None:
        """(bytes, window end) of the interval still running: kept out of checkpoints, as it may grow yet."""
        highest = max(self.memory_peak, self.oom_peak)
        return (highest, self.window_end) if self.window_end is not None and highest else None

    def _peak(self, size: float, at: float, *, oom: bool) -> None:
        self.last_memory = at if self.last_memory is None else max(self.last_memory, at)
        interval = self.usage.options.memory_interval
        if self.window_end is None:
            self.window_end = at
        if at < self.window_end:
            highest = max(self.memory_peak, self.oom_peak)
            if highest == 0 or size <= highest:
                return
            self.usage.subtract_memory(highest, self.window_end)
        else:
            self.window_end += (at - self.window_end) // interval * interval + interval
            self.memory_peak = self.oom_peak = 0.0
        self.usage.add_memory(size, self.window_end)
        if oom:
            self.oom_peak = size
        else:
            self.memory_peak = size
