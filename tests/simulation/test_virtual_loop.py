"""The event loop in virtual time: jumps, order, timeouts, and what cannot happen is an error."""

from __future__ import annotations

import asyncio

import pytest

from wavetank.clock import VirtualClock
from wavetank.errors import InternalError
from wavetank.simulation.virtual_loop import run_virtual


def test_a_day_of_sleeping_costs_nothing_and_keeps_its_order() -> None:
    clock = VirtualClock(1000.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        for _ in range(3):
            await clock.sleep(seconds)
            woken.append((name, clock.now() - 1000))

    async def main() -> None:
        await asyncio.gather(sleeper("a", 86_400.0), sleeper("b", 100_000.0))

    run_virtual(clock, main())
    assert [name for name, _ in woken] == ["a", "b", "a", "b", "a", "b"]
    assert clock.now() == 301_000.0


def test_timeouts_count_virtual_seconds() -> None:
    clock = VirtualClock()

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await clock.sleep(3600)
        return clock.now()

    assert run_virtual(clock, main()) == 30


def test_waiting_for_nothing_is_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(InternalError, match="cannot happen"):
        run_virtual(VirtualClock(), main())


def test_work_for_threads_is_done_at_once() -> None:
    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: 7)

    assert run_virtual(VirtualClock(), main()) == 7
