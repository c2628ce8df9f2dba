"""The route tree: which routes an alert takes, and what a route says of grouping and timing.

Mirrors dispatch/route.go: depth first, a child's settings over its parent's, siblings only after a route
with ``continue``. Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wavetank.alerting.config.model import RouteConfig
from wavetank.alerting.config.routes import all_matchers
from wavetank.alerting.matchers import format_matchers, matches
from wavetank.model.labels import Matcher

__all__ = ["Route", "build_route"]

_GROUP_WAIT, _GROUP_INTERVAL, _REPEAT_INTERVAL = 30.0, 300.0, 14_400.0


@dataclass(frozen=True, slots=True)
class Route:
    """``group_by`` None groups by all labels. ``key`` names the route for ever; ``id`` within the tree."""

    key: str
    id: str
    matchers: tuple[Matcher, ...]
    receiver: str
    group_by: frozenset[str] | None
    group_wait: float
    group_interval: float
    repeat_interval: float
    mute_intervals: tuple[str, ...]
    active_intervals: tuple[str, ...]
    goes_on: bool
    labels: Mapping[str, str]
    children: tuple[Route, ...] = ()

    def match(self, labels: Mapping[str, str]) -> list[Route]:
        """All routes the labels take; the root always matches."""
        if not matches(self.matchers, labels):
            return []
        found: list[Route] = []
        for child in self.children:
            below = child.match(labels)
            found += below
            if below and not child.goes_on:
                break
        return found or [self]

    def group_labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        if self.group_by is None:
            return dict(labels)
        return {name: value for name, value in labels.items() if name in self.group_by}

    def walk(self) -> list[Route]:
        """This route and all below it."""
        return [self, *(route for child in self.children for route in child.walk())]


def build_route(config: RouteConfig, parent: Route | None = None, place: str = "") -> Route:
    """The tree of a checked configuration."""
    matchers = all_matchers(config.match, config.match_re, config.matchers)
    text = format_matchers(matchers)
    key = text if parent is None else f"{parent.key}/{text}"
    id_ = text if parent is None else f"{parent.id}/{text}/{place}"
    group_by: frozenset[str] | None = frozenset() if parent is None else parent.group_by
    if config.group_by is not None:
        group_by = None if "..." in config.group_by else frozenset(config.group_by)

    def seconds(value: int | None, inherited: float) -> float:
        return inherited if value is None else value / 1000

    route = Route(
        key=key,
        id=id_,
        matchers=matchers,
        receiver=config.receiver or ("" if parent is None else parent.receiver),
        group_by=group_by,
        group_wait=seconds(config.group_wait, _GROUP_WAIT if parent is None else parent.group_wait),
        group_interval=seconds(
            config.group_interval, _GROUP_INTERVAL if parent is None else parent.group_interval
        ),
        repeat_interval=seconds(
            config.repeat_interval, _REPEAT_INTERVAL if parent is None else parent.repeat_interval
        ),
        mute_intervals=tuple(config.mute_time_intervals),
        active_intervals=tuple(config.active_time_intervals),
        goes_on=config.continue_,
        labels={**({} if parent is None else parent.labels), **config.labels},
    )
    children = tuple(build_route(child, route, str(i)) for i, child in enumerate(config.routes))
    return Route(
        **{name: getattr(route, name) for name in Route.__slots__ if name != "children"}, children=children
    )
