"""Queries of a simulation are not ended by a deadline: its clock has nothing to do with the machine's."""

from __future__ import annotations

from pathlib import Path

from wavetank.clock import RealClock, VirtualClock
from wavetank.model.labels import Labels
from wavetank.simulation.query import EngineQuery
from wavetank.simulation.run import open_database


async def test_a_virtual_clock_far_ahead_of_the_machines_does_not_end_queries(tmp_path: Path) -> None:
    clock = VirtualClock(1_750_000_000.0)
    await clock.advance(RealClock().monotonic() + 86_400.0)
    now = clock.now()
    database = open_database(tmp_path, clock)
    appender = database.appender()
    for i in range(200):
        labels = Labels.of({"__name__": "up", "instance": str(i)})
        appender.append(0, labels, round(now * 1000), 1.0)
    appender.commit()
    found = await EngineQuery(database).instant("sum(up)", now)
    database.close()
    assert [series.values for series in found] == [[200.0]]
