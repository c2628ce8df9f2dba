"""``--workload FILE``: load for a simulation that no stage could ask for, such as a day, a week or history.

A file holds one of: a ``shape`` (base, daily and weekly course, flash crowds), a ``trace`` (a CSV of time and
rate), or ``history`` (a PromQL expression over a Prometheus server or data directory). All become arrivals a
second. A trace that has gaps, repeated rows or times that go back is refused with the line, or repaired in
the way that the file asks for; every repair is said in the report.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from wavetank.analysis.query import Query
from wavetank.errors import InputError, Location
from wavetank.limits import LOAD_RATE_MAX, SIMULATION_SECONDS_MAX, SIMULATION_TRACE_ROWS_MAX
from wavetank.load.stages import parse_duration
from wavetank.simulation import EPOCH
from wavetank.yamlfile import Document, decode, load_documents

__all__ = ["History", "Workload", "WorkloadFile", "load_workload", "rates_from_history", "shape_rates"]

Floats = npt.NDArray[np.float64]
Rate = Annotated[float, Meta(ge=0, le=LOAD_RATE_MAX)]
Factor = Annotated[float, Meta(ge=0, le=LOAD_RATE_MAX)]


class FlashCrowd(Struct, forbid_unknown_fields=True, rename="camel"):
    """``factor`` times the load there would be, ``at`` after the begin, with a linear rise and fall."""

    at: str
    factor: Factor
    rise: str = "60s"
    hold: str = "10m"
    fall: str = "20m"


class Shape(Struct, forbid_unknown_fields=True, rename="camel"):
    """From ``base`` requests a second at night to ``peak`` at ``peakAt`` (hours after midnight), every day;
    Saturdays and Sundays are ``weekend`` times as high. Time begins on a Monday at midnight."""

    duration: str
    base: Rate
    peak: Rate | None = None
    peak_at: Annotated[float, Meta(ge=0, lt=24)] = 14.0
    weekend: Factor = 1.0
    flash_crowds: list[FlashCrowd] = []


class Trace(Struct, forbid_unknown_fields=True, rename="camel"):
    """A CSV of time (seconds, or ISO 8601) and requests a second. ``gaps``: what a gap means."""

    csv: str
    gaps: Literal["refuse", "hold", "zero", "interpolate"] = "refuse"
    scale: Factor = 1.0


class History(Struct, forbid_unknown_fields=True, rename="camel"):
    """``expr`` over ``prometheus`` (an URL, or a data directory), every ``step`` from ``start`` to ``end``
    (ISO 8601)."""

    prometheus: str
    expr: str
    start: str
    end: str
    step: str = "60s"
    gaps: Literal["refuse", "hold", "zero", "interpolate"] = "hold"
    scale: Factor = 1.0


class WorkloadFile(Struct, forbid_unknown_fields=True, rename="camel"):
    api_version: Literal["wavetank.dev/v1"]
    kind: Literal["Workload"]
    shape: Shape | None = None
    trace: Trace | None = None
    history: History | None = None
    arrivals: Literal["constant", "poisson"] = "poisson"


@dataclass(frozen=True, slots=True)
class Workload:
    """``rates`` float64[seconds]; ``start`` Unix seconds; ``shown`` and ``repairs`` for the report. With
    ``history`` set, the rates are still to be asked for."""

    rates: Floats
    start: float
    poisson: bool
    shown: str
    repairs: tuple[str, ...] = ()
    history: History | None = None


def load_workload(path: Path) -> Workload:
    """Raises InputError with the place."""
    documents = load_documents(path)
    if len(documents) != 1:
        raise InputError(f"one document expected, {len(documents)} found", at=str(path))
    (document,) = documents
    given = decode(document, WorkloadFile)
    kinds = [name for name in ("shape", "trace", "history") if getattr(given, name) is not None]
    if len(kinds) != 1:
        shown = " and ".join(kinds) or "none"
        raise document.error(f"a workload is one of shape, trace and history, this is {shown}")
    poisson = given.arrivals == "poisson"
    if given.shape is not None:
        try:
            rates = shape_rates(given.shape)
        except InputError as error:
            raise document.error(error.message, "shape", fix=error.fix) from None
        return Workload(_bounded(rates, document.at("shape")), EPOCH, poisson, "a shape over the day")
    if given.trace is not None:
        file = path.parent / given.trace.csv
        points, repairs = read_csv(file)
        rates, more = to_seconds(points, given.trace.gaps, str(file), lambda time: _line_of(file, time))
        rates = _bounded(rates * given.trace.scale, document.at("trace", "scale"))
        start = points[0][0] if points[0][0] > 1e8 else EPOCH
        shown = f"the trace {given.trace.csv}"
        return Workload(rates, start, poisson, shown, (*repairs, *more))
    assert given.history is not None
    start, end = (
        _moment(document, getattr(given.history, name), ("history", name)) for name in ("start", "end")
    )
    if end <= start:
        fix = "give the earlier moment as start"
        raise document.error("history ends before it starts", "history", "end", fix=fix)
    return Workload(np.zeros(0), start, poisson, f"history of {given.history.prometheus}", (), given.history)


def _bounded(rates: Floats, at: Location) -> Floats:
    """Refuses what a scale or a crowd makes too much of."""
    most = float(rates.max(initial=0.0))
    if not most <= LOAD_RATE_MAX:
        fix = f"at most {LOAD_RATE_MAX:g}"
        raise InputError(f"the load reaches {most:g} requests a second", at=at, fix=fix)
    return rates


def _moment(document: Document, text: str, path: tuple[str, ...]) -> float:
    try:
        return _instant(text, "history")
    except ValueError:
        fix = "write 2026-11-01T00:00:00Z"
        raise document.error(f"{text!r} is not a moment", *path, fix=fix) from None


def _checked_length(seconds: float, what: str) -> int:
    if not 1 <= seconds <= SIMULATION_SECONDS_MAX:
        limit = f"{SIMULATION_SECONDS_MAX // 86_400} days"
        raise InputError(f"{what} of {seconds:g} s", fix=f"between one second and {limit}")
    return math.ceil(seconds)


def shape_rates(shape: Shape) -> Floats:
    """Arrivals a second of a shape, float64[seconds]."""
    length = _checked_length(parse_duration(shape.duration, "duration"), "a shape")
    at = np.arange(length, dtype=np.float64) + 0.5
    peak = shape.base if shape.peak is None else shape.peak
    course = (1 + np.cos(2 * np.pi * (at / 3600 - shape.peak_at) / 24)) / 2
    rates: Floats = shape.base + (peak - shape.base) * course
    rates = np.where((at // 86_400) % 7 >= 5, rates * shape.weekend, rates)
    for crowd in shape.flash_crowds:
        begin = parse_duration(crowd.at, "at")
        if begin >= length:
            fix = "give it a moment within the shape's duration"
            raise InputError(f"a flash crowd at {crowd.at} of a shape of {shape.duration}", fix=fix)
        spans = [parse_duration(text, "rise, hold, fall") for text in (crowd.rise, crowd.hold, crowd.fall)]
        edges = begin + np.cumsum([0.0, *spans])
        rates = rates * np.interp(at, edges, [1.0, crowd.factor, crowd.factor, 1.0])
    return rates


# --- traces


def read_csv(path: Path) -> tuple[list[tuple[float, float]], tuple[str, ...]]:
    """(points in order of time, repairs). Raises InputError with the line."""
    if not path.is_file():
        raise InputError(f"no such file: {path}", fix="trace.csv is relative to the workload's file")
    points: list[tuple[float, float]] = []
    repeated = 0
    for number, row in _rows(path):
        at = Location(str(path), number)
        if len(points) >= SIMULATION_TRACE_ROWS_MAX:
            fix = "give fewer rows, such as one a minute"
            raise InputError(f"more than {SIMULATION_TRACE_ROWS_MAX:,} rows", at=at, fix=fix)
        try:
            time, rate = _time(row[0]), float(row[1])
        except (ValueError, IndexError):
            if not points and number == 1:
                continue  # the header
            raise InputError(f"{','.join(row)!r} is not a time and a rate", at=at, fix="60,12.5") from None
        if not (math.isfinite(time) and 0 <= rate <= LOAD_RATE_MAX):
            raise InputError(f"rate {row[1]} is outside 0 to {LOAD_RATE_MAX:g}", at=at)
        if points and time == points[-1][0] and rate == points[-1][1]:
            repeated += 1
            continue
        if points and time <= points[-1][0]:
            raise _back(points[-1][0], time, at)
        points.append((time, rate))
    if len(points) < 2:
        raise InputError("a trace needs at least two rows of time,rps", at=str(path))
    return points, (f"{repeated} repeated rows of the trace were left out",) if repeated else ()


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if row and not row[0].startswith("#"):
                yield number, row


def _back(before: float, now: float, at: Location) -> InputError:
    """Times that go back: an hour is the autumn's change of clocks."""
    if now == before:
        return InputError(f"two different rates at time {now:g}", at=at, fix="keep one of them")
    if before - now <= 3600:
        fix = "write times in UTC: local time has an hour twice in autumn"
        return InputError(f"time goes back by {before - now:g} s", at=at, fix=fix)
    return InputError(f"time goes back by {before - now:g} s", at=at, fix="sort the rows by time")


