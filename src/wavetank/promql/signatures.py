"""The functions of PromQL: names, types of arguments and result, and which are experimental.

Mirrors ``promql/parser/functions.go`` of Prometheus 3.14: 73 stable and 17 experimental functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["SIGNATURES", "Signature"]

Type: TypeAlias = Literal["none", "scalar", "vector", "matrix", "string"]


@dataclass(frozen=True, slots=True)
class Signature:
    """``variadic``: how many more arguments of the last type may follow, the last included; -1 any number."""

    name: str
    args: tuple[Type, ...]
    returns: Type
    variadic: int = 0
    experimental: bool = False


_LETTERS: Final[dict[str, Type]] = {"v": "vector", "m": "matrix", "s": "scalar", "t": "string"}

# "types of arguments > type of result [+ variadic] [!experimental]": names
_TABLE: Final = {
    "v>v": "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg "
    "histogram_count histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort "
    "sort_desc sqrt tan tanh timestamp",
    "m>v": "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta "
    "increase irate last_over_time max_over_time min_over_time present_over_time rate resets "
    "stddev_over_time stdvar_over_time sum_over_time",
    "vss>v": "clamp",
    "vs>v": "clamp_max clamp_min",
    "v>v+1": "day_of_month day_of_week day_of_year days_in_month hour minute month year",
    "mss>v!": "double_exponential_smoothing",
    ">s!": "end range start step",
    "ssv>v": "histogram_fraction",
    "sv>v": "histogram_quantile",
    "vtss>v+9!": "histogram_quantiles",
    "vv>v+1!": "info",
    "vttt>v+-1": "label_join",
    "vtttt>v": "label_replace",
    "m>v!": "mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time "
    "ts_of_min_over_time",
    "ss>s!": "max_of min_of",
    ">s": "pi time",
    "ms>v": "predict_linear",
    "sm>v": "quantile_over_time",
    "vs>v+1": "round",
    "v>s": "scalar",
    "vt>v+-1!": "sort_by_label sort_by_label_desc",
    "v>v!": "start_timestamp",
    "s>v": "vector",
}


def _signatures() -> dict[str, Signature]:
    out = {}
    for shape, names in _TABLE.items():
        args, _, rest = shape.rstrip("!").partition(">")
        returns, _, variadic = rest.partition("+")
        for name in names.split():
            out[name] = Signature(
                name,
                tuple(_LETTERS[a] for a in args),
                _LETTERS[returns],
                int(variadic or 0),
                shape.endswith("!"),
            )
    return dict(sorted(out.items()))


SIGNATURES: Final[dict[str, Signature]] = _signatures()
