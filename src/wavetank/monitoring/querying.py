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

from wavetank.clock import Clock, thread_cpu_seconds
from wavetank.errors import CheckFailed, InputError
from wavetank.limits import AT_ONCE_BYTES_MAX, AT_ONCE_CPU_SECONDS_MAX
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.api.answer import ApiFailure, bad_data
from wavetank.monitoring.rfc3339 import format_time
from wavetank.monitoring.small_queries import SmallQueries
from wavetank.monitoring.tracing import Tracer
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
    text: str
    start_ms: int
    end_ms: int
    step_ms: int
    started_at: float
    context: QueryContext

    @property
    def params(self) -> dict[str, Any]:
        """As the query log and ``/api/v1/queries`` show them."""
        return {
            "query": self.text,
            "start": format_time(self.start_ms / 1000),
            "end": format_time(self.end_ms / 1000),
            "step": self.step_ms / 1000 if self.step_ms else 0,
        }


class Queries:
    """An engine over a storage, with its threads.

    ``idle`` says whether a read of the storage would begin without waiting for anyone; only then are small
    queries answered ``at_once``.
    """

    def __init__(
        self,
        storage: Queryable,
        clock: Clock,
        options: EngineOptions,
        *,
        concurrency: int,
        threads: int,
        idle: Callable[[], bool] = lambda: False,
        tracer: Tracer | None = None,
    ) -> None:
        self.tracer = tracer or Tracer(clock)
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
        self._idle = idle
        self._small = SmallQueries()

    def close(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], T]) -> T:
        """Any work on the storage, in a thread. Failures of a check become the API's."""
        try:
            async with self._slots:
                return await asyncio.get_running_loop().run_in_executor(
                    self.executor, self.tracer.carried(work)
                )
        except CheckFailed as error:
            raise _failure(error) from None

    def vector(self, text: str, ts_ms: int) -> list[tuple[Labels, float | FloatHistogram]]:
        """An instant query for rules and templates; blocks. A scalar is one sample without labels."""
        result = self._engine.query_instant(self._storage, text, ts_ms)
        if result.type == "scalar":
            return [(Labels(), result.scalar)]
        if result.type != "vector":
            raise InputError("rule result is not a vector or scalar")
        return [(labels, value) for labels, _, value in result.vector()]

    async def instant(
        self,
        text: str,
        ts_ms: int,
        *,
        timeout_ms: int = 0,
        lookback_ms: int = 0,
        limit: int = 0,
        stats: str = "",
        advise: bool = False,
    ) -> Answered:
        """Raises ApiFailure."""
        return await self.range(
            text,
            ts_ms,
            ts_ms,
            0,
            timeout_ms=timeout_ms,
            lookback_ms=lookback_ms,
            limit=limit,
            stats=stats,
            advise=advise,
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
        advise: bool = False,
        encode: Callable[[Result], bytes] = encode_result,
    ) -> Answered:
        """A range query, or an instant one where ``step_ms`` is 0. Raises ApiFailure.

        ``encode`` gives bytes that end with a JSON object, which gets the statistics.
        """
        options = self.options
        if timeout_ms:
            options = replace(options, timeout_seconds=min(options.timeout_seconds, timeout_ms / 1000))
        context = QueryContext.of(options, self._clock)
        engine = self._engine_for(lookback_ms, advise)
        started = began = self._clock.monotonic()
        cpu = 0.0

        def work() -> tuple[bytes, Result]:
            nonlocal began, cpu
            began, cpu_before = self._clock.monotonic(), thread_cpu_seconds()
            found = self._evaluate(engine, text, start_ms, end_ms, step_ms, context)
            rendered = encode(_first_series(found, limit) if limit else found)
            cpu = thread_cpu_seconds() - cpu_before
            return rendered, found

        self._last_id = number = self._last_id + 1
        active = ActiveQuery(number, text, start_ms, end_ms, step_ms, self._clock.now(), context)
        self.active[number] = active
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
            self.tracer.past("promqlExecQueue", started, began - started)
            self.tracer.past("promqlInnerEval", began, seconds - (began - started))
            if self.log_file:
                self._log(active.params, seconds)
        if not lookback_ms:
            self._small.learn(text, _step_count(start_ms, end_ms, step_ms), context, cpu)
        warnings = list(result.warnings)
        if limit and len(result.labels) > limit:
            warnings.append(_TRUNCATED)
        if stats:
            data = data[:-1] + b',"stats":' + msgspec.json.encode(_stats(context, seconds)) + b"}"
        return Answered(data, warnings, result.infos)

    def at_once(self, text: str, start_ms: int, end_ms: int, step_ms: int) -> Answered | None:
        """The answer to a query known to be small, without a thread; None: ask ``range``.

        Blocks, for milliseconds at most.
        """
        steps = _step_count(start_ms, end_ms, step_ms)
        samples_max = self._small.samples_max(text, steps)
        if not samples_max or self.log_file or self.tracer.is_on or not self._idle():
            return None
        began, cpu_before = self._clock.monotonic(), thread_cpu_seconds()
        context = QueryContext(samples_max=samples_max, memory_bytes_max=AT_ONCE_BYTES_MAX, clock=self._clock)
        try:
            found = self._evaluate(self._engine, text, start_ms, end_ms, step_ms, context)
            data = encode_result(found)
        except (CheckFailed, InputError):
            self._small.forget(text, steps)
            return None
        seconds = self._clock.monotonic() - began
        # Asking for CPU time takes a while, and it is no more than this.
        cpu = seconds if seconds <= AT_ONCE_CPU_SECONDS_MAX else thread_cpu_seconds() - cpu_before
        self._small.learn(text, steps, context, cpu)
        self.observe(0.0, "queue_time")
        self.observe(seconds, "inner_eval")
        return Answered(data, found.warnings, found.infos)

    def _evaluate(
        self, engine: Engine, text: str, start_ms: int, end_ms: int, step_ms: int, context: QueryContext
    ) -> Result:
        if step_ms:
            return engine.query_range(self._storage, text, start_ms, end_ms, step_ms, context)
        return engine.query_instant(self._storage, text, start_ms, context)

    def _engine_for(self, lookback_ms: int, advise: bool) -> Engine:
        if not lookback_ms and not advise:
            return self._engine
        lookback_ms = lookback_ms or self.options.lookback_ms
        return Engine(replace(self.options, lookback_ms=lookback_ms, advise=advise), self._clock)

    def _log(self, params: dict[str, Any], seconds: float) -> None:
        """A line of the query log."""
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


def _step_count(start_ms: int, end_ms: int, step_ms: int) -> int:
    return (end_ms - start_ms) // step_ms + 1 if step_ms else 1


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
        "samples": {
            "totalQueryableSamples": context.samples_read,
            "samplesRead": context.samples_read,
            "peakSamples": context.samples_peak,
        },
    }


def _failure(error: CheckFailed) -> ApiFailure:
    if isinstance(error, QueryTimeout):
        return ApiFailure("timeout", error.message)
    if isinstance(error, QueryCanceled):
        return ApiFailure("canceled", error.message)
    return ApiFailure("execution", error.message)
