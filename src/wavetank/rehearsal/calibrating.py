"""The model of a rehearsal's pods, measured by it: ``model.yaml`` beside its report, for ``simulate``.

``wavetank calibrate`` is a rehearsal of about a minute at two loads, of which only this is kept.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from wavetank.analysis.query import Query
from wavetank.errors import InputError
from wavetank.journal import read_journals
from wavetank.load.stages import RateStage, Stage
from wavetank.rehearsal.outcome.record import JOURNAL_GLOB, WorkloadFacts
from wavetank.rehearsal.plan import Plan, make_plan
from wavetank.rehearsal.report.model import Report
from wavetank.rehearsal.spec import SPEC_FILE
from wavetank.yamlfile import load_documents

__all__ = ["calibrate_directory", "measured_model"]

_STAGE_SECONDS = 30
_ASSUMED_PEAK = 50.0


async def measured_model(
    directory: Path, report: Report, workloads: Sequence[WorkloadFacts], query: Query | None, before: Path
) -> str | None:
    """The text of ``model.yaml`` from the run directory; None where nothing could be measured. ``before`` is
    the rehearsal's directory, whose own model.yaml keeps what cannot be measured."""
    from wavetank.simulation.calibration import StageLoad, calibrate, model_yaml

    records = read_journals(sorted(directory.glob(JOURNAL_GLOB)))
    stages = [
        StageLoad(
            report.started_at + stage.start_seconds,
            report.started_at + stage.end_seconds,
            ((stage.requests or 0) - (stage.failures or 0))
            / max(1.0, stage.end_seconds - stage.start_seconds),
        )
        for stage in report.stages
    ]
    measured = {}
    for workload in workloads if len(workloads) == 1 else ():
        fields, how = await calibrate(workload.name, records, stages, query, workload.cpu_limit_cores)
        if fields:
            measured[workload.name] = (fields, how)
    if not measured:
        return None
    return model_yaml(
        measured, _own_model(before), f"wavetank rehearse of {report.name}, seed {report.environment.seed}"
    )


def _own_model(directory: Path) -> dict[str, Any] | None:
    from wavetank.simulation.model import MODEL_FILE

    path = directory / MODEL_FILE
    if not path.exists():
        return None
    value = load_documents(path)[0].value
    return {k: v for k, v in value.items() if k != "measured"} if isinstance(value, dict) else None


def calibrate_directory(
    directory: Path, *, rates: tuple[float, float] | None, seed: int, quiet: bool
) -> Path:
    """Rehearse at two loads, and write ``DIR/model.yaml``. Raises InputError where nothing was measured."""
    from wavetank.rehearsal.run import Options, run
    from wavetank.simulation.model import MODEL_FILE

    plan = make_plan(directory)
    low, high = rates or two_rates(plan.stages)
    with tempfile.TemporaryDirectory(prefix="wavetank-calibrate-") as temporary:
        copy, out = Path(temporary) / "rehearsal", Path(temporary) / "report"
        shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("report", "simulation", "sweep"))
        _write_stages(plan, copy, (low, high))
        run(Options(directory=copy, out=out, seed=seed, quiet=quiet))
        found = out / MODEL_FILE
        if not found.exists():
            raise InputError("nothing could be measured", fix="see the report above; are there any answers?")
        target = directory / MODEL_FILE
        shutil.copyfile(found, target)
    Console(stderr=True).print(f"wrote {target}", highlight=False)
    return target


def two_rates(stages: Sequence[Stage]) -> tuple[float, float]:
    """A light load and a middling one, from those that the rehearsal asks for."""
    peaks = [rate for s in stages if isinstance(s, RateStage) for _, rate in s.points if rate > 0]
    high = max(peaks, default=_ASSUMED_PEAK)
    return max(1.0, round(high / 10, 2)), max(2.0, round(high / 2, 2))


def _write_stages(plan: Plan, copy: Path, rates: Sequence[float]) -> None:
    """The copy's rehearsal.yaml with two stages, and without the SLOs: this run judges nothing."""
    document = dict(plan.document.value)
    spec = {k: v for k, v in document["spec"].items() if k not in ("slos", "report")}
    spec["load"] = {
        **spec["load"],
        "stages": [{"duration": f"{_STAGE_SECONDS}s", "rps": rate, "arrivals": "poisson"} for rate in rates],
    }
    spec["report"] = {"formats": ["json"]}
    (copy / SPEC_FILE).write_text(yaml.safe_dump({**document, "spec": spec}, sort_keys=False))


def calibrate_run(run: Path, directory: Path) -> Path:
    """From a kept run directory (``rehearse --keep``) instead of a rehearsal of its own."""
    from wavetank.clock import VirtualClock
    from wavetank.rehearsal.outcome.build import build_report
    from wavetank.rehearsal.outcome.record import read_record
    from wavetank.simulation.model import MODEL_FILE
    from wavetank.simulation.query import EngineQuery
    from wavetank.tsdb.db import DB
    from wavetank.tsdb.options import Options

    if not (run / "run.json").exists():
        raise InputError(f"{run} is no run directory", fix="give the one that rehearse --keep names")
    record = read_record(run)
    at = record.ended_at or record.started_at
    with tempfile.TemporaryDirectory(prefix="wavetank-calibrate-") as temporary:
        data = next((p.parent for p in run.rglob("wal") if p.is_dir()), None)
        if data is None:
            raise InputError(f"{run} holds no TSDB", fix="give the directory that rehearse --keep names")
        copied = Path(temporary) / "data"
        shutil.copytree(data, copied)
        db = DB.open(copied, Options(retention_ms=0), VirtualClock(at))
        try:
            query = EngineQuery(db)
            report = asyncio.run(build_report(run, query, at))
            text = asyncio.run(measured_model(run, report, record.workloads, query, directory))
        finally:
            db.close()
    if text is None:
        raise InputError(f"nothing could be measured from {run}")
    target = directory / MODEL_FILE
    target.write_text(text)
    return target
