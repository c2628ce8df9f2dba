"""Stages: what load is asked for, and for how long.

A stage is either closed, a number of users each waiting for its own answers (Locust's model), or open, a
rate of arrivals that no answer slows down (k6's constant- and ramping-arrival-rate), or a recorded trace of
rates played back. The file form is the ``stages`` list of a rehearsal; the short form is the command
line's: ``30s:5u,60s:10..80rps,2m:80rps@poisson``. An arrival is one run of a task: where tasks make one
request each, arrivals per second are requests per second.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec

from wavetank.errors import InputError, Location, did_you_mean
from wavetank.limits import LOAD_RATE_MAX, LOAD_STAGES_MAX, LOAD_TRACE_POINTS_MAX
from wavetank.load.arrivals import RateCurve, constant_arrivals, poisson_arrivals

__all__ = [
    "Arrivals",
    "RateStage",
    "Stage",
    "UserStage",
    "parse_duration",
    "parse_stage",
    "parse_stages",
    "parse_trace",
    "rate_stage",
    "read_trace",
    "schedule",
    "total_seconds",
    "trace_stage",
]

Arrivals = Literal["constant", "poisson"]


class UserStage(msgspec.Struct, frozen=True, tag="users"):
    """Closed model: ``users`` at once, moving evenly to ``to`` over the stage where that is given.

    ``spawn_rate`` is Locust's: users started per second until ``users`` are there; None starts all at once.
    """

    duration_seconds: float
    users: int
    to: int | None = None
    spawn_rate: float | None = None

    @property
    def users_max(self) -> int:
        return max(self.users, self.to or 0)

    def users_at(self, seconds: float) -> int:
        if self.to is None:
            return self.users
        share = min(1.0, max(0.0, seconds / self.duration_seconds))
        return round(self.users + (self.to - self.users) * share)


class RateStage(msgspec.Struct, frozen=True, tag="rate"):
    """Open model: arrivals at a rate through ``points`` of (seconds, arrivals per second)."""

    points: tuple[tuple[float, float], ...]
    arrivals: Arrivals = "constant"

    @property
    def duration_seconds(self) -> float:
        return self.points[-1][0]

    @property
    def curve(self) -> RateCurve:
        return RateCurve.through(self.points)


Stage = UserStage | RateStage


def rate_stage(
    duration_seconds: float, rps: float, to: float | None = None, arrivals: Arrivals = "constant"
) -> RateStage:
    """A stage at one rate, or moving evenly to ``to``."""
    return RateStage(((0.0, rps), (duration_seconds, rps if to is None else to)), arrivals)


def schedule(stage: RateStage, random: Random) -> Iterator[float]:
    """The stage's due times, in seconds from its start."""
    if stage.arrivals == "poisson":
        return poisson_arrivals(stage.curve, random)
    return constant_arrivals(stage.curve)


def total_seconds(stages: Sequence[Stage]) -> float:
    return sum(stage.duration_seconds for stage in stages)


# --- the file form ---------------------------------------------------------------------------------------

_FIELDS = ("duration", "users", "rps", "to", "arrivals", "spawnRate", "trace")


