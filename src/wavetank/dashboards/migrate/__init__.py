"""From any accepted JSON to the classic model of schema 42.

Mirrors what Grafana's own migrations of versions 14 to 42 do to the parts that a reader of the result needs.
Each module changes one thing, in place, in a copy that ``classic`` makes; ``v2`` turns a v2 resource into
classic JSON before all else. What Grafana's migrations lose ("null as zero", a singlestat's prefix, a table's
order of styles) is kept.
"""

from __future__ import annotations

from wavetank.dashboards.migrate.classic import classic

__all__ = ["classic"]
