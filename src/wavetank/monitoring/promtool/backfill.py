"""Blocks from text and from rules: ``promtool tsdb create-blocks-from``.

Mirrors cmd/promtool/backfill.go and rules.go. The text is read a few megabytes at a time by the kernel that
reads scrapes, so that memory does not grow with the file; blocks may then be moved into a data directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.exposition.errors import ExpositionError
from wavetank.exposition.scrape_cache import ScrapeCache
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.promtool.remote import ask
from wavetank.monitoring.rules.file import load_rule_file
from wavetank.tsdb.bulk import BulkWriter

__all__ = ["blocks_from_openmetrics", "blocks_from_rules"]

_FIRST_BYTES: Final = 64 * 1024  # a first small piece: most series are known after it
_PIECE_BYTES: Final = 4 * 1024 * 1024
_TYPE: Final = "application/openmetrics-text; version=1.0.0"
_END: Final = b"# EOF\n"
_STEPS_MAX: Final = 10_000  # of one range query; servers refuse more than 11,000


def _pieces(path: Path) -> Iterator[tuple[bytes, int]]:
    """Whole lines, some megabytes at a time, each piece begun by the last ``# TYPE`` before it.

    With each comes what to add to a line's number in it to get the number in the file.
    """
    size = _FIRST_BYTES
    before = 0
    family = rest = b""
    with path.open("rb") as file:
        while block := file.read(size):
            size = _PIECE_BYTES
            head, newline, tail = (rest + block).rpartition(b"\n")
            rest = tail
            if not newline:
                continue
            piece = head + newline
            yield family + piece, before - bool(family)
            before += piece.count(b"\n")
            at = piece.rfind(b"# TYPE ")
            if at >= 0:
                family = piece[at : piece.index(b"\n", at) + 1]
    if rest:
        yield family + rest + b"\n", before - bool(family)


def blocks_from_openmetrics(
    source: Path, output: Path, clock: Clock, *, width_ms: int, labels: Mapping[str, str]
) -> list[Path]:
    """Write the samples of an OpenMetrics file as blocks. Raises InputError naming what is wrong."""
    output.mkdir(parents=True, exist_ok=True)
    writer = BulkWriter(output, clock, width_ms=width_ms)
    cache = ScrapeCache(track_explicit=True)
    ended = False
    try:
        for piece, before in _pieces(source):
            if ended:
                raise InputError(f"{source}: text after # EOF")
            ended = piece.endswith(_END)
            try:
                _add(writer, cache, piece if ended else piece + _END, labels, source)
            except ExpositionError as error:
                raise InputError(f"{source}: line {before + error.line}: {error.message}") from None
    except OSError as error:
        raise InputError(f"cannot read {source}: {error}") from None
    if not ended:
        raise InputError(f"{source}: data does not end with # EOF")
    return writer.finish()


def _add(
    writer: BulkWriter, cache: ScrapeCache, body: bytes, labels: Mapping[str, str], source: Path
) -> None:
    scrape = cache.parse(body, _TYPE, default_timestamp_ms=0)
    if scrape.histograms:
        raise InputError(f"{source}: native histograms cannot be backfilled")
    if not scrape.explicit.all():
        raise InputError(f"{source}: sample without a timestamp", fix="give every sample a timestamp")
    if scrape.new:
        made = [Labels.of(found, **labels) if labels else found for _, found in scrape.new]
        for (index, _), row in zip(scrape.new, writer.rows(made).tolist(), strict=True):
            cache.bind(scrape, index, row)
    writer.add(scrape.refs.copy(), scrape.timestamps_ms.copy(), scrape.values.copy())


def blocks_from_rules(
    files: Sequence[Path],
    output: Path,
    clock: Clock,
    *,
    url: str,
    start_ms: int,
    end_ms: int,
    step_ms: int,
    headers: Mapping[str, str],
    width_ms: int,
    http: HTTPClientConfig | None = None,
) -> list[Path]:
    """Evaluate recording rules over the past of a server and write the results as blocks.

    Raises InputError for files or a server that cannot be used, CheckFailed for queries that fail.
    """
    if end_ms < start_ms:
        raise InputError("end time is before start time", fix="give a later --end")
    output.mkdir(parents=True, exist_ok=True)
    writer = BulkWriter(output, clock, width_ms=width_ms)
    for path in files:
        for group in load_rule_file(path).groups:
            step = int(group.interval) if group.interval else step_ms
            for rule in [r for r in group.rules if r.record]:
                labels = dict(group.labels) | dict(rule.labels) | {METRIC_NAME: rule.record}
                for first in range(start_ms, end_ms + 1, step * _STEPS_MAX):
                    last = min(end_ms, first + step * (_STEPS_MAX - 1))
                    data = ask(url, "query_range", _params(rule.expr, first, last, step), headers, http)
                    _add_result(writer, data, labels)
    return writer.finish()


def _params(expr: str, start_ms: int, end_ms: int, step_ms: int) -> list[tuple[str, str]]:
    times = (("start", start_ms), ("end", end_ms), ("step", step_ms))
    return [("query", expr), *((name, f"{ms / 1000:.3f}") for name, ms in times)]


def _add_result(writer: BulkWriter, data: Any, labels: Mapping[str, str]) -> None:
    for entry in data["result"]:
        points = entry.get("values", ())
        row = int(writer.rows([Labels.of(entry["metric"], **labels)])[0])
        times = np.array([round(float(t) * 1000) for t, _ in points], np.int64)
        values = np.array([float(v) for _, v in points], np.float64)
        writer.add(np.full(len(times), row, np.int64), times, values)
