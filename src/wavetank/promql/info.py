"""info(): adds labels of info metrics such as ``target_info`` to the series of the same instance and job.

Mirrors ``promql/info.go``. At each step the newest info series of a name wins; labels a series already has
are left alone. Because the labels may differ from step to step, one input row may become several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType, braced
from wavetank.promql import ast
from wavetank.promql.ast import Expr
from wavetank.promql.failures import QueryError
from wavetank.promql.planner import StepInvariant
from wavetank.promql.vector import Bools, Ints, Vector, merge_same_labels, stack

__all__ = ["InfoSeries", "add_info", "name_matchers", "time_of", "wanted_matchers"]

_IDENTIFYING = ("instance", "job")


@dataclass(frozen=True, slots=True)
class InfoSeries:
    """Info metrics at each step: ``times`` int64[n, k] are their samples' own times, -1 for none."""

    labels: Sequence[Labels]
    times: Ints


def wanted_matchers(selector: Expr | None) -> tuple[list[Matcher], list[Matcher]]:
    """The matchers of info()'s second argument: those on the name, and those on data labels."""
    if isinstance(selector, StepInvariant):
        selector = selector.expr
    matchers = selector.matchers if isinstance(selector, ast.VectorSelector) else ()
    return (
        [m for m in matchers if m.name == METRIC_NAME],
        [m for m in matchers if m.name != METRIC_NAME],
    )


def name_matchers(given: Sequence[Matcher]) -> list[Matcher]:
    """Which metrics are info metrics: ``target_info`` unless the query says otherwise."""
    if any(m.type in (MatchType.EQUAL, MatchType.REGEXP) for m in given):
        return list(given)
    if given:
        return [Matcher(MatchType.REGEXP, METRIC_NAME, ".+_info"), *given]
    return [Matcher(MatchType.EQUAL, METRIC_NAME, "target_info")]


def time_of(expr: Expr) -> tuple[int | None, int]:
    """The ``@`` timestamp and offset at which info series are looked up: those of the first selector."""
    path: list[tuple[Expr, tuple[ast.SubqueryExpr, ...]]] = [(expr, ())]
    while path:
        node, above = path.pop()
        if isinstance(node, ast.VectorSelector):
            at, offset = node.at_ms, node.offset_ms
            for subquery in reversed(above):
                if at is not None:
                    break
                offset += subquery.offset_ms
                at = subquery.at_ms
            return at, offset
        if isinstance(node, ast.SubqueryExpr):
            above = (*above, node)
        below = (node.expr,) if isinstance(node, StepInvariant) else ast.children(node)
        path.extend((child, above) for child in reversed(below))
    return None, 0


def add_info(
    vector: Vector,
    selector: Expr | None,
    fetch: Callable[[list[Matcher]], InfoSeries],
) -> Vector:
    """The vector with labels added; ``fetch`` selects info series. Raises QueryError."""
    given_names, data = wanted_matchers(selector)
    names = name_matchers(given_names)
    ignored = [all(m.matches(label.name) for m in names) for label in vector.labels]
    identifiers = _identifiers(vector.labels, ignored)
    info = InfoSeries([], np.zeros((0, vector.mask.shape[1]), np.int64))
    if identifiers:
        info = fetch([*identifiers, *data, *names])
    newest = _newest(info)
    parts = []
    for row, label in enumerate(vector.labels):
        alone = vector.rows(slice(row, row + 1))
        parts.append(alone if ignored[row] else _enriched(alone, label, info, newest, data))
    return merge_same_labels(stack(parts).without_empty()) if parts else vector


def _identifiers(labels: Sequence[Labels], ignored: Sequence[bool]) -> list[Matcher]:
    out = []
    for name in _IDENTIFYING:
        values = {lb.get(name) for lb, skip in zip(labels, ignored, strict=True) if not skip} - {""}
        if values:
            pattern = "|".join(re.escape(v).replace("\\-", "-") for v in sorted(values))
            out.append(Matcher(MatchType.REGEXP, name, pattern))
    return out


def _identity(labels: Labels) -> tuple[str, ...]:
    return tuple(labels.get(name) for name in _IDENTIFYING)


def _newest(info: InfoSeries) -> dict[tuple[str, tuple[str, ...]], list[tuple[int, Bools]]]:
    """For each info metric and identity, its series with the steps at which each is the newest one."""
    rows: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for row, labels in enumerate(info.labels):
        rows.setdefault((labels.name, _identity(labels)), []).append(row)
    out = {}
    for key, members in rows.items():
        times = info.times[members]
        best = times.max(axis=0)
        wins = (times == best) & (times >= 0)
        clash = wins.sum(axis=0) > 1
        if clash.any():
            step = int(np.flatnonzero(clash)[0])
            first, second = (members[i] for i in np.flatnonzero(wins[:, step])[:2])
            at = int(best[step])
            raise QueryError(
                f"found duplicate series for info metric: existing {braced(info.labels[first])} @ {at}, "
                f"new {braced(info.labels[second])} @ {at}"
            )
        out[key] = [(row, wins[i]) for i, row in enumerate(members) if wins[i].any()]
    return out


def _enriched(
    alone: Vector,
    label: Labels,
    info: InfoSeries,
    newest: dict[tuple[str, tuple[str, ...]], list[tuple[int, Bools]]],
    data: list[Matcher],
) -> Vector:
    """One series under the names it has with its info labels, each where they hold."""
    identity = _identity(label)
    mine = [choices for (_, who), choices in newest.items() if who == identity]
    wanted = {m.name for m in data}
    # Every combination of info series that occurs at some step.
    combinations: list[tuple[tuple[int, ...], Bools]] = [((), alone.mask[0])]
    for choices in mine:
        split = []
        for rows, mask in combinations:
            rest = mask.copy()
            for row, wins in choices:
                here = mask & wins
                rest &= ~wins
                if here.any():
                    split.append(((*rows, row), here))
            if rest.any():
                split.append((rows, rest))
        combinations = split
    parts = []
    for rows, mask in combinations:
        if not rows and any(not m.matches("") for m in data):
            continue
        changed = label.replace(**_extra(label, [info.labels[r] for r in rows], wanted))
        part = alone.with_mask(mask[np.newaxis, :])
        part.labels = [changed]
        parts.append(part)
    return stack(parts) if parts else alone.rows(slice(0, 0))


def _extra(label: Labels, infos: Sequence[Labels], wanted: set[str]) -> dict[str, str]:
    extra: dict[str, str] = {}
    for info in infos:
        for name, value in info:
            if name == METRIC_NAME or (wanted and name not in wanted):
                continue
            if extra.get(name, value) != value:
                raise QueryError(f"conflicting label: {name}")
            if name not in label:
                extra[name] = value
    return extra