def parse_stage(value: Any, at: Location | str, *, directory: Path | None = None) -> Stage:
    """One element of a ``stages`` list. Raises InputError with the place, the value and the fix."""
    if not isinstance(value, Mapping):
        raise InputError(f"a stage must be a mapping, got {value!r}", at=at, fix="{duration: 30s, users: 5}")
    for name in value:
        if name not in _FIELDS:
            raise InputError(
                f"unknown field {name!r} in a stage", at=at, fix=did_you_mean(str(name), _FIELDS)
            )
    kinds = [name for name in ("users", "rps", "trace") if value.get(name) is not None]
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none of them"
        raise InputError(
            f"a stage needs one of users, rps and trace, got {given}",
            at=at,
            fix="e.g. {duration: 60s, rps: 80}",
        )
    arrivals = _arrivals(value.get("arrivals", "constant"), at)
    if kinds == ["trace"]:
        return _trace_stage(value["trace"], arrivals, at, directory or Path())
    if value.get("duration") is None:
        raise InputError("a stage needs a duration", at=at, fix="duration: 60s")
    duration = parse_duration(value["duration"], at)
    if kinds == ["rps"]:
        to = value.get("to")
        rates = [_number(value["rps"], "rps", at, LOAD_RATE_MAX)]
        rates.append(rates[0] if to is None else _number(to, "to", at, LOAD_RATE_MAX))
        return RateStage(((0.0, rates[0]), (duration, rates[1])), arrivals)
    if "arrivals" in value:
        raise InputError(
            "users arrive when their last answer has come, so arrivals has no meaning here",
            at=at,
            fix="use rps for an arrival rate, or remove arrivals",
        )
    to, spawn_rate = value.get("to"), value.get("spawnRate")
    return UserStage(
        duration,
        _count(value["users"], "users", at),
        None if to is None else _count(to, "to", at),
        None if spawn_rate is None else _number(spawn_rate, "spawnRate", at, LOAD_RATE_MAX),
    )


def _trace_stage(value: Any, arrivals: Arrivals, at: Location | str, directory: Path) -> RateStage:
    """``trace: file.csv`` or ``trace: {file, timeScale, rateScale, peak}``."""
    settings = {"file": value} if isinstance(value, str) else value
    known = ("file", "timeScale", "rateScale", "peak")
    if not isinstance(settings, Mapping) or not isinstance(settings.get("file"), str):
        raise InputError(f"trace must name a file, got {value!r}", at=at, fix="trace: traffic.csv")
    for name in settings:
        if name not in known:
            raise InputError(f"unknown field {name!r} in trace", at=at, fix=did_you_mean(str(name), known))
    peak = settings.get("peak")
    return trace_stage(
        read_trace(directory / settings["file"]),
        time_scale=_number(settings.get("timeScale", 1.0), "timeScale", at, 1e9),
        rate_scale=_number(settings.get("rateScale", 1.0), "rateScale", at, 1e9),
        peak=None if peak is None else _number(peak, "peak", at, LOAD_RATE_MAX),
        arrivals=arrivals,
        at=at,
    )


def _number(value: Any, name: str, at: Location | str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise InputError(f"{name} must be a number from 0 to {most:g}, got {value!r}", at=at)
    return float(value)


def _count(value: Any, name: str, at: Location | str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000:
        raise InputError(f"{name} must be a whole number from 0 to 1000000, got {value!r}", at=at)
    return value


def _arrivals(value: Any, at: Location | str) -> Arrivals:
    if value == "constant":
        return "constant"
    if value == "poisson":
        return "poisson"
    raise InputError(f"arrivals must be constant or poisson, got {value!r}", at=at)


# --- the short form --------------------------------------------------------------------------------------

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
STAGE_SECONDS_MAX = 366 * 86400.0
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHORT = re.compile(
    r"(?P<duration>[^:]+):(?P<start>\d+(?:\.\d+)?)(?:\.\.(?P<to>\d+(?:\.\d+)?))?(?P<unit>u|rps)"
    r"(?:@(?P<arrivals>\w+))?"
)


def parse_duration(value: Any, at: Location | str | None = None) -> float:
    """Seconds of ``90``, ``90s``, ``1m30s``, ``1.5h``. Raises InputError; 0 and below are refused."""
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            seconds = float(text)
        elif text and _DURATION_PART.sub("", text) == "":
            seconds = sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _DURATION_PART.findall(text))
    if not 0 < seconds <= STAGE_SECONDS_MAX:
        raise InputError(f"{value!r} is not a duration", at=at, fix="write it as 90s, 1m30s or 2h")
    return seconds


def parse_stages(text: str) -> list[Stage]:
    """The command line's form, e.g. ``30s:5u,60s:10..80rps@poisson``. Raises InputError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or len(parts) > LOAD_STAGES_MAX:
        raise InputError(f"--stages needs 1 to {LOAD_STAGES_MAX} stages, got {len(parts)}")
    return [_short_stage(part) for part in parts]


def _short_stage(part: str) -> Stage:
    found = _SHORT.fullmatch(part)
    if found is None:
        raise InputError(
            f"{part!r} is not a stage",
            fix="write DURATION:NUMBERu or DURATION:NUMBERrps, as in 60s:10..80rps",
        )
    start, to, unit = found["start"], found["to"], found["unit"]
    value: dict[str, Any] = {"duration": found["duration"]}
    if unit == "u":
        whole = [None if n is None else int(n) if n.isdigit() else n for n in (start, to)]
        value |= {"users": whole[0], "to": whole[1]}
    else:
        value |= {"rps": float(start), "to": None if to is None else float(to)}
    if found["arrivals"]:
        value["arrivals"] = found["arrivals"]
    return parse_stage(value, f"stage {part!r}")


# --- traces ----------------------------------------------------------------------------------------------


def read_trace(path: Path) -> list[tuple[float, float]]:
    """The points of a CSV file of ``time,rps``. Raises InputError with the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"cannot read the trace: {reason}", at=path) from None
    return parse_trace(text, path=str(path))


