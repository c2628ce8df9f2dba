"""Template variables: their options, what is chosen, and in which order they must be asked.

Mirrors Grafana's variable types and the Prometheus data source's variable queries (``label_values`` and its
siblings). A variable that depends on itself, through others or not, is an error with the cycle's names; it
keeps the value written in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import re2

from wavetank.dashboards.interpolate import ALL, Scope, Value, interpolate, promql, references
from wavetank.dashboards.intervals import format_interval, round_interval
from wavetank.dashboards.model import Dashboard, Variable
from wavetank.dashboards.source import Source
from wavetank.dashboards.times import TimeRange, duration_ms
from wavetank.dashboards.values import mappings, text
from wavetank.errors import WavetankError
from wavetank.limits import DASHBOARD_OPTIONS_MAX
from wavetank.model.quoting import format_float, quote

__all__ = ["Chosen", "built_ins", "resolve_variables"]

_LABEL_VALUES: Final = re.compile(r"^\s*label_values\((?:(.+),\s*)?([^,(){}\s]+)\s*\)\s*$", re.DOTALL)
_LABEL_NAMES: Final = re.compile(r"^\s*label_names\((.*)\)\s*$", re.DOTALL)
_METRICS: Final = re.compile(r"^\s*metrics\((.*)\)\s*$", re.DOTALL)
_QUERY_RESULT: Final = re.compile(r"^\s*query_result\((.+)\)\s*$", re.DOTALL)
_KINDS: Final = frozenset(
    [
        "query",
        "custom",
        "constant",
        "interval",
        "datasource",
        "textbox",
        "adhoc",
        "switch",
        "groupby",
        "system",
    ]
)

Option = tuple[str, str]  # text, value


@dataclass(frozen=True, slots=True)
class Chosen:
    """A variable with its options and the values chosen; ``value`` goes into the scope."""

    variable: Variable
    options: tuple[Option, ...]
    selected: tuple[str, ...]
    value: Value
    error: str = ""
    cut: int = 0


def resolve_variables(
    dashboard: Dashboard, source: Source, time: TimeRange, given: Mapping[str, Sequence[str]]
) -> list[Chosen]:
    """All variables in the file's order. ``given`` holds values by name, as ``var-name`` of a URL does."""
    order, cycles = _order(dashboard.variables)
    scope: dict[str, Value] = dict(built_ins(time, source))
    done: dict[str, Chosen] = {}
    for variable in order:
        chosen = _resolve(
            variable, source, time, given.get(variable.name), scope, cycles.get(variable.name, "")
        )
        done[variable.name] = chosen
        scope[variable.name] = chosen.value
    return [done[variable.name] for variable in dashboard.variables]


def built_ins(time: TimeRange, source: Source) -> dict[str, Value]:
    """What every text may refer to; a panel adds its interval."""
    seconds = round(time.length_ms / 1000)
    scrape = source.scrape_interval_ms
    words = {
        "__from": str(time.from_ms),
        "__to": str(time.to_ms),
        "__range": f"{seconds}s",
        "__range_s": str(seconds),
        "__range_ms": str(time.length_ms),
        "__interval": format_interval(max(round_interval(time.length_ms / 500), scrape)),
        "__interval_ms": str(max(round_interval(time.length_ms / 500), scrape)),
        "__rate_interval": format_interval(max(round_interval(time.length_ms / 500), scrape) + scrape),
        "__url_time_range": f"from={time.raw_from}&to={time.raw_to}",
    }
    values = {name: Value.plain(word) for name, word in words.items()}
    values["__rate_interval"] = Value.plain(
        format_interval(max(max(round_interval(time.length_ms / 500), scrape) + scrape, 4 * scrape))
    )
    for name in ("__org", "__user", "__timezone"):
        fields = {"id": "1", "name": "main", "login": "admin", "email": ""}
        values[name] = Value(("1" if name != "__timezone" else "utc",), fields=fields)
    return values


def _order(variables: Sequence[Variable]) -> tuple[list[Variable], dict[str, str]]:
    """Each after those it refers to; for those on a cycle, the cycle in words."""
    by_name = {variable.name: variable for variable in variables}
    needs = {name: sorted(_needs(variable) & by_name.keys()) for name, variable in by_name.items()}
    state: dict[str, int] = {}
    order: list[Variable] = []
    cycles: dict[str, str] = {}
    for root in by_name:
        path: list[str] = []
        stack = [(root, iter(needs[root]))] if root not in state else []
        if stack:
            state[root] = 1
            path.append(root)
        while stack:
            name, rest = stack[-1]
            found = next(rest, None)
            if found is None:
                stack.pop()
                path.pop()
                state[name] = 2
                order.append(by_name[name])
            elif state.get(found) == 1:
                circle = path[path.index(found) :]
                words = " -> ".join(f"${member}" for member in [*circle, found])
                cycles.update(dict.fromkeys(circle, words))
            elif found not in state:
                state[found] = 1
                path.append(found)
                stack.append((found, iter(needs[found])))
    return order, cycles


