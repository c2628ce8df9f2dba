"""``promtool check service-discovery``: what a job's discovery finds, and what relabelling makes of it.

Mirrors cmd/promtool/sd.go: discovery runs for a while, then every target is shown before and after.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.monitoring.config import ScrapeConfig, load_config
from wavetank.monitoring.discovery import DiscoveryPool
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.relabel import Relabeling
from wavetank.monitoring.scrape.target import discovered_labels, populate

__all__ = ["check_discovery", "job_of", "shown_targets"]


def job_of(path: Path, name: str) -> ScrapeConfig:
    """A job of a configuration file. Raises InputError, naming the jobs there are."""
    jobs = {job.job_name: job for job in load_config(path).scrape_configs}
    if name not in jobs:
        raise InputError("\n\t".join([f"Job {name} not found. Select one of:", *jobs]))
    return jobs[name]


async def check_discovery(config: ScrapeConfig, clock: Clock, seconds: float) -> list[dict[str, Any]]:
    """Every target that discovery found within the time, once."""
    found: list[TargetGroup] = []

    def take(name: str, groups: Sequence[TargetGroup]) -> None:
        found[:] = groups

    pool = DiscoveryPool(clock, dict(os.environ), take)
    pool.apply({config.job_name: config})
    try:
        await clock.sleep(seconds)
    finally:
        await pool.close()
    return shown_targets(config, found)


def shown_targets(config: ScrapeConfig, groups: Sequence[TargetGroup]) -> list[dict[str, Any]]:
    """``discoveredLabels``, ``labels`` and, where there is one, ``error`` of each target."""
    relabeling = Relabeling(config.relabel_configs, legacy=config.metric_name_validation_scheme == "legacy")
    shown: list[dict[str, Any]] = []
    for group in groups:
        for own in group.targets:
            discovered = discovered_labels(config, {**group.labels, **own})
            entry: dict[str, Any] = {"discoveredLabels": dict(sorted(discovered.items())), "labels": {}}
            try:
                target = populate(config, discovered, relabeling)
            except ValueError as error:
                entry["error"] = str(error)
            else:
                entry["labels"] = {} if target is None else target.labels.to_dict()
            if entry not in shown:
                shown.append(entry)
    return shown
