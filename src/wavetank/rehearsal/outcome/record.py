"""What the runner writes down as it goes: one JSON file, replaced whole at every change of state.

Together with the journals and the load rows of the same directory it is all the report needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

__all__ = ["LoadSecond", "RunRecord", "WorkloadFacts", "read_load", "read_record", "write_record"]

RECORD_FILE = "run.json"
LOAD_FILE = "load.jsonl"
JOURNAL_GLOB = "journal-*.jsonl"


class WorkloadFacts(Struct, frozen=True, kw_only=True):
    """What the manifests say of a workload and its HPA. CPU in cores, memory in bytes."""

    namespace: str
    name: str
    kind: str
    replicas: int = 1
    hpa: str | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    cpu_target_ratio: float | None = None
    cpu_request_cores: float | None = None
    cpu_limit_cores: float | None = None
    memory_limit_bytes: int | None = None


class SloFacts(Struct, frozen=True, kw_only=True):
    name: str
    kind: Literal["ratio", "threshold"]
    objective: float | None = None
    errors: str = ""
    total: str = ""
    expr: str = ""
    min: float | None = None
    max: float | None = None
    unit: str = "ratio"


class LoadSecond(Struct, frozen=True, kw_only=True):
    """One second of load, all request names together. Percentiles are of response time, in seconds."""

    second: int
    scheduled: int = 0
    started: int = 0
    dropped: int = 0
    requests: int = 0
    failures: int = 0
    users: int = 0
    busy: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    lateness_p99: float | None = None
    cpu: float = 0.0  # of one core, this second


class RunRecord(Struct, kw_only=True):
    """The run so far. Times are Unix seconds."""

    name: str
    tank: str
    started_at: float
    state: Literal["starting", "running", "ended", "interrupted"] = "starting"
    reason: str = ""
    ended_at: float | None = None
    load_started_at: float | None = None
    load_ended_at: float | None = None
    first_request_at: float | None = None
    seed: int = 0
    command: str = ""
    directory: str = ""
    out: str = ""
    formats: list[str] = []
    enforcer: str = "unknown"
    runtime: str = "process"
    versions: dict[str, str] = {}
    modelled: list[tuple[str, str]] = []
    notes: list[str] = []
    monitoring_url: str = ""
    dashboards: list[str] = []
    workloads: list[WorkloadFacts] = []
    slos: list[SloFacts] = []
    nodes: list[str] = []
    load: dict[str, Any] = {}
    figures: dict[str, float] = {}
    files: dict[str, str] = {}


def write_record(directory: Path, record: RunRecord) -> None:
    temporary = directory / f"{RECORD_FILE}.new"
    temporary.write_bytes(msgspec.json.encode(record))
    temporary.replace(directory / RECORD_FILE)


def read_record(directory: Path) -> RunRecord:
    return msgspec.json.decode((directory / RECORD_FILE).read_bytes(), type=RunRecord)


def read_load(directory: Path) -> list[LoadSecond]:
    """The load's seconds in order; a later row of a second replaces the earlier one."""
    path = directory / LOAD_FILE
    if not path.exists():
        return []
    rows: dict[int, LoadSecond] = {}
    decoder = msgspec.json.Decoder(LoadSecond)
    for line in path.read_bytes().splitlines():
        try:
            row = decoder.decode(line)
        except msgspec.DecodeError:
            continue  # the torn last line of a killed run
        rows[row.second] = row
    return [rows[second] for second in sorted(rows)]
