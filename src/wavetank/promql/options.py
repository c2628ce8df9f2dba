"""Which experimental parts of the language are on: Prometheus' feature flags for PromQL.

Mirrors ``parser.Options`` and the flags of ``--enable-feature``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EXPERIMENTAL", "ParserOptions"]


@dataclass(frozen=True, slots=True)
class ParserOptions:
    """All off, as in a server started without ``--enable-feature``.

    functions         promql-experimental-functions (and the aggregations limitk, limit_ratio)
    durations         promql-duration-expr (arithmetic inside ``[...]`` and after ``offset``)
    extended_ranges   promql-extended-range-selectors (``anchored``, ``smoothed``)
    fill              promql-binop-fill-modifiers
    """

    functions: bool = False
    durations: bool = True
    extended_ranges: bool = False
    fill: bool = False


EXPERIMENTAL = ParserOptions(functions=True, durations=True, extended_ranges=True, fill=True)
