"""The metric families of a text exposition, as expfmt of prometheus/common groups its lines.

Histograms and summaries are one family of several names; everything else is a family of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from wavetank.exposition import parse
from wavetank.model.labels import METRIC_NAME, Labels

__all__ = ["Family", "families"]

_HELP: Final = re.compile(rb"^[ \t]*#[ \t]+HELP[ \t]+(\S+)", re.MULTILINE)
_PARTS: Final = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
_OWN_LABEL: Final = {"histogram": "le", "summary": "quantile"}
_TYPES: Final = frozenset({"counter", "gauge", "histogram", "summary"})


@dataclass(slots=True)
class Family:
    """``metrics`` has one entry a metric: its labels without ``le`` and ``quantile`` of histograms and
    summaries, and its samples: name, labels, milliseconds or None, value."""

    name: str
    type: str
    has_help: bool
    help: str
    metrics: list[tuple[Labels, list[tuple[str, Labels, int | None, float]]]] = field(default_factory=list)


def families(body: bytes) -> list[Family]:
    """In the order of their first lines. Raises InputError for a body that does not parse."""
    found = parse(body, "text/plain; version=0.0.4", default_timestamp_ms=0)
    helps = {name.decode("utf-8", "replace").strip('"') for name in _HELP.findall(body)}
    types = {name: entry.type for name, entry in found.metadata.items()}
    made: dict[str, Family] = {}
    known: dict[tuple[str, Labels], list[tuple[str, Labels, int | None, float]]] = {}
    rows = zip(
        found.labels,
        found.timestamps_ms.tolist(),
        found.explicit.tolist(),
        found.values.tolist(),
        strict=True,
    )
    for labels, at_ms, explicit, value in rows:
        name, kind = _family_of(labels.name, types)
        family = made.get(name)
        if family is None:
            entry = found.metadata.get(name)
            family = made[name] = Family(name, kind, name in helps, entry.help if entry else "")
        own = labels.without(METRIC_NAME, _OWN_LABEL.get(kind, METRIC_NAME))
        metric = known.get((name, own)) if kind in _PARTS else None
        if metric is None:
            metric = known[name, own] = []
            family.metrics.append((own, metric))
        metric.append((labels.name, labels.without(METRIC_NAME), at_ms if explicit else None, value))
    return list(made.values())


def _family_of(name: str, types: dict[str, str]) -> tuple[str, str]:
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        kind = types.get(base, "")
        if base != name and suffix in _PARTS.get(kind, ()):
            return base, kind
    kind = types.get(name, "")
    return name, kind if kind in _TYPES else "untyped"
