"""Labels and resources: which API object a series speaks of, and by which label a resource is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from wavetank.autoscaling.adapter.rules import ResourceMapping
from wavetank.kube.client import Resource

__all__ = ["NAMESPACE", "GroupResource", "Labels", "Mapper"]

GroupResource = tuple[str, str]
"""(group, plural)."""

NAMESPACE: GroupResource = ("", "namespaces")
_FIELD = re.compile(r"<<\s*\.(Group|Resource)\s*>>")


class Mapper:
    """Finds resources by any of their names, as a RESTMapper does. ``resources`` is asked anew each time,
    since custom kinds come and go."""

    def __init__(self, resources: Callable[[], Iterable[Resource]]) -> None:
        self._resources = resources

    def find(self, group: str, name: str) -> Resource | None:
        """By plural or singular; a group that is not given finds the core's first."""
        lower = name.lower()
        for resource in self._resources():
            if resource.group != group or "/" in resource.plural:
                continue
            if lower in (resource.plural, resource.singular or resource.kind.lower(), resource.kind.lower()):
                return resource
        return None

    def by_path(self, text: str) -> Resource | None:
        """``deployments.apps`` or ``pods``."""
        plural, _, group = text.partition(".")
        return self.find(group, plural)


class Labels:
    """The mapping of one rule."""

    def __init__(self, mapping: ResourceMapping, mapper: Mapper) -> None:
        self._mapping = mapping
        self._mapper = mapper

    def of_series(self, labels: Mapping[str, str]) -> list[tuple[str, Resource]]:
        """(label, resource) for each label that names one."""
        found = []
        for label in sorted(labels):
            resource = self._resource(label)
            if resource is not None:
                found.append((label, resource))
        return found

    def label_for(self, resource: Resource) -> str | None:
        """The label that holds the resource's name; None where the rule has none for it."""
        for label, (group, name) in self._mapping.overrides.items():
            if self._mapper.find(group, name) == resource:
                return label
        if not self._mapping.template:
            return None
        values = {
            "Group": resource.group.replace(".", "_"),
            "Resource": resource.singular or resource.kind.lower(),
        }
        return _FIELD.sub(lambda field: values[field[1]], self._mapping.template)

    def _resource(self, label: str) -> Resource | None:
        override = self._mapping.overrides.get(label)
        if override is not None:
            return self._mapper.find(*override)
        if self._pattern is None or (match := self._pattern.fullmatch(label)) is None:
            return None
        parts = match.groupdict()
        group = (parts.get("Group") or "").replace("_", ".")
        return self._mapper.find(group, parts["Resource"])

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        template = self._mapping.template
        if not template:
            return None
        parts, at, seen = [], 0, set()
        for field in _FIELD.finditer(template):
            parts.append(re.escape(template[at : field.start()]))
            name = field[1]
            parts.append(
                f"(?P={name})" if name in seen else f"(?P<{name}>.{'*' if name == 'Group' else '+'}?)"
            )
            seen.add(name)
            at = field.end()
        return re.compile("".join([*parts, re.escape(template[at:])]))
