"""The room for exemplars can change while they are held."""

from __future__ import annotations

from wavetank.model.labels import Labels
from wavetank.tsdb.exemplars import Exemplar, ExemplarRing


def exemplar(n: int) -> Exemplar:
    return Exemplar(Labels.of(__name__="m"), Labels.of(trace=str(n)), 1.0, n)


def test_resizing_keeps_the_newest() -> None:
    ring = ExemplarRing(4)
    for n in range(6):
        assert ring.add(exemplar(n))
    ring.resize(2)
    assert [e.timestamp_ms for e in ring] == [4, 5]
    assert not ring.add(exemplar(5))  # still known
    ring.resize(3)
    assert ring.add(exemplar(6))
    assert [e.timestamp_ms for e in ring] == [4, 5, 6]
    ring.resize(0)
    assert not ring.add(exemplar(7))
    assert len(ring) == 0
