"""Looking into a data directory: ``promtool tsdb list|dump|dump-openmetrics``.

Mirrors cmd/promtool/tsdb.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels, braced, is_legacy_label
from wavetank.model.quoting import format_float_g, go_duration, quote
from wavetank.model.value import is_stale_nan
from wavetank.monitoring.history.copy import pieces
from wavetank.monitoring.history.directory import Directory
from wavetank.monitoring.rfc3339 import format_time
from wavetank.promql.parser import parse_metric_selector
from wavetank.tsdb.decode import Columns
from wavetank.tsdb.meta import read_meta

__all__ = ["Part", "dump", "dump_openmetrics", "dump_series", "list_blocks"]

_COLUMN_MIN: Final = 13  # characters
_ALL: Final = '{__name__=~"(?s:.*)"}'


def list_blocks(path: Path, *, human: bool) -> list[str]:
    """The table of blocks."""
    rows = [
        ("BLOCK ULID", "MIN TIME", "MAX TIME", "DURATION", "NUM SAMPLES", "NUM CHUNKS", "NUM SERIES", "SIZE")
    ]
    if not path.is_dir():
        raise InputError(f"opening the db dir: stat {path}: no such file or directory")
    # From the files alone: nothing is opened, so nothing is made in a directory that only holds blocks.
    found = [directory.parent for directory in path.glob("*/meta.json") if len(directory.parent.name) == 26]
    for directory in sorted(found, key=lambda each: read_meta(each).min_time):
        meta = read_meta(directory)
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
        rows.append(
            (
                meta.ulid,
                _time(meta.min_time) if human else str(meta.min_time),
                _time(meta.max_time) if human else str(meta.max_time),
                go_duration((meta.max_time - meta.min_time) / 1000),
                str(meta.stats.num_samples),
                str(meta.stats.num_chunks),
                str(meta.stats.num_series),
                _bytes(size) if human else str(size),
            )
        )
    widths = [max(_COLUMN_MIN, 2 + max(len(row[i]) for row in rows)) for i in range(len(rows[0]) - 1)]
    return ["".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in rows]


def _time(time_ms: int) -> str:
    """As Go prints a time: whole seconds."""
    return format_time(time_ms // 1000).replace("T", " ").replace("Z", " +0000 UTC")


def _bytes(size: int) -> str:
    """As Go's units print it: 1MiB20KiB3B."""
    text = ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        size, rest = (0, size) if unit == "GiB" else divmod(size, 1024)
        text = f"{rest}{unit}{text}" if rest else text
    return text or "0B"


@dataclass(frozen=True, slots=True)
class Part:
    """What to dump. ``sandbox`` is where a copy of the log is put; the directory itself is never written to,
    so that its server may run."""

    path: Path
    mint_ms: int
    maxt_ms: int
    matches: Sequence[str]
    sandbox: Path | None = None

    def series(self) -> Iterator[tuple[Labels, Sequence[float | FloatHistogram], Sequence[int]]]:
        """Each series once, with its values and their times. Raises InputError."""
        if not self.path.is_dir():
            raise InputError(f"opening the db dir: stat {self.path}: no such file or directory")
        selectors = [parse_metric_selector(match) for match in self.matches or [_ALL]]
        scratch = self.sandbox or self.path.absolute().parent
        source = Directory(self.path, selectors, RealClock(), external_labels=False, scratch=scratch)
        try:
            seen: set[Labels] = set()
            for found in source.read(self.mint_ms, self.maxt_ms):
                for labels, columns in pieces(found, self.mint_ms, self.maxt_ms):
                    yield from _series(labels, columns, seen)
        finally:
            source.close()


def _series(
    labels: Sequence[Labels], columns: Columns, seen: set[Labels]
) -> Iterator[tuple[Labels, Sequence[float | FloatHistogram], Sequence[int]]]:
    for i in sorted(range(len(labels)), key=lambda i: labels[i].pairs):
        if labels[i] in seen:
            continue
        seen.add(labels[i])
        part = slice(int(columns.offsets[i]), int(columns.offsets[i + 1]))
        values: list[Any] = columns.values[part].tolist()
        if columns.histograms is not None:
            held = columns.histograms[part]
            values = [v if h is None else h for v, h in zip(values, held, strict=True)]
        if values:
            yield labels[i], values, columns.timestamps_ms[part].tolist()


def dump(part: Part) -> Iterator[str]:
    """Every sample, as upstream prints it: labels, value or histogram, milliseconds."""
    for labels, values, times in part.series():
        shown = braced(labels)
        for value, at_ms in zip(values, times, strict=True):
            yield f"{shown} {format_float_g(value) if isinstance(value, float) else value} {at_ms}"


def dump_series(part: Part) -> Iterator[str]:
    """Every series as a JSON object, once."""
    for labels, _, _ in part.series():
        yield msgspec.json.encode(labels.to_dict()).decode()


def dump_openmetrics(part: Part) -> Iterator[str]:
    """Every float sample as OpenMetrics text, which ``create-blocks-from openmetrics`` takes back."""
    for labels, values, times in part.series():
        shown = _compact(labels)
        for value, at_ms in zip(values, times, strict=True):
            if isinstance(value, float) and not is_stale_nan(value):
                yield f"{shown} {format_float_g(value)} {at_ms / 1000:.3f}"
    yield "# EOF"


def _compact(labels: Labels) -> str:
    """A series as OpenMetrics has it: no blanks, and names beyond the classic alphabet in quotes."""
    whole = str(labels.only(METRIC_NAME))
    rest = [f"{n if is_legacy_label(n) else quote(n)}={quote(v)}" for n, v in labels.without(METRIC_NAME)]
    if whole.startswith("{"):
        rest.insert(0, whole[1:-1])
        whole = ""
    return f"{whole}{{{','.join(rest)}}}"
