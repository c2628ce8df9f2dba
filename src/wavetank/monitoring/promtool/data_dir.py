"""Looking into a data directory: ``promtool tsdb list|dump``.

Mirrors cmd/promtool/tsdb.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels, is_legacy_label
from wavetank.model.quoting import format_float, format_float_g, go_duration, quote
from wavetank.model.value import is_stale_nan
from wavetank.monitoring.rfc3339 import format_time
from wavetank.promql.parser import parse_metric_selector
from wavetank.tsdb.db import DB
from wavetank.tsdb.meta import read_meta
from wavetank.tsdb.options import Options

__all__ = ["dump", "dump_openmetrics", "list_blocks"]

_COLUMN_MIN: Final = 13  # characters
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
                go_duration((meta.max_time - meta.min_time) / 1000),
                str(meta.stats.num_samples),
                str(meta.stats.num_chunks),
                str(meta.stats.num_series),
                f"{size / 1024:.0f}KiB" if human else str(size),
            )
        )
    widths = [max(_COLUMN_MIN, 2 + max(len(row[i]) for row in rows)) for i in range(len(rows[0]) - 1)]
    return ["".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in rows]


def dump_openmetrics(path: Path, *, mint_ms: int, maxt_ms: int, matches: Sequence[str]) -> Iterator[str]:
    """Every float sample as OpenMetrics text, which ``create-blocks-from openmetrics`` takes back."""
    for labels, value, at_ms in _samples(path, mint_ms, maxt_ms, matches):
        if isinstance(value, float) and not is_stale_nan(value):
            yield f"{_compact(labels)} {format_float(value)} {at_ms / 1000:.3f}"
    yield "# EOF"


def dump(path: Path, *, mint_ms: int, maxt_ms: int, matches: Sequence[str]) -> Iterator[str]:
    """Every sample, as upstream prints it: labels, value or histogram, milliseconds."""
    for labels, value, at_ms in _samples(path, mint_ms, maxt_ms, matches):
        shown: object = labels
        if labels.name:
            rest = "".join(f', {n}="{v}"' for n, v in labels.without(METRIC_NAME))
            shown = f'{{__name__="{labels.name}"{rest}}}'
        yield f"{shown} {format_float_g(value) if isinstance(value, float) else value} {at_ms}"


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
) -> Iterator[tuple[Labels, float | FloatHistogram, int]]:
    with _opened(path) as db:
        seen: set[Labels] = set()
        for match in matches or [_ALL]:
            found = db.select(parse_metric_selector(match), mint_ms, maxt_ms)
            for i, labels in enumerate(found.labels):
                if labels in seen:
                    continue
                seen.add(labels)
                part = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
                values: list[Any] = found.values[part].tolist()
                if found.histograms is not None:
                    values = [
                        v if h is None else h for v, h in zip(values, found.histograms[part], strict=True)
                    ]
                for value, at_ms in zip(values, found.timestamps_ms[part].tolist(), strict=True):
                    yield labels, value, at_ms
