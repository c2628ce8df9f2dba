"""An asyncio event loop in virtual time: when nothing can run, the clock jumps to what is due next.

The shells of the control loops are coroutines that sleep on a ``Clock``; on this loop they run unchanged, a
day in seconds. ``asyncio.timeout`` and ``call_later`` count virtual seconds too. There are no sockets and no
threads in it: what would wait for either raises, so that a run cannot depend on anything but its input.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from wavetank.clock import VirtualClock
from wavetank.errors import InternalError

__all__ = ["VirtualLoop", "run_virtual"]

T = TypeVar("T")


class _Jump:
    """Stands where the selector stands in a real loop: waiting is moving the clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            return []
        due = self._clock.next_due()
        if timeout is not None:
            ends = self._clock.now() + timeout
            due = ends if due is None else min(due, ends)
        if due is None:
            raise InternalError("the simulation waits for something that cannot happen in virtual time")
        self._clock.run_until(due)
        return []

    def close(self) -> None:
        """Nothing is held."""


class VirtualLoop(asyncio.BaseEventLoop):
    """``time`` is the clock's; there is no selector, no thread pool, no signal handling."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._virtual_clock = clock
        self._selector = _Jump(clock)

    def time(self) -> float:
        return self._virtual_clock.now()

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector, so nobody has to be woken."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        """At once and in this thread: how long a thread takes must not decide what happens first."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def run_virtual(clock: VirtualClock, main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end in virtual time; an exception of a background task ends it."""
    failures: list[BaseException] = []

    def failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        failures.append(error if error is not None else InternalError(str(context.get("message"))))
        task.cancel()

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(failed)
        task = loop.create_task(main)
        try:
            return runner.run(_finish(task))
        except asyncio.CancelledError:
            if failures:
                raise failures[0] from None
            raise


async def _finish(task: asyncio.Task[T]) -> T:
    return await task
