"""Where the numbers come from: the seam between dashboards and a Prometheus-like data source.

``EngineSource`` runs PromQL in this process over any storage; ``HTTPSource`` asks a server that speaks
Prometheus' HTTP API (Prometheus, Thanos, ours). Both block: whoever refreshes a dashboard calls them from
threads.
"""

from __future__ import annotations

import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from wavetank.clock import Clock, RealClock
from wavetank.errors import CheckFailed, InputError
from wavetank.limits import DASHBOARD_ANSWER_BYTES_MAX, DASHBOARD_QUERY_SECONDS
from wavetank.model.labels import Matcher
from wavetank.promql.ast import selectors
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.parser import parse_expr, parse_metric_selector
from wavetank.promql.result import Result
from wavetank.promql.storage import Queryable
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

__all__ = ["Answer", "EngineSource", "Exemplar", "HTTPSource", "Source", "open_directory"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Answer:
    """``n`` series over ``k`` instants.

    labels   n sets, with ``__name__``
    times    int64[k], milliseconds
    values   float64[n, k]; meaningless where ``mask`` is false
    mask     bool[n, k]: where there is a sample
    kind     vector, matrix, scalar or string
    skipped  native histogram samples, which have no single value
    """

    kind: str
    labels: Sequence[dict[str, str]]
    times: Ints
    values: Floats
    mask: npt.NDArray[np.bool_]
    warnings: Sequence[str] = ()
    skipped: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A single observation behind a series: its own labels (``trace_id``), and those of the series."""

    at_ms: int
    value: float
    labels: dict[str, str]
    series: dict[str, str]


class Source(Protocol):
    """All calls block and raise ``WavetankError`` with a message for the panel. Times are milliseconds."""

    name: str
    uid: str
    scrape_interval_ms: int

    def instant(self, expr: str, ts_ms: int) -> Answer: ...

    def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Answer: ...

    def label_names(self, matches: Sequence[str], start_ms: int, end_ms: int) -> list[str]: ...

    def label_values(self, name: str, matches: Sequence[str], start_ms: int, end_ms: int) -> list[str]: ...

    def series(self, matches: Sequence[str], start_ms: int, end_ms: int) -> list[dict[str, str]]: ...

    def exemplars(self, expr: str, start_ms: int, end_ms: int) -> list[Exemplar]: ...


@runtime_checkable
class _HoldsExemplars(Protocol):
    def exemplars(self, selectors: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> Any: ...


class EngineSource:
    """PromQL in this process."""

    def __init__(
        self,
        storage: Queryable,
        clock: Clock | None = None,
        *,
        name: str = "Prometheus",
        uid: str = "prometheus",
        scrape_interval_ms: int = 15_000,
    ) -> None:
        self.name = name
        self.uid = uid
        self.scrape_interval_ms = scrape_interval_ms
        self._storage = storage
        self._engine = Engine(EngineOptions(timeout_seconds=DASHBOARD_QUERY_SECONDS), clock or RealClock())

    def instant(self, expr: str, ts_ms: int) -> Answer:
        return _answer(self._engine.query_instant(self._storage, expr, ts_ms))

    def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        return _answer(self._engine.query_range(self._storage, expr, start_ms, end_ms, step_ms))

    def label_names(self, matches: Sequence[str], start_ms: int, end_ms: int) -> list[str]:
        found = {
            name
            for matchers in _matcher_sets(matches)
            for name in self._storage.label_names(matchers, start_ms, end_ms)
        }
        return sorted(found)

    def label_values(self, name: str, matches: Sequence[str], start_ms: int, end_ms: int) -> list[str]:
        found = {
            value
            for matchers in _matcher_sets(matches)
            for value in self._storage.label_values(name, matchers, start_ms, end_ms)
        }
        return sorted(found)

    def series(self, matches: Sequence[str], start_ms: int, end_ms: int) -> list[dict[str, str]]:
        found = {
            labels
            for matchers in _matcher_sets(matches)
            for labels in self._storage.series(matchers, start_ms, end_ms)
        }
        return [dict(labels.pairs) for labels in sorted(found, key=lambda labels: labels.pairs)]

    def exemplars(self, expr: str, start_ms: int, end_ms: int) -> list[Exemplar]:
        if not isinstance(self._storage, _HoldsExemplars):
            return []
        wanted = [list(node.matchers) for node in selectors(parse_expr(expr))]
        return [
            Exemplar(one.timestamp_ms, one.value, one.labels.to_dict(), series.to_dict())
            for series, held in self._storage.exemplars(wanted, start_ms, end_ms)
            for one in held
        ]


def _matcher_sets(matches: Sequence[str]) -> list[tuple[Matcher, ...]]:
    return [tuple(parse_metric_selector(match)) for match in matches] or [()]


def _answer(result: Result) -> Answer:
    result = result.dense()
    mask, skipped = result.mask, 0
    if result.histograms is not None:
        held = np.array([[h is not None for h in row] for row in result.histograms], np.bool_)
        held = held.reshape(mask.shape)
        skipped, mask = int(held.sum()), mask & ~held
    labels = [dict(found.pairs) for found in result.labels] or ([{}] if result.type == "scalar" else [])
    warnings = [*result.warnings, *result.infos]
    return Answer(result.type, labels, result.steps, result.values, mask, warnings, skipped, result.text)


@contextmanager
def open_directory(path: Path, clock: Clock | None = None) -> Iterator[DB]:
    """A data directory, read without taking its lock. Raises InputError."""
    if not path.is_dir():
        raise InputError(f"no data directory {path}")
    db = DB.open(path, Options(lock_file=False), clock or RealClock())
    try:
        yield db
    finally:
        db.close()


class _Sample(msgspec.Struct):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []
    histogram: msgspec.Raw | None = None
    histograms: list[msgspec.Raw] = []


class _Exemplar(msgspec.Struct):
    timestamp: float
    value: str
    labels: dict[str, str] = {}


class _Exemplars(msgspec.Struct, rename="camel"):
    series_labels: dict[str, str] = {}
    exemplars: list[_Exemplar] = []


class _Data(msgspec.Struct, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Reply(msgspec.Struct, rename="camel"):
    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    error_type: str = ""
    warnings: list[str] = []
    infos: list[str] = []


class HTTPSource:
    """A server's HTTP API. ``url`` is the server's, with its path prefix if it has one."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "Prometheus",
        uid: str = "prometheus",
        scrape_interval_ms: int = 15_000,
        timeout_seconds: float = DASHBOARD_QUERY_SECONDS,
    ) -> None:
        url = url if "://" in url else f"http://{url}"
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise InputError(f"{url!r} is not an HTTP URL", fix="e.g. http://127.0.0.1:9090")
        self.url = url.rstrip("/")
        self.name = name
        self.uid = uid
        self.scrape_interval_ms = scrape_interval_ms
        self._timeout = timeout_seconds

    def instant(self, expr: str, ts_ms: int) -> Answer:
        return _decoded(self._post("query", [("query", expr), ("time", _seconds(ts_ms))]), None)

    def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        params = [
            ("query", expr),
            ("start", _seconds(start_ms)),
            ("end", _seconds(end_ms)),
            ("step", _seconds(step_ms)),
        ]
        return _decoded(self._post("query_range", params), (start_ms, end_ms, step_ms))

    def label_names(self, matches: Sequence[str], start_ms: int, end_ms: int) -> list[str]:
        names: list[str] = self._decode(
            self._post("labels", _span(matches, start_ms, end_ms)).data, list[str]
        )
        return names

    def label_values(self, name: str, matches: Sequence[str], start_ms: int, end_ms: int) -> list[str]:
        query = urllib.parse.urlencode(_span(matches, start_ms, end_ms))
        reply = self._ask(f"label/{urllib.parse.quote(name, safe='')}/values?{query}", None)
        values: list[str] = self._decode(reply.data, list[str])
        return values

    def series(self, matches: Sequence[str], start_ms: int, end_ms: int) -> list[dict[str, str]]:
        reply = self._post("series", _span(matches, start_ms, end_ms))
        found: list[dict[str, str]] = self._decode(reply.data, list[dict[str, str]])
        return found

    def exemplars(self, expr: str, start_ms: int, end_ms: int) -> list[Exemplar]:
        params = [("query", expr), ("start", _seconds(start_ms)), ("end", _seconds(end_ms))]
        found = self._decode(self._post("query_exemplars", params).data, list[_Exemplars])
        return [
            Exemplar(round(one.timestamp * 1000), _number(one.value), one.labels, row.series_labels)
            for row in found
            for one in row.exemplars
        ]

    def _decode(self, data: msgspec.Raw, kind: Any) -> Any:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError:
            raise CheckFailed(f"{self.url} did not answer as a Prometheus does") from None

    def _post(self, path: str, params: list[tuple[str, str]]) -> _Reply:
        return self._ask(path, urllib.parse.urlencode(params).encode())

    def _ask(self, path: str, body: bytes | None) -> _Reply:
        headers = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                text = response.read(DASHBOARD_ANSWER_BYTES_MAX + 1)
        except urllib.error.HTTPError as error:
            text = error.read(1 << 20)
            error.close()
            if not text.startswith(b"{"):
                raise CheckFailed(f"{self.url} answered {error.code}") from None
        except (OSError, ValueError) as error:
            raise CheckFailed(f"cannot reach {self.url}: {getattr(error, 'reason', error)}") from None
        if len(text) > DASHBOARD_ANSWER_BYTES_MAX:
            raise CheckFailed(
                f"answer larger than {DASHBOARD_ANSWER_BYTES_MAX} bytes", fix="ask for fewer series"
            )
        reply: _Reply = self._decode(msgspec.Raw(text), _Reply)
        if reply.status != "success":
            raise CheckFailed(reply.error or reply.error_type or "query failed")
        return reply


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.3f}"


