"""Clocks: virtual time jumps in order; random streams depend on seed and name only."""

from __future__ import annotations

import asyncio

from wavetank.clock import RealClock, VirtualClock


def test_callbacks_run_in_order_of_time_then_of_registration() -> None:
    clock = VirtualClock(100.0)
    seen: list[tuple[str, float]] = []
    for name, at in (("late", 130.0), ("first", 110.0), ("second", 110.0), ("past", 50.0)):
        clock.call_at(at, lambda name=name: seen.append((name, clock.now())))
    clock.run_until(120.0)
    assert seen == [("past", 100.0), ("first", 110.0), ("second", 110.0)]
    assert (clock.now(), clock.monotonic(), clock.next_due()) == (120.0, 20.0, 130.0)


async def test_sleepers_wake_at_their_instant_and_can_sleep_again() -> None:
    clock = VirtualClock()
    woke: list[float] = []

    async def every(seconds: float) -> None:
        while True:
            await clock.sleep(seconds)
            woke.append(clock.now())

    task = asyncio.create_task(every(15.0))
    await clock.advance(50.0)
    task.cancel()
    assert woke == [15.0, 30.0, 45.0]
    assert clock.now() == 50.0


def test_random_streams_do_not_disturb_each_other() -> None:
    alone = VirtualClock(seed=7).random("phase").random()
    clock = RealClock(seed=7)
    clock.random("arrivals").random()
    assert clock.random("phase").random() == alone
    assert VirtualClock(seed=8).random("phase").random() != alone
