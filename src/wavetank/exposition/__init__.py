"""Exposition formats: what a scrape brings, and what our own processes show.

Mirrors ``model/textparse`` of prometheus/prometheus: text 0.0.4 and 1.0.0, OpenMetrics 0.0.1 and 1.0.0, and
delimited protobuf. ``parse`` reads a whole body; ``ScrapeCache`` is the fast path for a target scraped again
and again; ``registry`` holds our own processes' metrics. Left out on purpose: OpenMetrics 2.0, which
Prometheus 3 does not accept either.

Importing this package, ``render`` and ``registry`` stays light: no NumPy and no Numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wavetank.exposition.samples import ScrapedSamples

__all__ = ["parse"]


def parse(
    body: bytes, content_type: str, *, default_timestamp_ms: int, fallback: str | None = None
) -> ScrapedSamples:
    """Read a scraped body; see ``wavetank.exposition.parse``, which is imported at the first call."""
    from wavetank.exposition.parser import parse as parse_body

    return parse_body(body, content_type, default_timestamp_ms=default_timestamp_ms, fallback=fallback)