def _needs(variable: Variable) -> set[str]:
    if variable.type in ("constant", "textbox", "adhoc", "switch", "interval"):
        return set()
    texts = (variable.query, variable.regex, variable.datasource, *map(str, variable.definition.values()))
    return {name for found in texts for name in references(found)}


def _resolve(
    variable: Variable,
    source: Source,
    time: TimeRange,
    given: Sequence[str] | None,
    scope: Scope,
    cycle: str,
) -> Chosen:
    options: list[Option] = []
    error = f"circular variables: {cycle}" if cycle else ""
    if variable.type not in _KINDS:
        error = f"variable type {variable.type!r} is not known"
    if not error:
        try:
            options = _options(variable, source, time, scope)
        except WavetankError as failure:
            error = failure.message
        except re2.error as failure:
            error = f"regex {variable.regex!r} cannot be used: {failure}"
    if error and variable.current:
        texts = (
            variable.current_text if len(variable.current_text) == len(variable.current) else variable.current
        )
        options = [(t, v) for t, v in zip(texts, variable.current, strict=True) if v != ALL]
    cut = max(0, len(options) - DASHBOARD_OPTIONS_MAX)
    return _choose(variable, options[:DASHBOARD_OPTIONS_MAX], given, scope, error, cut)


def _options(variable: Variable, source: Source, time: TimeRange, scope: Scope) -> list[Option]:
    match variable.type:
        case "query":
            found = _asked(variable, source, time, scope)
            return _sorted(_distinct(_matched(found, interpolate(variable.regex, scope))), variable.sort)
        case "custom":
            return _custom(interpolate(variable.query, scope)) or list(variable.options)
        case "interval":
            return _intervals(variable, time)
        case "datasource":
            return [(source.name, source.uid)]
        case "switch":
            return list(variable.options) or [("Enabled", "true"), ("Disabled", "false")]
        case "constant":
            return [(variable.query, variable.query)]
        case "textbox":
            return []
        case "groupby":
            return list(variable.options)
        case _:
            return []


def _asked(variable: Variable, source: Source, time: TimeRange, scope: Scope) -> list[str]:
    query = promql(_query_text(variable), scope).strip()
    start, end = time.from_ms, time.to_ms
    if not query:
        return []
    if match := _LABEL_NAMES.match(query):
        names = [name for name in source.label_names([], start, end) if name != "__name__"]
        return _filtered(names, match[1].strip())
    if match := _LABEL_VALUES.match(query):
        selector = (match[1] or "").strip()
        return source.label_values(match[2], [selector] if selector else [], start, end)
    if match := _METRICS.match(query):
        return _filtered(source.label_values("__name__", [], start, end), match[1].strip())
    if match := _QUERY_RESULT.match(query):
        answer = source.instant(match[1], end)
        rows = []
        for labels, values, mask in zip(answer.labels, answer.values, answer.mask, strict=True):
            if mask[-1:].any():
                rows.append(f"{_series_text(labels)} {format_float(float(values[-1]))} {end}")
        return rows
    return [_series_text(labels) for labels in source.series([query], start, end)]


def _query_text(variable: Variable) -> str:
    """The query's text; today's editor also saves it in parts."""
    if variable.query or not variable.definition:
        return variable.query
    found = variable.definition
    label, metric = text(found, "label"), text(found, "metric")
    filters = ",".join(
        f"{text(f, 'label')}{text(f, 'op', '=')}{quote(text(f, 'value'))}"
        for f in mappings(found, "labelFilters")
    )
    selector = f"{metric}{{{filters}}}" if filters else metric
    match found.get("qryType"):
        case 0:
            return "label_names()"
        case 1:
            return f"label_values({selector}, {label})" if selector else f"label_values({label})"
        case 2:
            return f"metrics({text(found, 'metric', '.*')})"
        case 3:
            return f"query_result({text(found, 'varQuery')})"
        case 4:
            return text(found, "seriesQuery")
        case _:
            return ""


def _filtered(names: list[str], pattern: str) -> list[str]:
    if not pattern:
        return names
    compiled = _compiled(pattern, "")
    return [name for name in names if compiled.search(name)]


def _series_text(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f"{name}={quote(value)}" for name, value in sorted(labels.items()) if name != "__name__")
    return f"{labels.get('__name__', '')}{{{pairs}}}"


