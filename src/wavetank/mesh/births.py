"""Counters that begin at zero: what a scrape sees of a series that Envoy has just created.

Envoy makes the series of a label set when it counts the first time, so the first sample Prometheus sees of,
say, ``response_code="503"`` is already above zero, and ``rate`` and ``increase`` never see that first rise
(prometheus/prometheus#3746): the first errors of a run would be missing from its SLO. Where it is known that
the series did not exist at the last reading, its first exposition is preceded by a sample of zero at that
time, as created timestamps with zero ingestion would have it.
"""

from __future__ import annotations

__all__ = ["CounterBirths"]

_COUNTED = (b"counter", b"histogram")


class CounterBirths:
    """Remembers which series were there. ``began_ms``: when all counters were certainly zero."""

    def __init__(self, began_ms: int) -> None:
        self._last_ms = began_ms
        self._known: set[bytes] = set()

    def annotate(self, exposition: bytes, now_ms: int) -> bytes:
        """The exposition, with a zero before each counter or histogram series that is new."""
        lines: list[bytes] = []
        counted = False
        for line in exposition.split(b"\n"):
            if line.startswith(b"# TYPE "):
                counted = line.rsplit(b" ", 1)[-1] in _COUNTED
            elif counted and line and not line.startswith(b"#"):
                series = line.rsplit(b" ", 1)[0]
                if series not in self._known:
                    self._known.add(series)
                    lines.append(b"%s 0 %d" % (series, self._last_ms))
            lines.append(line)
        self._last_ms = now_ms
        return b"\n".join(lines)