def _time(text: str) -> float:
    """Seconds as they are, or ISO 8601; without an offset it is UTC."""
    try:
        return float(text)
    except ValueError:
        return _instant(text, "trace")


def _instant(text: str, at: str) -> float:
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = datetime.fromisoformat(text.strip() + "+00:00")
    return moment.timestamp()


def _line_of(path: Path, time: float) -> int | None:
    """The line of the first row after ``time``."""
    for number, row in _rows(path):
        with suppress(ValueError):
            if _time(row[0]) > time:
                return number
    return None


def to_seconds(
    points: list[tuple[float, float]],
    gaps: str,
    where: str,
    line_after: Callable[[float], int | None] = lambda time: None,
) -> tuple[Floats, tuple[str, ...]]:
    """(arrivals a second, repairs): linear between points that are near each other. A gap is more than five
    times the usual step. ``line_after`` finds the place of an error."""
    times, rates = (np.array(column, np.float64) for column in zip(*points, strict=True))
    steps = np.diff(times)
    usual = float(np.median(steps))
    holes = np.flatnonzero(steps > 5 * usual)
    length = _checked_length(float(times[-1] - times[0]), f"{where}: a trace")
    at = times[0] + np.arange(length) + 0.5
    found: Floats = np.interp(at, times, rates)
    if not len(holes):
        return found, ()
    first = holes[0]
    if gaps == "refuse":
        gap = f"a gap of {steps[first]:g} s after time {times[first]:.0f}"
        fix = "gaps: hold (or zero, interpolate)"
        if abs(steps[first] - 3600 - usual) < 1:
            fix = f"write times in UTC: local time leaves out an hour in spring; else {fix}"
        place = Location(where, line_after(float(times[first])))
        raise InputError(f"{gap} ({len(holes)} in all, usual step {usual:g} s)", at=place, fix=fix)
    for i in holes.tolist() if gaps != "interpolate" else ():
        inside = (at > times[i]) & (at < times[i + 1])
        found[inside] = rates[i] if gaps == "hold" else 0.0
    how = {"hold": "held at the last rate", "zero": "taken as no load", "interpolate": "drawn straight"}
    return found, (f"{len(holes)} gaps of the load, {float(steps[holes].sum()):g} s, were {how[gaps]}",)


async def rates_from_history(history: History, query: Query) -> tuple[Floats, tuple[str, ...]]:
    """Ask for the expression. Several series are added up. Raises InputError where there is no data."""
    start, end = _instant(history.start, "start"), _instant(history.end, "end")
    step = parse_duration(history.step, "step")
    _checked_length(end - start, "a history")
    values: dict[float, float] = {}
    window = 10_000 * step  # the server's limit of points in one answer is 11,000
    at = start
    while at < end:
        until = min(end, at + window)
        for series in await query.range(history.expr, at, until, step):
            for time, value in zip(series.times, series.values, strict=True):
                if math.isfinite(value):
                    values[time] = values.get(time, 0.0) + max(0.0, value)
        at = until + step
    if len(values) < 2:
        raise InputError(f"no data for {history.expr} from {history.start} to {history.end}")
    rates, repairs = to_seconds(sorted(values.items()), history.gaps, "history")
    return rates * history.scale, repairs