def _compiled(pattern: str, flags: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = "i" not in flags
    options.dot_nl = "s" in flags
    if "m" in flags:
        pattern = f"(?m){pattern}"
    return re2.compile(pattern, options)


def _matched(found: list[str], regex: str) -> list[Option]:
    """Texts through ``/regex/flags``: named groups text and value, else the first group, else the match."""
    if not regex:
        return [(item, item) for item in found]
    pattern, flags = regex, ""
    if regex.startswith("/") and regex.rfind("/") > 0:
        pattern, flags = regex[1 : regex.rfind("/")], regex[regex.rfind("/") + 1 :]
    compiled = _compiled(pattern, flags)
    out: list[Option] = []
    for item in found:
        every = list(compiled.finditer(item)) if "g" in flags else []
        matches = every or [m for m in [compiled.search(item)] if m is not None]
        out += [_option(m) for m in matches]
    return out


def _option(match: Any) -> Option:
    groups = {name: value for name, value in match.groupdict().items() if value is not None}
    if "text" in groups or "value" in groups:
        value = groups.get("value", groups.get("text", ""))
        return groups.get("text", value), value
    first = next((g for g in match.groups() if g is not None), None) if match.groups() else match.group()
    return (first or "", first or "")


def _distinct(options: list[Option]) -> list[Option]:
    """The first of each value; the empty value is none."""
    return [*{value: (shown, value) for shown, value in reversed(options)}.values()][::-1]


def _sorted(options: list[Option], sort: int) -> list[Option]:
    if not 1 <= sort <= 8:
        return options
    key: Callable[[Option], Any]
    match (sort + 1) // 2:
        case 1:
            key = lambda option: option[0]  # noqa: E731
        case 2:
            key = lambda option: _number_in(option[0])  # noqa: E731
        case 3:
            key = lambda option: option[0].lower()  # noqa: E731
        case _:
            key = lambda option: _natural(option[0])  # noqa: E731
    return sorted(options, key=key, reverse=sort % 2 == 0)


def _number_in(shown: str) -> float:
    found = re.search(r"\d+(?:\.\d+)?", shown)
    return float(found[0]) if found else -1.0


def _natural(shown: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", shown[:500])
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _custom(query: str) -> list[Option]:
    """``a, text : value``; a comma after a backslash belongs to the value; or a JSON list."""
    if query.lstrip().startswith("["):
        found = _custom_json(query)
        if found is not None:
            return found
    out = []
    for part in re.findall(r"(?:\\,|[^,])+", query):
        item = part.replace("\\,", ",").strip()
        pair = re.match(r"^\s*(.+)\s:\s(.+)$", item)
        out.append((pair[1].strip(), pair[2].strip()) if pair else (item, item))
    return out


def _custom_json(query: str) -> list[Option] | None:
    import msgspec

    try:
        found = msgspec.json.decode(query.encode())
    except msgspec.DecodeError:
        return None
    if not isinstance(found, list):
        return None
    out = []
    for item in found:
        if isinstance(item, Mapping):
            value = text(item, "value")
            out.append((text(item, "text", value), value))
        else:
            out.append((text({"x": item}, "x"), text({"x": item}, "x")))
    return out


def _intervals(variable: Variable, time: TimeRange) -> list[Option]:
    out = [(item, item) for item in (part.strip().strip("\"'") for part in variable.query.split(",")) if item]
    if variable.auto:
        least = duration_ms(variable.auto_min) or 10_000
        auto = max(round_interval(time.length_ms / max(1, variable.auto_count)), least)
        out.insert(0, ("auto", f"$__auto_interval_{variable.name}"))
        return [(shown, format_interval(auto) if shown == "auto" else value) for shown, value in out]
    return out


def _choose(
    variable: Variable,
    options: list[Option],
    given: Sequence[str] | None,
    scope: Scope,
    error: str,
    cut: int,
) -> Chosen:
    made = _free(variable, given)
    if made is not None:
        return replace(made, error=error)
    values = {value: shown for shown, value in options}
    by_text = dict(options)
    wanted = list(given) if given is not None else list(variable.current)
    if variable.type == "datasource":
        wanted = [value for value in wanted if value in values]
    known = [by_text.get(w, w) if w not in values else w for w in wanted]
    if variable.include_all and (ALL in wanted or "All" in wanted):
        return _all(variable, options, scope, error, cut)
    # A value from the URL that is no option is taken as it is, as Grafana does.
    known = [k for k in known if k in values or (given is not None and k)]
    if not variable.multi:
        known = known[:1]
    if not known:
        if variable.include_all:
            return _all(variable, options, scope, error, cut)
        known = [options[0][1]] if options else [""]
    many = variable.multi or variable.include_all
    texts = tuple(values.get(k, k) for k in known)
    value = Value(tuple(known), texts, many=many, raw=known[0] if variable.type == "interval" else None)
    return Chosen(variable, tuple(options), tuple(known), value, error, cut)


def _free(variable: Variable, given: Sequence[str] | None) -> Chosen | None:
    """Variables whose value is not one of their options."""
    match variable.type:
        case "textbox":
            found = (given or variable.current or (interpolate(variable.query, {}),))[0]
            return Chosen(variable, ((found, found),), (found,), Value((found,), (found,)))
        case "constant":
            return Chosen(
                variable,
                ((variable.query, variable.query),),
                (variable.query,),
                Value.plain(variable.query),
            )
        case "adhoc":
            filters = tuple(given or ())
            return Chosen(variable, (), filters, Value(filters, filters, many=True))
        case "groupby":
            keys = tuple(given or variable.current)
            return Chosen(variable, variable.options, keys, Value(keys, keys, many=True, raw=",".join(keys)))
        case _:
            return None


def _all(variable: Variable, options: list[Option], scope: Scope, error: str, cut: int) -> Chosen:
    values = tuple(value for _, value in options)
    raw = interpolate(variable.all_value, scope) if variable.all_value else None
    value = Value(values or ("",), ("All",), many=True, raw=raw)
    return Chosen(variable, tuple(options), (ALL,), value, error, cut)
