"""The functions of alert templates.

Mirrors template/template.go of prometheus/prometheus: names, arguments and the texts they make.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

from wavetank.gotemplate import regex
from wavetank.gotemplate.gofmt import format_float, type_name
from wavetank.gotemplate.gotime import GoDuration, GoTime
from wavetank.gotemplate.template import Template, TemplateError
from wavetank.model.duration import parse_duration
from wavetank.model.quoting import quote

__all__ = ["FUNCTION_NAMES", "QueryFunction", "expand", "template_functions"]

# An instant query: (Labels mapping, value) of each sample.
QueryFunction = Callable[[str, int], Sequence[tuple[Mapping[str, str], float]]]

_LARGE: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL: Final = ("m", "u", "n", "p", "f", "a", "z", "y")
_BINARY: Final = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")


def _float(value: Any) -> float:
    """Raises ValueError with Go's texts."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"strconv.ParseFloat: parsing {quote(value)}: invalid syntax") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"can't convert {type_name(value)} to float")
    return float(value)


def _g4(value: float) -> str:
    return format_float(value, ".4g")


def humanize(value: Any) -> str:
    v = _float(value)
    if v == 0 or not math.isfinite(v):
        return _g4(v)
    prefix = ""
    if abs(v) >= 1:
        for name in _LARGE:
            if abs(v) < 1000:
                break
            prefix, v = name, v / 1000
    else:
        for name in _SMALL:
            if abs(v) >= 1:
                break
            prefix, v = name, v * 1000
    return _g4(v) + prefix


def humanize1024(value: Any) -> str:
    v = _float(value)
    if abs(v) <= 1 or not math.isfinite(v):
        return _g4(v)
    prefix = ""
    for name in _BINARY:
        if abs(v) < 1024:
            break
        prefix, v = name, v / 1024
    return _g4(v) + prefix


def humanize_duration(value: Any) -> str:
    v = _float(value)
    if not math.isfinite(v):
        return _g4(v)
    if v == 0:
        return "0s"
    if abs(v) >= 1:
        sign, v = ("-", -v) if v < 0 else ("", v)
        whole = int(v)
        days, hours, minutes, seconds = (
            whole // 86_400,
            whole // 3600 % 24,
            whole // 60 % 60,
            whole % 60,
        )
        if days:
            return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
        if hours:
            return f"{sign}{hours}h {minutes}m {seconds}s"
        if minutes:
            return f"{sign}{minutes}m {seconds}s"
        return f"{sign}{_g4(v)}s"
    prefix = ""
    for name in _SMALL:
        if abs(v) >= 1:
            break
        prefix, v = name, v * 1000
    return f"{_g4(v)}{prefix}s"


def humanize_percentage(value: Any) -> str:
    return _g4(_float(value) * 100) + "%"


def _time(value: Any) -> str:
    """A time as Go prints it, in UTC."""
    v = _float(value)
    if not math.isfinite(v):
        return _g4(v)
    milliseconds = round(v * 1000)
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=milliseconds)
    fraction = f".{milliseconds % 1000:03d}".rstrip("0") if milliseconds % 1000 else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _to_time(value: Any) -> GoTime:
    v = _float(value)
    if not math.isfinite(v):
        raise ValueError("value is NaN or Inf")
    return GoTime(dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=math.floor(v * 1000)))


def strip_port(text: str) -> str:
    """The host of ``host:port``; other texts as they are."""
    found = re.fullmatch(r"\[([^\]]*)\]:[^:]*|([^:\[\]]*):[^:]*", text)
    return text if found is None else (found[1] or found[2] or "")


def strip_domain(text: str) -> str:
    """A host name's first label, its port kept; addresses as they are."""
    host, colon, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.split(".")[0] + colon + port
    return text


def _sort_by_label(label: str, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(samples, key=lambda sample: sample["Labels"].get(label, ""))


def _first(samples: list[Any]) -> Any:
    if not samples:
        raise ValueError("first() called on vector with no elements")
    return samples[0]


class _Arguments(dict[str, Any]):
    """What ``args`` makes: a missing one is nothing, not the empty text."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key)


def _parse_duration(text: str) -> float:
    """Seconds; may be negative."""
    negative = text.startswith("-")
    seconds = parse_duration(text.removeprefix("-")) / 1000
    return -seconds if negative else seconds


def _link(expression: str, tab: int) -> str:
    return f"/graph?g0.expr={quote_plus(expression)}&g0.tab={tab}"


def _title(text: str) -> str:
    return re.sub(r"(^|[^\w'])(\w)", lambda m: m[1] + m[2].upper(), text)


_PURE: Final[dict[str, Callable[..., Any]]] = {
    "args": lambda *values: _Arguments({f"arg{i}": value for i, value in enumerate(values)}),
    "first": _first,
    "graphLink": lambda expression: _link(expression, 0),
    "humanize": humanize,
    "humanize1024": humanize1024,
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
    "humanizeTimestamp": _time,
    "label": lambda name, sample: sample["Labels"].get(name, ""),
    "match": regex.match,
    "parseDuration": _parse_duration,
    "reReplaceAll": regex.replace_all,
    "safeHtml": lambda text: text,
    "sortByLabel": _sort_by_label,
    "stripDomain": strip_domain,
    "stripPort": strip_port,
    "strvalue": lambda sample: sample["Labels"].get("__value__", ""),
    "tableLink": lambda expression: _link(expression, 1),
    "title": _title,
    "toDuration": lambda value: GoDuration(_float(value)),
    "toLower": str.lower,
    "toTime": _to_time,
    "toUpper": str.upper,
    "urlQueryEscape": quote_plus,
    "value": lambda sample: sample["Value"],
}


#: All names, for checking templates without running them.
FUNCTION_NAMES: Final = frozenset(_PURE) | {"externalURL", "now", "pathPrefix", "query"}


def template_functions(
    query: QueryFunction, timestamp_ms: int, external_url: str
) -> dict[str, Callable[..., Any]]:
    """All functions, for templates evaluated at a time."""

    def run(expression: str) -> list[dict[str, Any]]:
        return [{"Labels": dict(labels), "Value": value} for labels, value in query(expression, timestamp_ms)]

    return {
        **_PURE,
        "externalURL": lambda: external_url,
        "now": lambda: timestamp_ms / 1000,
        "pathPrefix": lambda: urlsplit(external_url).path.rstrip("/"),
        "query": run,
    }


def expand(
    text: str,
    labels: Mapping[str, str],
    value: float,
    *,
    external_labels: Mapping[str, str],
    external_url: str,
    timestamp_ms: int,
    query: QueryFunction,
) -> str:
    """A label's or annotation's text. An error becomes the text, as upstream has it."""
    if "{{" not in text:
        return text
    data = {
        "Labels": dict(labels),
        "ExternalLabels": dict(external_labels),
        "ExternalURL": external_url,
        "Value": value,
    }
    variables = {
        "labels": data["Labels"],
        "externalLabels": data["ExternalLabels"],
        "externalURL": external_url,
        "value": value,
    }
    try:
        return Template(text).render(data, variables, template_functions(query, timestamp_ms, external_url))
    except TemplateError as error:
        return f"<error expanding template: {error}>"
