"""Numbers in exposition texts, read and written as Go's ``strconv`` does."""

from __future__ import annotations

import math
from functools import lru_cache

from wavetank.exposition.errors import go_quote
from wavetank.model.quoting import format_float_g
from wavetank.model.value import NORMAL_NAN

__all__ = ["format_openmetrics_float", "parse_float"]


def parse_float(text: bytes) -> float:
    """A sample value; any NaN is the normal one. Raises ValueError with upstream's text."""
    try:
        value = float(text)
    except ValueError:
        if any(c in b"pPxX_" for c in text):
            raise ValueError("unsupported character in float") from None
        raise ValueError(f"strconv.ParseFloat: parsing {go_quote(text)}: invalid syntax") from None
    if b"_" in text:
        raise ValueError("unsupported character in float")
    if value != value:
        return NORMAL_NAN
    if math.isinf(value) and text.lstrip(b"+-")[:1] not in b"iI":
        raise ValueError(f"strconv.ParseFloat: parsing {go_quote(text)}: value out of range")
    return value


@lru_cache(maxsize=4096)
def format_openmetrics_float(value: float) -> str:
    """As ``labels.FormatOpenMetricsFloat``: Go's 'g', with ``.0`` where it would look like an integer."""
    text = format_float_g(value)
    return text if any(c in text for c in "eIN.") else text + ".0"
