"""Rules that no request can reach, because an earlier one takes all of theirs.

First match wins. A match is shadowed where each of its requests also satisfies one earlier match: every
condition of the earlier one is implied by a condition of the later one. The test says yes only where that is
certain (istio/istio#36245 is what guessing does); two matches that cover a third only together are not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import re2

from wavetank.mesh.validation.messages import Problem, problem

__all__ = ["covers", "shadowing_problems"]

Match = Mapping[str, Any]
_EVERYTHING: Match = {}
_SCOPES = ("port", "sourceLabels", "sourceNamespace", "gateways")
_STRINGS = ("method", "authority", "scheme")


def shadowing_problems(rules: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """The unreachable rules and matches of ``spec.http``."""
    earlier: list[tuple[int, int | None, Match]] = []
    for index, rule in enumerate(rules):
        matches: Sequence[Match] = rule.get("match") or (_EVERYTHING,)
        found = [_shadow(match, earlier) for match in matches]
        if all(found):
            where, why = found[0] or ("", "")
            path = ("spec", "http", index)
            yield problem("UnreachableRule", path, rule=_name(rule, index), why=why, other=where)
        else:
            for number, shadow in enumerate(found):
                if shadow:
                    yield problem(
                        "IneffectiveMatch", ("spec", "http", index, "match", number), match=number,
                        rule=_name(rule, index), why=shadow[1], other=shadow[0],
                    )  # fmt: skip
        for number, match in enumerate(matches):
            earlier.append((index, number if rule.get("match") else None, match))


def _name(rule: Mapping[str, Any], index: int) -> str:
    return f"{rule['name']!r}" if rule.get("name") else f"http[{index}]"


def _shadow(match: Match, earlier: list[tuple[int, int | None, Match]]) -> tuple[str, str] | None:
    for index, number, other in earlier:
        if covers(other, match):
            if number is None:
                return f"http[{index}]", f"http[{index}] has no match and takes every request"
            where = f"http[{index}].match[{number}]"
            return where, f"{where} takes all its requests"
    return None


def covers(wide: Match, narrow: Match) -> bool:
    """Whether every request that satisfies ``narrow`` certainly satisfies ``wide``."""
    if any(wide.get(scope) and wide[scope] != narrow.get(scope) for scope in _SCOPES):
        return False
    if wide.get("uri") and not _uri_implied(wide, narrow):
        return False
    if any(wide.get(f) and not _implied(wide[f], narrow.get(f)) for f in _STRINGS):
        return False
    for field in ("headers", "queryParams"):
        given = narrow.get(field) or {}
        for name, condition in (wide.get(field) or {}).items():
            if name not in given or not _implied(condition or {}, given[name] or {}):
                return False
    without = narrow.get("withoutHeaders") or {}
    return all(without.get(name, 0) == c for name, c in (wide.get("withoutHeaders") or {}).items())


def _uri_implied(wide: Match, narrow: Match) -> bool:
    pattern, given = dict(wide["uri"]), dict(narrow.get("uri") or {"prefix": "/"})
    if pattern.get("prefix") == "/" or pattern.get("regex") in (".*", "/.*"):
        return True
    if wide.get("ignoreUriCase"):
        pattern = {k: v if k == "regex" else v.lower() for k, v in pattern.items()}
        given = {k: v if k == "regex" else v.lower() for k, v in given.items()}
    elif narrow.get("ignoreUriCase"):
        return False
    if "regex" in given and wide.get("ignoreUriCase") and "regex" not in pattern:
        return False
    return _implied(pattern, given)


def _implied(wide: Match, narrow: Match | None) -> bool:
    """Whether a value that satisfies ``narrow`` certainly satisfies ``wide``; None is no condition."""
    if narrow is None:
        return False
    if not wide or wide.get("regex") == "*":
        return True  # presence, which any condition on the name implies
    if "exact" in wide:
        return bool(narrow.get("exact") == wide["exact"])
    if "prefix" in wide:
        value = narrow.get("exact", narrow.get("prefix"))
        return value is not None and str(value).startswith(wide["prefix"])
    if "exact" in narrow:
        return _matches(wide["regex"], narrow["exact"])
    return bool(narrow.get("regex") == wide["regex"])


def _matches(pattern: str, text: str) -> bool:
    try:
        return re2.fullmatch(pattern, text) is not None
    except re2.error:
        return False
