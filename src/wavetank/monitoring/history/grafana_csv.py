"""A CSV file as Grafana exports it: "Series joined by time", or as rows of series, time and value.

The first column is the time, as epoch milliseconds (or seconds), RFC 3339 or ``YYYY-MM-DD HH:MM:SS`` in a
zone that is given; each other column is a series, named by its header as Prometheus writes series. A header
that is only a legend takes its metric name from outside and keeps the legend as a label.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from wavetank.errors import InputError, Location
from wavetank.limits import IMPORT_CSV_BYTES_MAX, MIB
from wavetank.model.labels import METRIC_NAME, Labels, Matcher
from wavetank.monitoring.history.extras import Extras
from wavetank.monitoring.history.source import Estimate
from wavetank.monitoring.rfc3339 import parse_time_ms
from wavetank.promql.parser import ParseError, parse_metric
from wavetank.tsdb.decode import LooseSamples
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.querier import Found

__all__ = ["GrafanaCSV"]

_TIME_HEADERS: Final = ("time", "timestamp", "date", "datetime")
_MILLISECONDS_FROM: Final = 100_000_000_000  # as seconds this would be the year 5138
_BYTES_PER_SAMPLE: Final = 2
_LEGEND_LABEL: Final = "series"
_DAY_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?")
_NOTHING: Final = ("", "null", "undefined")


class GrafanaCSV:
    """Implements ``HistorySource``; the whole file is in memory."""

    def __init__(
        self,
        path: Path,
        selectors: Sequence[Sequence[Matcher]],
        *,
        metric: str = "",
        zone: str = "UTC",
    ) -> None:
        """Raises InputError naming the line that cannot be read."""
        self.notes: list[str] = []
        self._path = path
        self._metric = metric
        try:
            self._zone = zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise InputError(f"--timezone: {zone!r} is not known", fix="e.g. UTC, Europe/Berlin") from None
        if path.stat().st_size > IMPORT_CSV_BYTES_MAX:
            raise InputError(
                f"{path} is larger than {IMPORT_CSV_BYTES_MAX // MIB} MiB", fix="split it by time"
            )
        found: dict[Labels, list[tuple[int, float]]] = {}
        for labels, at_ms, value in self._samples():
            if any(all(m.matches(labels.get(m.name)) for m in selector) for selector in selectors):
                found.setdefault(labels, []).append((at_ms, value))
        self._labels = sorted(found)
        every = [(i, t, v) for i, each in enumerate(self._labels) for t, v in sorted(found[each])]
        self._series = np.array([i for i, _, _ in every], np.int64)
        self._times = np.array([t for _, t, _ in every], np.int64)
        self._values = np.array([v for _, _, v in every], np.float64)

    def _samples(self) -> Iterator[tuple[Labels, int, float]]:
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = ","
            if first.lower().startswith("sep="):
                delimiter = first.strip()[4:5] or ","
            else:
                delimiter = max(",;\t", key=first.count)
                file.seek(0)
            rows = csv.reader(file, delimiter=delimiter)
            try:
                yield from self._rows(rows)
            except csv.Error as error:
                raise self._error(rows.line_num, str(error)) from None
            except UnicodeDecodeError:
                raise self._error(rows.line_num, "is not UTF-8") from None

    def _rows(self, rows: Iterator[list[str]]) -> Iterator[tuple[Labels, int, float]]:
        header = [cell.strip() for cell in next(rows, [])]
        lower = [cell.lower() for cell in header]
        if {"series", "value"} <= set(lower) and any(name in lower for name in _TIME_HEADERS):
            yield from self._long(rows, lower)
            return
        if len(header) < 2 or lower[0] not in _TIME_HEADERS:
            raise self._error(1, f"the first column is {header[:1]}, not Time")
        columns = [self._named(cell) for cell in header[1:]]
        for row in rows:
            if not any(row):
                continue
            if len(row) != len(header):
                raise self._error(_line(rows), f"has {len(row)} cells, the header {len(header)}")
            at_ms = self._time(row[0], _line(rows))
            for labels, cell in zip(columns, row[1:], strict=True):
                if cell.strip().lower() not in _NOTHING:
                    yield labels, at_ms, self._value(cell, _line(rows))

    def _long(self, rows: Iterator[list[str]], header: list[str]) -> Iterator[tuple[Labels, int, float]]:
        series, value = header.index("series"), header.index("value")
        time = next(i for i, name in enumerate(header) if name in _TIME_HEADERS)
        known: dict[str, Labels] = {}
        for row in rows:
            if not any(row):
                continue
            if len(row) != len(header):
                raise self._error(_line(rows), f"has {len(row)} cells, the header {len(header)}")
            if row[value].strip().lower() in _NOTHING:
                continue
            labels = known.get(row[series]) or known.setdefault(row[series], self._named(row[series]))
            yield labels, self._time(row[time], _line(rows)), self._value(row[value], _line(rows))

    def _named(self, header: str) -> Labels:
        """The series a header names. Raises InputError where a metric name is missing."""
        labels = Labels()
        if header.lower() != "value":  # Grafana's name for a column without any
            try:
                labels = Labels.of(parse_metric(header))
            except (ParseError, ValueError):
                labels = Labels.of({_LEGEND_LABEL: header})
        if not labels.name:
            if not self._metric:
                raise self._error(1, f"column {header!r} has no metric name", fix="give --metric NAME")
            labels = labels.replace(**{METRIC_NAME: self._metric})
        return labels

    def _time(self, cell: str, line: int) -> int:
        cell = cell.strip()
        try:
            number = float(cell)
        except ValueError:
            pass
        else:
            if np.isfinite(number):
                return round(number if abs(number) >= _MILLISECONDS_FROM else number * 1000)
        if _DAY_TIME.fullmatch(cell):
            try:
                moment = dt.datetime.fromisoformat(cell).replace(tzinfo=self._zone)
            except ValueError:
                pass
            else:
                return round(moment.timestamp() * 1000)
        try:
            return parse_time_ms(cell)
        except ValueError:
            raise self._error(line, f"{cell!r} is not a time", fix="export it unformatted") from None

    def _value(self, cell: str, line: int) -> float:
        try:
            return float(cell)
        except ValueError:
            raise self._error(
                line, f"{cell!r} is not a number", fix="switch off 'Formatted data' when exporting"
            ) from None

    def _error(self, line: int, text: str, fix: str | None = None) -> InputError:
        return InputError(text, at=Location(str(self._path), line), fix=fix)

    def extent(self) -> tuple[int, int] | None:
        return (int(self._times.min()), int(self._times.max())) if len(self._times) else None

    def estimate(self, mint_ms: int, maxt_ms: int) -> Estimate:
        count = int(np.count_nonzero((self._times >= mint_ms) & (self._times <= maxt_ms)))
        return Estimate(count, count * _BYTES_PER_SAMPLE)

    def read(self, mint_ms: int, maxt_ms: int) -> Iterator[Found]:
        inside = (self._times >= mint_ms) & (self._times <= maxt_ms)
        if not inside.any():
            return
        present, series = np.unique(self._series[inside], return_inverse=True)
        none = np.empty(0, np.int64)
        chunks = ChunkSet(none, none, none, none, none, none, none, [])
        loose = LooseSamples(series, self._times[inside], self._values[inside])
        yield Found([self._labels[i] for i in present.tolist()], chunks, loose)

    def extras(self, mint_ms: int, maxt_ms: int) -> Extras:
        return Extras()

    def close(self) -> None:
        """Nothing is open."""


def _line(rows: Iterator[list[str]]) -> int:
    line: int = getattr(rows, "line_num", 0)
    return line
