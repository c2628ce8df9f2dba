"""Looking into a data directory: ``promtool tsdb list|analyze|dump``.

Mirrors cmd/promtool/tsdb.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.model.labels import METRIC_NAME, Labels, is_legacy_label
from wavetank.model.quoting import format_float, format_float_g, quote
from wavetank.monitoring.rfc3339 import format_time
from wavetank.promql.parser import parse_metric_selector
from wavetank.tsdb.db import DB
from wavetank.tsdb.meta import read_meta
from wavetank.tsdb.options import Options

__all__ = ["analyze", "dump", "list_blocks"]

_ALL: Final = '{__name__=~"(?s:.*)"}'


@contextmanager
def _opened(path: Path) -> Iterator[DB]:
    if not path.is_dir():
        raise InputError(f"no data directory {path}")
    db = DB.open(path, Options(lock_file=False), RealClock())
    try:
        yield db
    finally:
        db.close()


def list_blocks(path: Path, *, human: bool) -> list[str]:
    """The table of blocks."""
    rows = [
        ("BLOCK ULID", "MIN TIME", "MAX TIME", "DURATION", "NUM SAMPLES", "NUM CHUNKS", "NUM SERIES", "SIZE")
    ]
    if not path.is_dir():
        raise InputError(f"no data directory {path}")
    # From the files alone: nothing is opened, so nothing is made in a directory that only holds blocks.
    found = [directory.parent for directory in path.glob("*/meta.json") if len(directory.parent.name) == 26]
    for directory in sorted(found, key=lambda each: read_meta(each).min_time):
        meta = read_meta(directory)
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
        rows.append(
            (
                meta.ulid,
                format_time(meta.min_time / 1000) if human else str(meta.min_time),
                format_time(meta.max_time / 1000) if human else str(meta.max_time),
                f"{(meta.max_time - meta.min_time) / 1000:g}s",
                str(meta.stats.num_samples),
                str(meta.stats.num_chunks),
                str(meta.stats.num_series),
                f"{size / 1024:.0f}KiB" if human else str(size),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def analyze(path: Path, *, limit: int, match: str) -> list[str]:
    """Which labels and metrics have the most series."""
    with _opened(path) as db:
        series = db.series(parse_metric_selector(match or _ALL), -(1 << 62), 1 << 62)
    names: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    metrics: Counter[str] = Counter()
    values: dict[str, set[str]] = {}
    for labels in series:
        metrics[labels.get(METRIC_NAME)] += 1
        for name, value in labels:
            names[name] += 1
            pairs[f"{name}={value}"] += 1
            values.setdefault(name, set()).add(value)
    lines = [f"Total Series: {len(series)}", f"Label names: {len(names)}", f"Label pairs: {len(pairs)}"]
    for title, counts in (
        ("Label pairs most involved in churning:", pairs),
        ("Label names most involved in churning:", names),
        ("Most common label pairs:", pairs),
        (
            "Label names with highest cumulative label value length:",
            Counter({n: sum(map(len, v)) for n, v in values.items()}),
        ),
        ("Highest cardinality labels:", Counter({n: len(v) for n, v in values.items()})),
        ("Highest cardinality metric names:", metrics),
    ):
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
        lines += ["", title, *(f"{count} {name}" for name, count in ranked)]
    return lines


def dump_openmetrics(path: Path, *, mint_ms: int, maxt_ms: int, matches: Sequence[str]) -> Iterator[str]:
    """Every float sample as OpenMetrics text, which ``create-blocks-from openmetrics`` takes back."""
    for labels, value, at_ms in _samples(path, mint_ms, maxt_ms, matches):
        yield f"{_compact(labels)} {format_float(value)} {at_ms / 1000:.3f}"
    yield "# EOF"


def dump(path: Path, *, mint_ms: int, maxt_ms: int, matches: Sequence[str]) -> Iterator[str]:
    """Every float sample, as upstream prints it: labels, value, milliseconds."""
    for labels, value, at_ms in _samples(path, mint_ms, maxt_ms, matches):
        shown: object = labels
        if labels.name:
            rest = "".join(f', {n}="{v}"' for n, v in labels.without(METRIC_NAME))
            shown = f'{{__name__="{labels.name}"{rest}}}'
        yield f"{shown} {format_float_g(value)} {at_ms}"


def _compact(labels: Labels) -> str:
    """A series as OpenMetrics has it: no blanks, and names beyond the classic alphabet in quotes."""
    whole = str(labels.only(METRIC_NAME))
    rest = [f"{n if is_legacy_label(n) else quote(n)}={quote(v)}" for n, v in labels.without(METRIC_NAME)]
    if whole.startswith("{"):
        rest.insert(0, whole[1:-1])
        whole = ""
    return f"{whole}{{{','.join(rest)}}}" if rest else whole


def _samples(
    path: Path, mint_ms: int, maxt_ms: int, matches: Sequence[str]
) -> Iterator[tuple[Labels, float, int]]:
    with _opened(path) as db:
        seen: set[Labels] = set()
        for match in matches or [_ALL]:
            found = db.select(parse_metric_selector(match), mint_ms, maxt_ms)
            for i, labels in enumerate(found.labels):
                if labels in seen:
                    continue
                seen.add(labels)
                part = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
                columns = (found.values[part].tolist(), found.timestamps_ms[part].tolist())
                for value, at_ms in zip(*columns, strict=True):
                    yield labels, value, at_ms
