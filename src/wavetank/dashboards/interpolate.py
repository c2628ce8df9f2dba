"""Filling in variables: ``$name``, ``${name:format}``, ``${name.field}``, ``[[name:format]]``.

Mirrors Grafana's template service and its Prometheus data source's escaping. Here the escaping also looks at
the quotes that surround a reference, so that no value, whatever it holds, can end the string it stands in.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from wavetank.dashboards.units import format_date

__all__ = ["ALL", "Scope", "Value", "formatted", "interpolate", "promql", "references"]

ALL: Final = "$__all"

_REFERENCE: Final = re.compile(
    r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}", re.ASCII
)
_RE2_META: Final = re.compile(r"[\\$^*{}\[\]'+?.()|]")
_LUCENE: Final = re.compile(r'([\!\*\+\-\=<>\s\&\|\(\)\[\]\{\}\^\~\?\:\\/"])')


@dataclass(frozen=True, slots=True)
class Value:
    """What a variable holds.

    ``many`` says that the variable may hold several values or All, which decides how PromQL is escaped;
    ``raw`` is inserted as it stands (``allValue``, intervals and other built-ins).
    """

    values: tuple[str, ...]
    texts: tuple[str, ...] = ()
    many: bool = False
    raw: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def plain(cls, text: str) -> Value:
        """A built-in, which is never escaped."""
        return cls((text,), (text,), raw=text)

    @property
    def text(self) -> str:
        return " + ".join(self.texts or self.values)


Scope = Mapping[str, Value]


def references(text: str) -> set[str]:
    """The names that the text refers to."""
    return {match[1] or match[2] or match[4] for match in _REFERENCE.finditer(text)}


def interpolate(text: str, scope: Scope, default: str = "glob") -> str:
    """The text with every known variable filled in; unknown references stay as they are."""
    if "$" not in text and "[[" not in text:
        return text
    return _filled(text, scope, lambda value, _: formatted(value, default))


def promql(text: str, scope: Scope) -> str:
    """A query: values are escaped for the string or regular expression they stand in."""
    if "$" not in text and "[[" not in text:
        return text
    quotes = _quotes(text)
    return _filled(text, scope, lambda value, at: _prometheus(value, quotes[at]))


def _filled(text: str, scope: Scope, write: Callable[[Value, int], str], depth: int = 0) -> str:
    def one(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[4]
        value = scope.get(name)
        if value is None:
            return match[0]
        if match[5] is not None:
            return value.fields.get(match[5], value.fields.get(match[5].strip('"[]'), ""))
        form = match[3] or match[6]
        if value.raw is not None and form not in ("text", "queryparam", "percentencode", "date"):
            inner = value.raw if form is None or depth else formatted(value, form, name)
            return _filled(inner, scope, write, depth + 1) if depth < 2 and inner != match[0] else inner
        return write(value, match.start()) if form is None else formatted(value, form, name)

    return _REFERENCE.sub(one, text)


def _quotes(text: str) -> list[str]:
    """For each position the quote that a PromQL string around it began with, "" outside strings."""
    out, inside, escaped = [], "", False
    for char in text:
        out.append(inside)
        if inside:
            if escaped:
                escaped = False
            elif char == "\\" and inside != "`":
                escaped = True
            elif char == inside:
                inside = ""
        elif char in "\"'`":
            inside = char
    return out


def _prometheus(value: Value, quotes: str) -> str:
    """Bare for one value; ``(a|b)`` of escaped values for several."""
    if not value.many:
        return _in_string(value.values[0] if value.values else "", quotes)
    escaped = [_in_string(_RE2_META.sub(r"\\\g<0>", v), quotes) if quotes else v for v in value.values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})" if escaped else ""


def _in_string(text: str, quotes: str) -> str:
    if not quotes:
        return text
    if quotes == "`":
        return text.replace("`", "")
    text = text.replace("\\", "\\\\").replace(quotes, f"\\{quotes}")
    return text.replace("\n", "\\n")


def formatted(value: Value, form: str, name: str = "") -> str:
    """One of Grafana's formats; an unknown one is ``glob``."""
    form, _, argument = form.partition(":")
    found = list(value.values)
    write = _FORMATS.get(form)
    if form == "text":
        return value.text
    if form in ("queryparam", "customqueryparam"):
        return _query_param(form, argument, name, found)
    if form == "date":
        return _date(found, argument)
    if form == "join":
        return (argument or ",").join(found)
    if form == "distributed":
        return ",".join([found[0], *(f"{name}={v}" for v in found[1:])]) if found else ""
    if value.raw is not None and form not in ("percentencode", "uriencode", "json", "html"):
        return value.raw
    return write(found) if write else _glob(found)


def _glob(values: list[str]) -> str:
    return values[0] if len(values) == 1 else "{" + ",".join(values) + "}" if values else ""


def _regex(values: list[str]) -> str:
    escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", v) for v in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _lucene(values: list[str]) -> str:
    if not values:
        return "__empty__"
    if len(values) == 1:
        return _LUCENE.sub(r"\\\1", values[0])
    joined = " OR ".join(f'"{_LUCENE.sub(chr(92) * 2 + "1", v)}"' for v in values)
    return f"({joined})"


def _percent(values: list[str]) -> str:
    return quote(
        values[0] if len(values) == 1 else "{" + ",".join(values) + "}" if values else "", safe="!~*'()-_."
    )


def _quoted(mark: str, escape: str) -> Callable[[list[str]], str]:
    return lambda values: ",".join(f"{mark}{v.replace(mark, escape)}{mark}" for v in values)


def _query_param(form: str, argument: str, name: str, values: list[str]) -> str:
    prefix, _, valued = argument.partition(":")
    key = f"var-{name}" if form == "queryparam" or not prefix else prefix
    lead = valued if form == "customqueryparam" else ""
    return "&".join(f"{quote(key, safe='-_.')}={quote(lead + v, safe='')}" for v in values)


def _date(values: list[str], pattern: str) -> str:
    try:
        ms = float(values[0])
        moment = datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, IndexError, OverflowError, OSError):
        return "Invalid date"
    match pattern:
        case "" | "iso":
            return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
        case "seconds":
            return str(round(ms / 1000))
        case _:
            return format_date(moment, pattern)


_FORMATS: Final[dict[str, Callable[[list[str]], str]]] = {
    "raw": lambda v: ",".join(v),
    "csv": lambda v: ",".join(v),
    "glob": _glob,
    "regex": _regex,
    "pipe": "|".join,
    "lucene": _lucene,
    "html": lambda v: html.escape(", ".join(v)),
    "json": lambda v: json.dumps(v[0] if len(v) == 1 else v, ensure_ascii=False),
    "percentencode": _percent,
    "uriencode": lambda v: quote(",".join(v), safe="!#$&'()*+,/:;=?@-._~"),
    "singlequote": _quoted("'", "\\'"),
    "doublequote": _quoted('"', '\\"'),
    "sqlstring": _quoted("'", "''"),
}
