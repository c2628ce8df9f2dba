"""Spans, and which one encloses the work at hand.

Sampling follows OpenTelemetry's ParentBased(TraceIDRatioBased): a caller's decision counts, and without one
the low 63 bits of the trace id decide. A span that is not sampled still passes that decision down.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from wavetank.clock import Clock
from wavetank.limits import TRACING_TEXT_MAX

__all__ = ["CLIENT", "INTERNAL", "SERVER", "Parent", "Span", "Tracer", "Value", "parent_of", "short_text"]

INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3

Value = str | int | float | bool
T = TypeVar("T")
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Parent:
    """What a span must know of the one around it, be it ours or the caller's."""

    trace_id: int
    span_id: int
    sampled: bool


@dataclass(slots=True)
class Span:
    """A piece of work. Times are Unix nanoseconds; ``error`` is empty where it went well."""

    name: str
    kind: int
    trace_id: int
    span_id: int
    parent_id: int
    start_ns: int
    end_ns: int = 0
    attributes: dict[str, Value] = field(default_factory=dict)
    error: str = ""


def parent_of(traceparent: str) -> Parent | None:
    """The caller of a W3C ``traceparent`` header; None where it has none that is valid."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None or (traceparent.strip().startswith("00") and found[4]):
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return Parent(trace_id, span_id, bool(int(found[3], 16) & 1)) if trace_id and span_id else None


def _short(value: Value) -> Value:
    return short_text(value) if isinstance(value, str) else value


def short_text(text: str) -> str:
    """What protobuf takes: valid Unicode, and not too much of it."""
    return text[:TRACING_TEXT_MAX].encode("utf-8", "replace").decode()


_CURRENT: ContextVar[Parent | None] = ContextVar("current_span", default=None)


class Tracer:
    """Makes spans and hands the sampled ones to ``finish`` when they end. For the event loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._draw = clock.random("tracing")
        self._finish: Callable[[Span], None] | None = None
        self._bound = 0

    @property
    def is_on(self) -> bool:
        return self._finish is not None

    def turn_on(self, finish: Callable[[Span], None], fraction: float) -> None:
        """``fraction`` of the traces that begin here are sampled."""
        self._finish = finish
        # ids must differ from those of any other server, and of this one's earlier starts
        self._draw = self._clock.random(f"tracing {socket.gethostname()} {self._clock.now()}")
        self._bound = round(min(max(fraction, 0.0), 1.0) * (1 << 63))

    def turn_off(self) -> None:
        self._finish = None

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, Value] | None = None,
        *,
        kind: int = INTERNAL,
        root: bool = False,
        caller: Parent | None = None,
    ) -> Iterator[Span | None]:
        """A span around what follows; None where nothing is recorded. What is raised is its error.

        It is inside the current one. A ``root`` is not, but inside its ``caller``, if it has one: tasks
        inherit the current span of whoever started them, which need not be what their work belongs to.
        """
        if self._finish is None:
            yield None
            return
        parent = caller if root else _CURRENT.get()
        span = self._begin(name, kind, parent)
        sampled = self._is_sampled(span.trace_id, parent)
        span.attributes = {key: _short(value) for key, value in (attributes or {}).items()}
        began = self._clock.monotonic()
        token = _CURRENT.set(Parent(span.trace_id, span.span_id, sampled))
        try:
            yield span if sampled else None
        except BaseException as error:
            span.error = str(error) or type(error).__name__
            raise
        finally:
            _CURRENT.reset(token)
            span.end_ns = span.start_ns + round((self._clock.monotonic() - began) * 1e9)
            if sampled and self._finish is not None:
                self._finish(span)

    def traceparent(self) -> str:
        """The current span as a W3C header's value, for whom we ask; empty where there is none."""
        parent = None if self._finish is None else _CURRENT.get()
        if parent is None:
            return ""
        return f"00-{parent.trace_id:032x}-{parent.span_id:016x}-{int(parent.sampled):02x}"

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        """``work`` for another thread, inside the span that is current here."""
        return work if self._finish is None else partial(copy_context().run, work)

    def past(self, name: str, start: float, seconds: float) -> None:
        """A span inside the current one that is over already; ``start`` is on the monotonic clock."""
        parent = _CURRENT.get()
        if self._finish is None or parent is None or not parent.sampled:
            return
        span = self._begin(name, INTERNAL, parent)
        span.start_ns -= round((self._clock.monotonic() - start) * 1e9)
        span.end_ns = span.start_ns + round(seconds * 1e9)
        self._finish(span)

    def _begin(self, name: str, kind: int, parent: Parent | None) -> Span:
        trace_id = parent.trace_id if parent else self._draw.getrandbits(128) or 1
        span_id = self._draw.getrandbits(64) or 1
        start_ns = round(self._clock.now() * 1e9)
        return Span(short_text(name), kind, trace_id, span_id, parent.span_id if parent else 0, start_ns)

    def _is_sampled(self, trace_id: int, parent: Parent | None) -> bool:
        if parent is not None:
            return parent.sampled
        return (trace_id & ((1 << 64) - 1)) >> 1 < self._bound
