"""Queries in threads: for the HTTP API, the rules, and templates.

Mirrors the use web/api/v1 makes of promql.Engine: at most ``--query.max-concurrency`` at once, a deadline for
each, results as JSON. The kernels release the interpreter lock, so a heavy query does not hold up scraping.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from wavetank.clock import Clock
from wavetank.errors import CheckFailed, InputError
from wavetank.model.labels import Labels
from wavetank.monitoring.api.answer import ApiFailure, bad_data
from wavetank.monitoring.rfc3339 import format_time
from wavetank.promql.context import EngineOptions, QueryContext
from wavetank.promql.engine import Engine
from wavetank.promql.failures import QueryCanceled, QueryTimeout
from wavetank.promql.parser import ParseError
from wavetank.promql.result import Result
from wavetank.promql.result_json import encode_result
from wavetank.promql.storage import Queryable

__all__ = ["ActiveQuery", "Answered", "Queries"]

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_TRUNCATED = "results truncated due to limit"


@dataclass(frozen=True, slots=True)
class Answered:
    """``data`` is JSON: ``{"resultType": ..., "result": ...}``."""

    data: bytes
    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ActiveQuery:
    """A query that runs or waits for its turn."""

    id: int
    params: dict[str, Any]
    started_at: float
    context: QueryContext


class Queries:
    """An engine over a storage, with its threads."""

    def __init__(
        self, storage: Queryable, clock: Clock, options: EngineOptions, *, concurrency: int, threads: int
    ) -> None:
        self.options = options
        self.log_file = ""
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="query")
        self.active: dict[int, ActiveQuery] = {}
        self._last_id = 0
        self.concurrency = concurrency
        self.observe: Callable[[float, str], None] = lambda seconds, slice: None
        self._storage = storage
        self._clock = clock
        self._engine = Engine(options, clock)
        self._slots = asyncio.Semaphore(concurrency)

    def close(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], T]) -> T:
        """Any work on the storage, in a thread. Failures of a check become the API's."""
        try:
            async with self._slots:
                return await asyncio.get_running_loop().run_in_executor(self.executor, work)
        except CheckFailed as error:
            raise _failure(error) from None

    def vector(self, text: str, ts_ms: int) -> list[tuple[Labels, float]]:
        """An instant query for rules and templates; blocks. A scalar is one sample without labels."""
        result = self._engine.query_instant(self._storage, text, ts_ms)
        if result.type == "scalar":
            return [(Labels(), result.scalar)]
        if result.type != "vector":
            raise InputError("rule result is not a vector or scalar")
        return [(labels, value) for labels, _, value in result.vector() if isinstance(value, float)]

    async def instant(
        self,
        text: str,
        ts_ms: int,
        *,
        timeout_ms: int = 0,
        lookback_ms: int = 0,
        limit: int = 0,
        stats: str = "",
    ) -> Answered:
        """Raises ApiFailure."""
        engine = self._engine_for(lookback_ms)
        return await self._answer(
            lambda context: engine.query_instant(self._storage, text, ts_ms, context),
            {"query": text, "start": format_time(ts_ms / 1000), "end": format_time(ts_ms / 1000), "step": 0},
            timeout_ms,
            limit,
            stats,
        )

    async def range(
        self,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout_ms: int = 0,
        lookback_ms: int = 0,
        limit: int = 0,
        stats: str = "",
        encode: Callable[[Result], bytes] = encode_result,
    ) -> Answered:
        """Raises ApiFailure. ``encode`` gives bytes that end with a JSON object, which gets the statistics."""
        engine = self._engine_for(lookback_ms)
        return await self._answer(
            lambda context: engine.query_range(self._storage, text, start_ms, end_ms, step_ms, context),
            {
                "query": text,
                "start": format_time(start_ms / 1000),
                "end": format_time(end_ms / 1000),
                "step": step_ms / 1000,
            },
            timeout_ms,
            limit,
            stats,
            encode,
        )

    def _engine_for(self, lookback_ms: int) -> Engine:
        if not lookback_ms:
            return self._engine
        return Engine(replace(self.options, lookback_ms=lookback_ms), self._clock)

    async def _answer(
        self,
        query: Callable[[QueryContext], Result],
        params: dict[str, Any],
        timeout_ms: int,
        limit: int,
        stats: str,
        encode: Callable[[Result], bytes] = encode_result,
    ) -> Answered:
        options = self.options
        if timeout_ms:
            options = replace(options, timeout_seconds=min(options.timeout_seconds, timeout_ms / 1000))
        context = QueryContext.of(options, self._clock)
        started = began = self._clock.monotonic()

        def work() -> tuple[bytes, Result]:
            nonlocal began
            began = self._clock.monotonic()
            return _rendered(query(context), limit, encode)

        self._last_id = number = self._last_id + 1
        self.active[number] = ActiveQuery(number, params, self._clock.now(), context)
        try:
            data, result = await self.run(work)
        except asyncio.CancelledError:
            context.cancel()
            raise
        except ParseError as error:
            raise bad_data(f'invalid parameter "query": {error.message}') from None
        except InputError as error:
            raise bad_data(f'invalid parameter "query": {error.message}') from None
        finally:
            del self.active[number]
            seconds = self._clock.monotonic() - started
            self.observe(began - started, "queue_time")
            self.observe(seconds - (began - started), "inner_eval")
            self._log(params, seconds)
        warnings = list(result.warnings)
        if limit and len(result.labels) > limit:
            warnings.append(_TRUNCATED)
        if stats:
            data = data[:-1] + b',"stats":' + msgspec.json.encode(_stats(context, seconds)) + b"}"
        return Answered(data, warnings, result.infos)

    def _log(self, params: dict[str, Any], seconds: float) -> None:
        """A line of the query log, where one is configured."""
        if not self.log_file:
            return
        line = {
            "params": params,
            "stats": {"timings": {"evalTotalTime": seconds}},
            "ts": format_time(self._clock.now()),
        }
        try:
            with Path(self.log_file).open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            _LOG.error("cannot write the query log %s: %s", self.log_file, error)