def _span(matches: Sequence[str], start_ms: int, end_ms: int) -> list[tuple[str, str]]:
    return [
        *(("match[]", match) for match in matches),
        ("start", _seconds(start_ms)),
        ("end", _seconds(end_ms)),
    ]


def _decoded(reply: _Reply, grid: tuple[int, int, int] | None) -> Answer:
    try:
        data = msgspec.json.decode(reply.data, type=_Data)
        if data.result_type in ("scalar", "string"):
            moment, value = msgspec.json.decode(data.result, type=tuple[float, str])
            if data.result_type == "string":
                none = np.zeros((0, 1))
                return Answer("string", [], _times([moment]), none, none.astype(bool), text=value)
            found = [_Sample(value=(moment, value))]
        else:
            found = msgspec.json.decode(data.result, type=list[_Sample])
    except msgspec.DecodeError as error:
        raise CheckFailed(f"the server did not answer as a Prometheus does: {error}") from None
    for sample in found:
        if sample.value is not None:
            sample.values = [sample.value]
    times = _grid_times(found, grid)
    shape = (len(found), len(times))
    values, mask = np.zeros(shape), np.zeros(shape, np.bool_)
    for row, sample in enumerate(found):
        if sample.values:
            columns = np.searchsorted(times, _times([moment for moment, _ in sample.values]))
            values[row, columns] = [_number(text) for _, text in sample.values]
            mask[row, columns] = True
    skipped = sum(len(sample.histograms) + (sample.histogram is not None) for sample in found)
    warnings = [*reply.warnings, *reply.infos]
    return Answer(data.result_type, [s.metric for s in found], times, values, mask, warnings, skipped)


def _times(seconds: list[float]) -> Ints:
    return np.round(np.array(seconds, np.float64) * 1000).astype(np.int64)


def _grid_times(found: list[_Sample], grid: tuple[int, int, int] | None) -> Ints:
    """The steps asked for; for anything else the union of the samples' times."""
    if grid is not None:
        steps = np.arange(grid[0], grid[1] + 1, grid[2], dtype=np.int64)
        if all(len(sample.values) <= len(steps) for sample in found):
            seen = (
                np.unique(np.concatenate([_times([m for m, _ in s.values]) for s in found]))
                if found
                else steps
            )
            if np.isin(seen, steps).all():
                return steps
    moments = [moment for sample in found for moment, _ in sample.values]
    return np.unique(_times(moments)) if moments else np.zeros(0, np.int64)


def _number(text: str) -> float:
    match text:
        case "+Inf" | "Inf":
            return math.inf
        case "-Inf":
            return -math.inf
        case _:
            return float(text)
