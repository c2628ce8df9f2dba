"""How a query can fail, after it has been parsed.

Mirrors the error types of ``promql/engine.go``; the texts are upstream's where upstream has one.
"""

from __future__ import annotations

from wavetank.errors import CheckFailed

__all__ = ["QueryCanceled", "QueryError", "QueryTimeout", "QueryTooBig"]


class QueryError(CheckFailed):
    """The query cannot be evaluated on this data."""


class QueryTimeout(QueryError):
    """The deadline passed."""


class QueryCanceled(QueryError):
    """Somebody called ``QueryContext.cancel``."""


class QueryTooBig(QueryError):
    """The query is over its sample limit or memory budget; the text carries the estimate."""
