"""Cardinality of the head, for ``/api/v1/status/tsdb``. Mirrors ``Head.Stats``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wavetank.model.labels import METRIC_NAME
from wavetank.tsdb.head import Head

__all__ = ["HeadStats", "head_stats"]

Top = list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class HeadStats:
    """Each list has the largest entries first. Times are milliseconds, None while the head is empty."""

    series: int
    chunks: int
    label_pairs: int
    mint_ms: int | None
    maxt_ms: int | None
    series_by_metric: Top
    values_by_label: Top
    bytes_by_label: Top
    series_by_pair: Top


def _top(counts: dict[str, int], limit: int) -> Top:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


def head_stats(head: Head, limit: int) -> HeadStats:
    """Count over the head's index. The lock must be held."""
    index, table = head.index, head.table
    index.refresh()
    per_pair = index.series_counts()
    metrics: dict[str, int] = {}
    values: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for name in index.names():
        pairs = index.pairs_of(name)
        values[name] = len(pairs)
        sizes[name] = sum(len(v.encode()) for v in pairs)
        if name == METRIC_NAME:
            metrics = {v: int(per_pair[p]) for v, p in pairs.items()}
    largest = np.argsort(-per_pair, kind="stable")[:limit].tolist()
    pairs_top = [("=".join(table.pair(p)), int(per_pair[p])) for p in largest]
    empty = head.samples_appended == 0
    return HeadStats(
        series=len(head),
        chunks=head.closed_count + head.open_count,
        label_pairs=table.pair_count,
        mint_ms=None if empty else head.mint_ms,
        maxt_ms=None if empty else head.maxt_ms,
        series_by_metric=_top(metrics, limit),
        values_by_label=_top(values, limit),
        bytes_by_label=_top(sizes, limit),
        series_by_pair=pairs_top,
    )