def parse_trace(text: str, *, path: str = "<trace>") -> list[tuple[float, float]]:
    """(time, rate) points, time in seconds; a header line is skipped; blank lines and # comments too."""
    points: list[tuple[float, float]] = []
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        try:
            time, rate = float(cells[0]), float(cells[1])
        except (ValueError, IndexError):
            if not points and number == 1:
                continue
            raise InputError(
                f"{','.join(row)!r} is not a time and a rate", at=Location(path, number), fix="write 60,12.5"
            ) from None
        if not (math.isfinite(time) and 0 <= rate <= LOAD_RATE_MAX):
            raise InputError(
                f"rate {cells[1]} is outside 0 to {LOAD_RATE_MAX:g}, or the time is not finite",
                at=Location(path, number),
            )
        if points and time <= points[-1][0]:
            raise InputError(
                f"time {time:g} does not rise", at=Location(path, number), fix="sort the rows by time"
            )
        if len(points) >= LOAD_TRACE_POINTS_MAX:
            raise InputError(f"more than {LOAD_TRACE_POINTS_MAX} rows", at=Location(path, number))
        points.append((time, rate))
    if len(points) < 2:
        raise InputError("a trace needs at least two rows of time,rps", at=path)
    return points


def trace_stage(
    points: Sequence[tuple[float, float]],
    *,
    time_scale: float = 1.0,
    rate_scale: float = 1.0,
    peak: float | None = None,
    arrivals: Arrivals = "constant",
    at: Location | str | None = None,
) -> RateStage:
    """Play ``points`` back, linear between them: ``time_scale`` 60 makes an hour a minute.

    ``peak`` sets the rate scale so that the highest rate is ``peak``.
    """
    highest = max(rate for _, rate in points)
    if time_scale <= 0 or (peak is not None and highest <= 0):
        raise InputError("the trace has no traffic to scale, or the time scale is 0", at=at)
    factor = rate_scale if peak is None else peak / highest
    start = points[0][0]
    scaled = tuple(((time - start) / time_scale, rate * factor) for time, rate in points)
    if any(b[0] <= a[0] for a, b in pairwise(scaled)):
        raise InputError(
            "the time scale is so large that rows fall together", at=at, fix="use a smaller timeScale"
        )
    if highest * factor > LOAD_RATE_MAX:
        raise InputError(f"the scaled trace exceeds {LOAD_RATE_MAX:g} arrivals per second", at=at)
    return RateStage(scaled, arrivals)
