"""What routes and inhibition rules must fulfil by themselves, and their matchers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wavetank.alerting.config.model import InhibitRuleConfig, RouteConfig
from wavetank.alerting.matchers import parse_matchers
from wavetank.model.labels import Matcher, MatchType, is_legacy_label, is_valid_label_name

__all__ = ["all_matchers", "check_inhibit_rule", "check_route"]


def all_matchers(
    match: Mapping[str, str], match_re: Mapping[str, str], matchers: Sequence[str]
) -> tuple[Matcher, ...]:
    """The three ways to write matchers, in the order in which upstream keys a route.

    Raises ValueError for a matcher that does not parse.
    """
    found = [Matcher(MatchType.EQUAL, name, value) for name, value in match.items()]
    found += [Matcher(MatchType.REGEXP, name, value) for name, value in match_re.items()]
    for text in matchers:
        found += parse_matchers(text)
    return tuple(sorted(found, key=lambda m: (m.name, m.value, m.type.value)))


def check_route(route: RouteConfig) -> None:
    """Raises ValueError in upstream's words."""
    for name in [*route.match, *route.match_re]:
        if not is_legacy_label(name):
            raise ValueError(f'invalid label name "{name}"')
    for name in route.labels:
        if not is_valid_label_name(name):
            raise ValueError(f'invalid label name "{name}" in route labels')
    _check_group_by(route.group_by or [])
    for field in ("group_interval", "repeat_interval"):
        if getattr(route, field) == 0:
            raise ValueError(f"{field} cannot be zero")
    all_matchers(route.match, route.match_re, route.matchers)


def _check_group_by(names: Sequence[str]) -> None:
    labels = [name for name in names if name != "..."]
    for name in labels:
        if not is_valid_label_name(name):
            raise ValueError(f'invalid label name "{name}" in group_by list')
    if labels and len(labels) < len(names):
        raise ValueError("cannot have wildcard group_by (`...`) and other labels at the same time")
    for i, name in enumerate(labels):
        if name in labels[:i]:
            raise ValueError(f'duplicated label "{name}" in group_by')


def check_inhibit_rule(rule: InhibitRuleConfig) -> None:
    """Raises ValueError in upstream's words."""
    named = [*rule.source_match, *rule.source_match_re, *rule.target_match, *rule.target_match_re]
    for name in named:
        if not is_legacy_label(name):
            raise ValueError(f'invalid label name "{name}"')
    for name in rule.equal:
        if not is_valid_label_name(name):
            raise ValueError(f'invalid label name "{name}" in equal list')
    all_matchers(rule.source_match, rule.source_match_re, rule.source_matchers)
    all_matchers(rule.target_match, rule.target_match_re, rule.target_matchers)
