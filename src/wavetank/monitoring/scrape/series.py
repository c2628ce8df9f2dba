"""From exposed series to stored ones: target labels, conflicts, metric relabelling, limits.

Mirrors mutateSampleLabels, mutateReportSampleLabels and verifyLabelLimits of scrape/scrape.go. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.relabel import Relabeling, valid_label_name
from wavetank.monitoring.scrape.fetch import ScrapeFailed

__all__ = ["Mutate", "adds_only", "check_label_limits", "mutator", "report_labels"]

_EXPORTED: Final = "exported_"
_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

# Exposed labels to stored ones; None where a rule drops the series.
Mutate = Callable[[Labels], Labels | None]


def mutator(config: ScrapeConfig, target: Labels) -> Mutate:
    """The function of a target. It raises ScrapeFailed if the result breaks a limit or has no name."""
    legacy = config.metric_name_validation_scheme == "legacy"
    relabeling = Relabeling(config.metric_relabel_configs, legacy=legacy)
    limited = config.label_limit or config.label_name_length_limit or config.label_value_length_limit
    honor = config.honor_labels
    simple = adds_only(config)
    fixed = target.pairs
    taken = frozenset(name for name, _ in fixed)

    def mutate(exposed: Labels) -> Labels | None:
        if simple and exposed.name and taken.isdisjoint([name for name, _ in exposed.pairs]):
            return Labels(tuple(sorted(exposed.pairs + fixed)))
        merged = _honored(exposed, target) if honor else _conflicts_renamed(exposed, target)
        if relabeling:
            kept = relabeling(merged)
            if not kept:
                return None
            merged = kept
        labels = Labels.of(merged)
        if not labels.name:
            raise ScrapeFailed("missing metric name (__name__ label)")
        if legacy and not _is_legacy(labels):
            raise ScrapeFailed(f"invalid metric name or label names: {labels}")
        if limited:
            check_label_limits(labels, config)
        return labels

    return mutate


def adds_only(config: ScrapeConfig) -> bool:
    """Whether series are stored as exposed with the target's labels, nothing dropped, checked or renamed but
    labels of the same name."""
    return not (
        config.metric_relabel_configs
        or config.metric_name_validation_scheme == "legacy"
        or config.label_limit
        or config.label_name_length_limit
        or config.label_value_length_limit
    )


def _is_legacy(labels: Labels) -> bool:
    """Whether the names are such as there were before UTF-8 was allowed."""
    return _METRIC.fullmatch(labels.name) is not None and all(
        valid_label_name(name, legacy=True) for name, _ in labels
    )


def _honored(exposed: Labels, target: Labels) -> dict[str, str]:
    """``honor_labels``: what the target exposes stands."""
    return {**dict(target.pairs), **dict(exposed.pairs)}


def _conflicts_renamed(exposed: Labels, target: Labels) -> dict[str, str]:
    """The target's labels stand; exposed ones of the same name become ``exported_<name>``."""
    merged = {**dict(exposed.pairs), **dict(target.pairs)}
    conflicts = [(name, value) for name, value in exposed.pairs if name in target]
    for name, value in sorted(conflicts, key=lambda pair: len(pair[0])):
        renamed = _EXPORTED + name
        while renamed in merged:
            renamed = _EXPORTED + renamed
        merged[renamed] = value
    return merged


def report_labels(name: str, target: Labels) -> Labels:
    """The labels of a series about the scrape itself, such as ``up``."""
    return target.replace(**{METRIC_NAME: name})


def check_label_limits(labels: Labels, config: ScrapeConfig) -> None:
    """Raises ScrapeFailed, in upstream's words."""
    name = labels.name[:50]
    if config.label_limit and len(labels) > config.label_limit:
        raise ScrapeFailed(
            f"label_limit exceeded (metric: {name}, number of labels: {len(labels)}, "
            f"limit: {config.label_limit})"
        )
    for label, value in labels:
        if config.label_name_length_limit and len(label.encode()) > config.label_name_length_limit:
            raise ScrapeFailed(
                f"label_name_length_limit exceeded (metric: {name}, label name: {label[:50]}, "
                f"length: {len(label.encode())}, limit: {config.label_name_length_limit})"
            )
        if config.label_value_length_limit and len(value.encode()) > config.label_value_length_limit:
            raise ScrapeFailed(
                f"label_value_length_limit exceeded (metric: {name}, label name: {label[:50]}, "
                f'value: "{value[:50]}", length: {len(value.encode())}, '
                f"limit: {config.label_value_length_limit})"
            )