def _rendered(result: Result, limit: int, encode: Callable[[Result], bytes]) -> tuple[bytes, Result]:
    return encode(_first_series(result, limit) if limit else result), result


def _first_series(result: Result, limit: int) -> Result:
    """At most ``limit`` series of a vector or matrix."""
    raw = result.raw
    if raw is not None:
        end = int(raw.offsets[min(limit, len(raw.labels))])
        raw = replace(
            raw,
            labels=raw.labels[:limit],
            offsets=raw.offsets[: limit + 1],
            timestamps_ms=raw.timestamps_ms[:end],
            values=raw.values[:end],
            histograms=None if raw.histograms is None else raw.histograms[:end],
            start_timestamps_ms=None,
        )
    return replace(
        result,
        labels=result.labels[:limit],
        values=result.values if result.type == "scalar" else result.values[:limit],
        mask=result.mask if result.type == "scalar" else result.mask[:limit],
        histograms=None if result.histograms is None else result.histograms[:limit],
        raw=raw,
    )


def _stats(context: QueryContext, seconds: float) -> dict[str, Any]:
    return {
        "timings": {
            "evalTotalTime": seconds,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": seconds,
            "execQueueTime": 0,
            "execTotalTime": seconds,
        },
        "samples": {"totalQueryableSamples": context.samples_read, "peakSamples": context.samples_peak},
    }


def _failure(error: CheckFailed) -> ApiFailure:
    if isinstance(error, QueryTimeout):
        return ApiFailure("timeout", error.message)
    if isinstance(error, QueryCanceled):
        return ApiFailure("canceled", error.message)
    return ApiFailure("execution", error.message)
