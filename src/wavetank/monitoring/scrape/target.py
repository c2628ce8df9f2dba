"""From target groups to targets: relabelling, defaults, and when a target is scraped.

Mirrors scrape/target.go and PopulateLabels of prometheus/prometheus. Pure: the same groups and
configuration make the same targets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from wavetank.model.labels import Labels
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.config.values import Duration, format_duration, parse_duration
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.relabel import Relabeling

__all__ = ["DroppedTarget", "Target", "TargetSet", "first_scrape", "make_targets"]

_PARAM: Final = "__param_"
_SWITCHES: Final = (
    "scrape_native_histograms",
    "convert_classic_histograms_to_nhcb",
    "always_scrape_classic_histograms",
)


@dataclass(frozen=True, slots=True)
class Target:
    """Something to scrape. Two targets with the same labels and URL are one."""

    labels: Labels
    url: str
    interval: Duration
    timeout: Duration
    unix_socket: str = ""
    discovered: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)
    switches: tuple[bool, ...] = ()

    @property
    def instance(self) -> str:
        return self.labels.get("instance")


@dataclass(frozen=True, slots=True)
class DroppedTarget:
    """What a relabelling rule dropped."""

    discovered: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TargetSet:
    """The outcome for a job: targets, what was dropped, and what could not become a target and why."""

    active: tuple[Target, ...]
    dropped: tuple[DroppedTarget, ...]
    errors: tuple[str, ...]
    dropped_count: int


def make_targets(config: ScrapeConfig, groups: Iterable[TargetGroup]) -> TargetSet:
    """The targets of a job."""
    relabeling = Relabeling(config.relabel_configs, legacy=config.metric_name_validation_scheme == "legacy")
    active: dict[Target, None] = {}
    dropped: list[DroppedTarget] = []
    errors: list[str] = []
    count = 0
    for group in groups:
        for i, own in enumerate(group.targets):
            discovered = discovered_labels(config, {**group.labels, **own})
            try:
                target = populate(config, discovered, relabeling)
            except ValueError as error:
                errors.append(f"instance {i} in group {group.source}: {error}")
                continue
            if target is not None:
                active[target] = None
                continue
            count += 1
            if not config.keep_dropped_targets or len(dropped) < config.keep_dropped_targets:
                dropped.append(DroppedTarget(discovered))
    return TargetSet(tuple(active), tuple(dropped), tuple(errors), count)


def discovered_labels(config: ScrapeConfig, labels: Mapping[str, str]) -> dict[str, str]:
    """A target's labels before relabelling: its own, and the job's where it has none."""
    defaults = {
        "job": config.job_name,
        "__scrape_interval__": format_duration(config.scrape_interval),
        "__scrape_timeout__": format_duration(config.scrape_timeout),
        "__metrics_path__": config.metrics_path,
        "__scheme__": config.scheme,
        **{_PARAM + name: values[0] for name, values in config.params.items() if values},
        **{f"__{name}__": str(bool(getattr(config, name))).lower() for name in _SWITCHES},
    }
    return {**defaults, **{name: value for name, value in labels.items() if value}}


def populate(config: ScrapeConfig, discovered: Mapping[str, str], relabeling: Relabeling) -> Target | None:
    """The target, or None if it was dropped. Raises ValueError for one that cannot be scraped."""
    labels = relabeling(discovered)
    if not labels:
        return None
    address = labels.get("__address__", "")
    if not address:
        raise ValueError("no address")
    if "/" in address:
        raise ValueError(f'"{address}" is not a valid hostname')
    interval = _duration(labels, "__scrape_interval__", "scrape interval")
    timeout = _duration(labels, "__scrape_timeout__", "scrape timeout")
    if timeout > interval:
        raise ValueError(
            f'scrape timeout cannot be greater than scrape interval ("{timeout}" > "{interval}")'
        )
    public = {name: value for name, value in labels.items() if not name.startswith("__")}
    public.setdefault("instance", address)
    return Target(
        labels=Labels.of(public),
        url=_url(config, labels),
        interval=interval,
        timeout=timeout,
        unix_socket=labels.get("__unix_socket__", ""),
        discovered=discovered,
        switches=tuple(labels.get(f"__{name}__") == "true" for name in _SWITCHES),
    )


def _duration(labels: Mapping[str, str], name: str, word: str) -> Duration:
    try:
        found = parse_duration(labels.get(name, ""))
    except ValueError as error:
        raise ValueError(f"error parsing {word}: {error}") from None
    if found == 0:
        raise ValueError(f"{word} cannot be 0")
    return found


def _url(config: ScrapeConfig, labels: Mapping[str, str]) -> str:
    params: dict[str, list[str]] = {name: list(values) for name, values in config.params.items()}
    for name, value in labels.items():
        if name.startswith(_PARAM):
            key = name[len(_PARAM) :]
            params[key] = [value, *params.get(key, [])[1:]]
    query = urlencode(sorted(params.items()), doseq=True)
    path = labels.get("__metrics_path__", "")
    path = path if not path or path.startswith("/") else f"/{path}"
    url = f"{labels.get('__scheme__', 'http')}://{labels['__address__']}{path}"
    return f"{url}?{query}" if query else url


def first_scrape(target: Target, now: float, seed: int) -> float:
    """The first scrape time after ``now``: the interval's grid, shifted by a hash of the target.

    ``seed`` differs between servers, so that two of them do not scrape a target at the same moment.
    """
    digest = hashlib.md5(f"{target.labels}{target.url}".encode(), usedforsecurity=False).digest()
    interval_ms = int(target.interval)
    offset_ms = (int.from_bytes(digest[:8], "big") ^ seed) % interval_ms
    now_ms = now * 1000
    base_ms = (now_ms - offset_ms) // interval_ms * interval_ms + offset_ms
    return (base_ms + interval_ms if base_ms < now_ms else base_ms) / 1000


def over_limit(targets: Sequence[Target], limit: int) -> str:
    """Why no target of the job is scraped; empty if all are."""
    if limit and len(targets) > limit:
        return f"target_limit exceeded (number of targets: {len(targets)}, limit: {limit})"
    return ""
